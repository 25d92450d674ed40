"""The tables of the report."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import tables
from reproduce import agreement as agreements
from reproduce import arms, rules
from reproduce.results import PROBES, Results, Seeds


def both(arm: Seeds | None, name: str) -> str:
  """Accuracies by both probes."""
  if arm is None:
    return "not run"
  wanted = len(arms.ARMS[name].seeds)
  missing = f", {len(arm)} of {wanted} runs" if len(arm) < wanted else ""
  return pair(lambda probe: arm.show(lambda r: r.accuracy(probe))) + missing


def pair(of: Callable[[str], str]) -> str:
  """What is said of both probes."""
  return " / ".join(map(of, PROBES))


def norms(found: Results) -> Iterator[str]:
  """BYOL, its frozen target and SimCLR with each norm."""
  kinds = {"BYOL": "{}", "target frozen": "{}-tau-1", "SimCLR": "simclr-{}"}
  yield from table(
    ("norm", *kinds, "BYOL - target frozen"),
    (
      (
        norm,
        *(
          both(found.get(name.format(norm)), name.format(norm))
          for name in kinds.values()
        ),
        difference(rules.ahead(norm, f"{norm}-tau-1"), found),
      )
      for norm in arms.NORMS
    ),
  )


def difference(rule: rules.Rule, found: Results) -> str:
  """That by which a rule goes: mean and bounds by both probes, of the same seeds."""
  seeds = [found[name] for name in rule.arms if name in found]
  same = all(arm.numbers == seeds[0].numbers for arm in seeds)
  if rule.difference is None or len(seeds) < len(rule.arms) or not same:
    return ""
  of_seeds = rule.difference

  def of(probe: str) -> str:
    by_seed = of_seeds(*(np.array(arm.accuracies(probe)) for arm in seeds))
    low, high = rules.interval(by_seed)
    return f"{np.mean(by_seed):+.1f} ({low:+.1f} to {high:+.1f})"

  return pair(of)


def independence(found: dict[str, Any]) -> Iterator[str]:
  """The study of an image and its batch."""
  yield (
    "All other images of a batch of real views are replaced, and the first stays: how"
    " far its prediction moves on the unit sphere (2 is the other side), and how much"
    " the prediction's gradient changes, relative to its length. Trained networks,"
    " training mode.\n"
  )
  yield from table(
    ("arm", "prediction", "gradient"),
    ((n, f"{f['prediction']:.3g}", f"{f['gradient']:.3g}") for n, f in found.items()),
  )


def mirror(found: dict[str, Any]) -> Iterator[str]:
  """The study of RAFT and BYOL'."""

  def last(precision: str, name: str) -> str:
    return f"{found[precision]['distances'][name][-1]:.2g}"

  yield (
    f"{found['steps']} steps of SGD on the same batches. RAFT's run is that of BYOL',"
    " its loss lower by 4, if it starts with the sign of the predictor's last layer W"
    " changed; if it starts alike, it is another. (The paper's theorem is for linear"
    " predictors; the algebra is the same for any whose last layer is linear, as"
    " here.) Distances are those of all parameters, relative to how far BYOL' has come,"
    " with W's sign changed back where it was changed; at the end"
    f" {last('float64', 'mirrored')} and {last('float64', 'as it is')} in float64. In"
    f" float32 ({last('float32', 'mirrored')}) rounding decides for some activations on"
    " which side of a ReLU they are, and the runs come apart. As W is as likely to"
    " start with one sign as with the other, RAFT and BYOL' with such a predictor do"
    " equally well but for chance."
  )


def costs(found: dict[str, Any]) -> Iterator[str]:
  """The study of a step's cost."""
  devices = {cost["devices"] for cost in found.values()}
  yield (
    "On one CPU device with all cores of the machine, taking turns: median, ± half of"
    " the interquartile range. Memory is what XLA sets aside for a step, without"
    " parameters, optimiser and images; all-reduces are those of the step compiled for"
    f" {', '.join(map(str, devices))} devices.\n"
  )
  yield from table(
    ("arm", "images/s", "temporary memory, MiB", "all-reduces", "arrays in them"),
    (
      (
        name,
        tables.with_spread(f"{cost['images_per_second']:.0f}", cost["spread"]),
        f"{cost['temp_mib']:.0f}",
        str(cost["collectives"]["all-reduce"]["ops"]),
        str(cost["collectives"]["all-reduce"]["arrays"]),
      )
      for name, cost in found.items()
    ),
  )


# What stands in the columns of `measured`.
MEASURES = (
  "Linear and kNN are accuracies in %; gain is that over the untrained network, points."
  " Raw: a linear classifier on features that are not standardised. Common: squared"
  " length of the mean direction, of features / projections, in the end and before"
  " training. Spread: of projections; lowest: of training images, of the steps that"
  " were logged. RankMe and LiDAR are of features, LiDAR of four views of an image;"
  " ranks are RankMe of predictions / of targets. Renewals: the sum of 1 - tau over"
  " the run."
)


