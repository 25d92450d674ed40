"""The steps that are measured: which networks, on what images.

JAX is imported inside of functions: a contestant is tuned before (see `turns`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

NETWORKS = {
  "resnet18-b64": {"depth": 18, "stem": "cifar", "size": 32, "batch": 64},
  "resnet18-b256": {"depth": 18, "stem": "cifar", "size": 32, "batch": 256},
  "resnet50-b8": {"depth": 50, "stem": "imagenet", "size": 224, "batch": 8},
}


class Row(NamedTuple):
  """One line of a table of steps: settings of `prepare` and of its twin."""

  name: str
  settings: dict[str, Any]


def make_experiment(
  *,
  depth: int,
  stem: str,
  size: int,
  batch: int,
  norm: str,
  objective: str = "byol",
  precision: str = "float32",
  width: float = 1.0,
  **train: Any,
) -> Any:
  """The experiment of these settings, on images that need no file."""
  from configs import presets
  from experiments import pretrain

  config = presets.imagenet(300)
  config.data.update(name="photos", size=size)
  config.probe.update(presets.embedded().probe)
  config.augmentations = "crop_only"
  config.encoder.update(depth=depth, stem=stem, width=width)
  kind = {"bn": "batch", "gn_ws": "group", "none": "none"}[norm]
  for part in (config.encoder, config.projector, config.predictor):
    part.update(norm=kind, standardised=norm == "gn_ws")
  config.objective.name = objective
  if objective == "simclr":
    config.target.kind = "online"
    config.predictor.update(depth=0, norm="none")
  config.train.update(batch_size=batch, precision=precision, steps=1000)
  config.train.update(**train)
  return pretrain.Pretrain(config)


def make_batch(experiment: Any) -> Any:
  """A batch of noise, in the form of the experiment's own: this host's share."""
  import jax
  import numpy as np

  from byol_jax import parallel

  train = experiment.config.train
  count = train.batch_size // jax.process_count()
  shape = (count, *experiment.inputs.image_shape)
  rng = np.random.default_rng(0)
  views = {v: rng.integers(256, size=shape, dtype=np.uint8) for v in experiment.views}
  rest = {
    "label": np.zeros(count, np.int32),
    "position": np.arange(count, dtype=np.int32),
  }
  return parallel.shard(views | rest, train.accumulate)


def parameters(state: Any) -> int:
  """How many the online network has, without the online classifier."""
  import jax

  parts = {n: leaves for n, leaves in state.online.items() if n != "classifier"}
  return sum(leaf.size for leaf in jax.tree.leaves(parts))


def stepping(
  step: Callable, state: Any, batch: Any, steps: int = 1
) -> Callable[[], None]:
  """A function that makes so many steps, one after the other, and waits for them."""
  import jax

  def run() -> None:
    nonlocal state
    for _ in range(steps):
      state, scalars = step(state, batch)
    jax.block_until_ready(scalars)

  return run
