"""Which measure that needs no labels agrees best with linear accuracy?

Short runs of the arms, each measured untrained and at each of its checkpoints: by every
candidate, on held-out training images, and by the linear probe on test images, which no
candidate sees.

The rule, written before the runs. Each candidate has its direction (`CANDIDATES`; where
lower is better, its sign is changed). Two agreements are measured, both as Spearman's
rank correlation with linear accuracy:

- over runs: of the last networks of all arms;
- within runs: of the networks of one run, the untrained one among them; the mean over
  the runs. A candidate that does not move within a run has 0 there.

The score is the candidate whose mean of the two is the highest, of those for which both
are positive. What it costs to follow it is told too: by how many points of linear
accuracy the network that it ranks first in a run is behind the best of that run, on
average; and in how many runs it ranks the untrained network first.

docs/guide.md says what came of it, and what was chosen. The record is of the first ten
arms, trained, measured and ranked at its three commits.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from byol_jax import diagnostics, parallel
from byol_jax.disk import read_json, write_json
from byol_jax.run import stored
from byol_jax.run.folder import RunDir
from experiments import evaluation, pretrain
from reproduce import arms
from reproduce.agreement import CANDIDATES, Point, agreement

ARMS = (  # in the order in which they are trained: any first few of them differ much
  "bn",
  "simclr",
  "none",
  "gn-ws",
  "none-sgd",
  "raft",
  "bn-np",
  "byol-prime-np",
  "bn-fast",
  "none-fast",
  "gn",
  "simclr-no-colour",
  "bn-tau-1",
  "simclr-none",
  "bn-init",
  "raft-np",
  "bn-slow",
  "gn-ws-fast",
  "bn-sgd",
  "bn-tau-0",
)
STEPS = 300
EVERY = 100  # steps between checkpoints

# What a run is trained with, beside its arm's own settings.
SETTINGS = {
  "train.steps": STEPS,
  "eval.every_steps": EVERY,
  "log.every_steps": EVERY // 4,
  "checkpoint.keep": STEPS // EVERY,
  "eval.baselines": (),
  # Hardly anything: the study measures for itself.
  "probe.train": "train[:1000]",
  "probe.test": "test[:500]",
  "probe.valid_train": "train[:1000]",
  "probe.valid_test": "train[45000:45500]",
}

# What the study measures on: for candidates, and for the linear probe.
HELD_OUT = "train[45000:47000]"
PROBE_TRAIN, PROBE_TEST = "train[:5000]", "test[:5000]"

_OF_HEALTH = ("effective_rank", "rankme", "lidar", "invariance", "spread")


def measure(root: Path, data_dir: str | None) -> dict[str, Any]:
  """Trains and measures what has not been; what the candidates agree with.

  Returns:
    "runs": for each arm its points, the untrained network first; "agreement": for each
    candidate what `agreement` says.
  """
  runs = {name: _points(name, root / "score", data_dir) for name in ARMS}
  return {
    "runs": runs,
    "agreement": {name: agreement(runs, name) for name in CANDIDATES},
  }


def _points(name: str, folder: Path, data_dir: str | None) -> Sequence[Point]:
  path = folder / f"{name}.json"
  if not path.exists():
    config = arms.config(name, arms.FIRST_SEED, data_dir)
    config.update_from_flattened_dict(SETTINGS)
    if not (folder / name / "summary.json").exists():
      pretrain.run(config, RunDir(folder / name))
    write_json(path, {"points": _measured(pretrain.Pretrain(config), folder / name)})
    jax.clear_caches()
  return read_json(path)["points"]


def _measured(experiment: pretrain.Pretrain, folder: Path) -> list[Point]:
  """Measures the untrained network and all checkpoints of a run."""
  start = experiment.init()
  points = [_point(experiment, start)]
  shapes = jax.eval_shape(experiment.init)._asdict()
  del shapes["optimiser"]
  for step in range(EVERY, STEPS + 1, EVERY):
    _, found = stored.load(folder, shapes, step)
    points.append(_point(experiment, start._replace(**found)))
  return points


def _point(experiment: pretrain.Pretrain, state: pretrain.State) -> Point:
  network = experiment.extract(parallel.replicate(state))
  assert network.views
  train, test = network.features(PROBE_TRAIN), network.features(PROBE_TEST)
  return {
    "step": int(state.step),
    "linear": evaluation.accuracy("linear", train, test),
    **candidates(network.features(HELD_OUT), network.views(HELD_OUT)),
  }


def candidates(images: evaluation.Arrays, views: evaluation.Arrays) -> dict[str, float]:
  """Measures a network by each of `CANDIDATES`, as `evaluation.health` does."""
  health = evaluation.health(images, views)
  found = {
    **{k: health[k] for k in _OF_HEALTH},
    "rankme_projected": diagnostics.rankme(images["projection"]),
    "lidar_projected": diagnostics.lidar(views["projection"]),
    "invariance_projected": diagnostics.invariance(views["projection"]),
    "rank_differential": health["target_rank"] / max(health["prediction_rank"], 1.0),
  }
  for end, kind in (("", "embedding"), ("_projected", "projection")):
    of_views = evaluation.of_views(views[kind])
    found |= {f"{name}{end}": value for name, value in of_views.items()}
    found[f"alignment_and_uniformity{end}"] = sum(of_views.values())
  return {name: float(value) for name, value in found.items()}