def runs(found: Results, pixels: Mapping[str, float] | None) -> Iterator[str]:
  """All measures of all arms."""
  yield (
    f"{MEASURES} The spread was logged each 30th step; with half the steps each 15th,"
    " in trials each 100th.\n"
  )
  yield from table(
    ("arm", "seeds", *_ACCURACIES, *_MEASURES),
    (
      *((name, str(len(arm)), *measured(arm).values()) for name, arm in found.items()),
      *([("raw pixels", "", *of_pixels(pixels).values())] if pixels else []),
    ),
  )


_ACCURACIES: dict[str, Callable[[Seeds], str]] = {
  "linear": lambda arm: arm.show(lambda r: r.accuracy("linear")),
  "linear, untrained": lambda arm: arm.show(lambda r: r.untrained("linear")),
  "linear, gain": lambda arm: arm.show(lambda r: r.gain("linear")),
  "raw": lambda arm: arm.show(lambda r: r.raw),
  "kNN": lambda arm: arm.show(lambda r: r.accuracy("knn")),
  "kNN, untrained": lambda arm: arm.show(lambda r: r.untrained("knn")),
  "kNN, gain": lambda arm: arm.show(lambda r: r.gain("knn")),
}
_MEASURES: dict[str, Callable[[Seeds], str]] = {
  "common": lambda arm: _two(arm, "feature_common", "projection_common", 2),
  "common, untrained": lambda arm: _two(
    arm, "feature_common", "projection_common", 2, "untrained"
  ),
  "spread": lambda arm: arm.show(lambda r: r.health("spread"), 2),
  "lowest": lambda arm: arm.show(lambda r: r.lowest_spread, 2),
  "RankMe": lambda arm: arm.show(lambda r: r.health("rankme"), 0),
  "LiDAR": lambda arm: arm.show(lambda r: r.health("lidar"), 0),
  "ranks": lambda arm: _two(arm, "prediction_rank", "target_rank", 0),
  "renewals": lambda arm: f"{arm[0].renewals[-1]:.0f}",
}


def measured(arm: Seeds) -> dict[str, str]:
  """All measures of an arm by their headings; see `MEASURES`."""
  return {name: show(arm) for name, show in (_ACCURACIES | _MEASURES).items()}


def _two(
  arm: Seeds, one: str, other: str, digits: int, network: str = "encoder"
) -> str:
  first = arm.mean(lambda r: r.health(one, network))
  second = arm.mean(lambda r: r.health(other, network))
  return f"{first:.{digits}f} / {second:.{digits}f}"


def of_pixels(pixels: Mapping[str, float]) -> dict[str, str]:
  """The same of raw pixels, accuracies in %, as far as they have any."""
  empty = dict.fromkeys((*_ACCURACIES, *_MEASURES), "")
  linear, knn = (f"{pixels[probe]:.1f}" for probe in PROBES)
  return {**empty, "linear": linear, "kNN": knn}


def agreement(found: Results) -> Iterator[str]:
  """How well measures without labels rank runs and checkpoints."""
  yield (
    f"Of the records of {sum(map(len, found.values()))} runs. Spearman's rank"
    " correlation with linear accuracy (over runs); within a run, of the evaluations,"
    " with held-out kNN accuracy, the untrained network left out; lost: the points of"
    " it by which the evaluation that a measure ranks first is behind the best.\n"
  )
  ranked = sorted(
    agreements.agreement(found).items(),
    key=lambda item: item[1]["over_runs"] + item[1]["within_runs"],
    reverse=True,
  )
  yield from table(
    ("measure", "over runs", "within runs", "lost"),
    (
      (
        name.replace("_", " "),
        f"{agrees['over_runs']:.2f}",
        f"{agrees['within_runs']:.2f}",
        f"{agrees['lost']:.1f}",
      )
      for name, agrees in ranked
    ),
  )


def trials(found: Results) -> Iterator[str]:
  """The trials that chose the setting."""
  yield (
    "One run each with seed 0, which has no part in anything above; accuracies are on"
    " training images whose labels the probes have not seen (train[45000:], of"
    " train[:20000]). All that were made stand here. Their settings:"
    " `reproduce/trials.py`.\n"
  )
  yield from table(
    ("trial", *_ACCURACIES, *_MEASURES),
    (
      (name.removeprefix("trial-"), *measured(arm).values())
      for name, arm in found.items()
    ),
  )


def made(found: Sequence[Seeds], studies: dict[str, Any]) -> Iterator[str]:
  """With what, and by which commands, it was made."""
  notes = [note for arm in found for result in arm for note in result.made]
  notes += [note for study in studies.values() for note in study["made"]]
  seconds = [result.summary["seconds"] for arm in found for result in arm]
  yield f"- hours of a core: {sum(seconds) / 3600:.0f}, of {len(seconds)} runs"
  for key in ("commit", "machine", "versions", "day"):
    values = list(dict.fromkeys(note[key] for note in notes))
    yield f"- {key}: {'; '.join(values) or 'unknown'}"
  yield (
    "\nThe runs, each with `--config.seed` 1, 2 and 3, and besides with"
    " `--config.data.data_dir=DIR --workdir=RUN`:\n"
  )
  yield "```bash"
  for name in arms.ARMS:
    yield " ".join(["python -m byol_jax.main", *arms.first(name).flags()])
  yield "```"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
  """The lines of a Markdown table."""
  yield from map(tables.line, (heads, ["---"] * len(heads), *rows))
