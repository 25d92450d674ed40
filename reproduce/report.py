"""Writes the report from the records of runs and studies: tables, and figures."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import tables
from configs import presets
from reproduce import agreement, arms, claims, figures, results, rules
from reproduce.results import PROBES, Results, Seeds
from reproduce.trials import TRIALS


def write(folder: Path) -> Path:
  """Writes report.md and its figures beside the records; the report's path."""
  found = results.read(folder, arms.ARMS)
  trials = results.read(folder, TRIALS)
  studies = {
    name: study
    for name in arms.STUDIES
    if (study := results.read_study(folder, name)) is not None
  }
  folder.mkdir(parents=True, exist_ok=True)
  figures.collapse(found, folder / "collapse.png")
  figures.bootstrap(found, folder / "bootstrap.png")
  figures.batch_sizes(found, folder / "batch-size.png")
  if "mirror" in studies:
    figures.mirror(studies["mirror"]["found"], folder / "mirror.png")
  path = folder / "report.md"
  path.write_text("\n".join(_lines(found, trials, studies)) + "\n")
  return path


def _lines(found: Results, trials: Results, studies: dict[str, Any]) -> Iterator[str]:
  pixels = None
  if "pixels" in studies:
    pixels = {name: 100 * value for name, value in studies["pixels"]["found"].items()}
  yield "# The papers' argument on CIFAR-10\n"
  yield (
    "Written by `python -m reproduce`; what it means, and why the runs are as they"
    f" are: [reproduction.md](../reproduction.md). {_setting()}\n"
  )
  yield from _verdicts(found, pixels)
  yield "\n## The rules\n"
  yield from rules.TEXT.splitlines()
  yield "\n## Norms and objectives\n"
  yield from _norms(found)
  yield "\n![accuracy against renewals of the target](bootstrap.png)\n"
  yield (
    "The first seed, on held-out training images. Dotted: the last accuracy with a"
    " target that never moves."
  )
  yield "\n## What collapse looks like\n"
  yield "![loss, spread, rank and kNN over training](collapse.png)\n"
  yield (
    "One seed each. The loss is that of the arm's own objective, the spread that of the"
    " projections of the training batch; rank and kNN are of held-out training images."
  )
  if "independence" in studies:
    yield "\n## An image and its batch\n"
    yield from _independence(studies["independence"]["found"])
  if "mirror" in studies:
    yield "\n## RAFT is BYOL' in a mirror\n"
    yield "![losses of three runs, and how far they come apart](mirror.png)\n"
    yield from _mirror(studies["mirror"]["found"])
  yield "\n## Batches\n"
  yield "![linear accuracy against batch size](batch-size.png)\n"
  yield (
    "The number of images seen is the same: small batches make more steps, at rates"
    " that go down with the batch. Bars: standard deviation over the seeds."
  )
  if "costs" in studies:
    yield "\n## What a step costs\n"
    yield from _costs(studies["costs"]["found"])
  yield "\n## All runs\n"
  yield from _runs(found, pixels)
  if found:
    yield "\n## Measures that need no labels\n"
    yield from _agreement(found)
  yield "\n## The trials that chose the setting\n"
  yield from _trials(trials)
  yield "\n## How it was made\n"
  yield from _made([*found.values(), *trials.values()], studies)


def _setting() -> str:
  """The setting of the runs, and what their numbers are."""
  config = presets.get(arms.PRESET)
  encoder, train, rate = config.encoder, config.train, config.optimiser.learning_rate
  return (
    f"ResNet-{encoder.depth} of {encoder.width:g} times the width, {train.steps} steps"
    f" of {train.batch_size} images, {config.optimiser.name.upper()} at a base rate of"
    f" {rate:g}, a predictor {config.optimiser.predictor_multiplier:g} times as fast,"
    f" tau from {config.target.tau:g} to 1 (the config `{arms.PRESET}`), where the name"
    " of an arm or the list of commands at the end does not say otherwise. Accuracies"
    " are on CIFAR-10's test split, in %: mean and standard deviation over the seeds,"
    " as linear / nearest neighbours where there are two."
  )


def _verdicts(found: Results, pixels: Mapping[str, float] | None) -> Iterator[str]:
  words = {True: "agrees", False: "disagrees", None: "not decided"}
  answers = [claim.answer(found, pixels) for claim in claims.CLAIMS]
  counts = {answer: answers.count(answer) for answer in words}
  passed = claims.GATE.answer(found, pixels)
  yield "## What is decided, and what is not\n"
  yield (
    f"Of {len(answers)} claims {counts[None]} are not decided at this scale. With"
    f" {counts[True]} the runs agree, with {counts[False]} they disagree. The papers'"
    " numbers are of ResNet-50 on ImageNet, RAFT's of ResNet-18 on CIFAR-10 for 300"
    " epochs.\n"
  )
  open_ = [
    claim.says for claim, a in zip(claims.CLAIMS, answers, strict=True) if a is None
  ]
  yield from (f"- Not decided: {says}." for says in open_)
  gate = {True: "passed", False: "**not passed**", None: "not decided yet"}[passed]
  raw = "not measured"
  if pixels is not None:
    raw = _pair(lambda probe: f"{pixels[probe]:.1f}")
  yield (
    f"\nThe gate is {gate}: {_here(claims.GATE, found).replace('<br>', ', ')}; raw"
    f" pixels: {raw}.\n"
  )
  yield "## The papers' claims\n"
  yield from _table(
    ("claim", "source", "the paper's numbers", "here", "verdict"),
    (
      (claim.says, claim.source, claim.paper, _here(claim, found), f"**{words[a]}**")
      for claim, a in zip(claims.CLAIMS, answers, strict=True)
    ),
  )
  yield "\n## Further questions\n"
  yield "They are ours.\n"
  words = {True: "yes", False: "no", None: "not decided"}
  yield from _table(
    ("question", "here", "answer"),
    (
      (each.says, _here(each, found), f"**{words[each.answer(found, pixels)]}**")
      for each in claims.QUESTIONS
    ),
  )


def _here(claim: claims.Claim, found: Results) -> str:
  lines = [f"{name}: {_both(found.get(name), name)}" for name in claim.arms]
  lines += [f"({name}: {_both(found.get(name), name)})" for name in claim.beside]
  return "<br>".join(lines)


def _both(arm: Seeds | None, name: str) -> str:
  """Accuracies by both probes."""
  if arm is None:
    return "not run"
  wanted = len(arms.ARMS[name].seeds)
  missing = f", {len(arm)} of {wanted} runs" if len(arm) < wanted else ""
  return _pair(lambda probe: arm.show(lambda r: r.accuracy(probe))) + missing


def _pair(of: Callable[[str], str]) -> str:
  return " / ".join(map(of, PROBES))


def _norms(found: Results) -> Iterator[str]:
  kinds = {"BYOL": "{}", "target frozen": "{}-tau-1", "SimCLR": "simclr-{}"}
  yield from _table(
    ("norm", *kinds, "BYOL - target frozen"),
    (
      (
        norm,
        *(
          _both(found.get(name.format(norm)), name.format(norm))
          for name in kinds.values()
        ),
        _difference(found.get(norm), found.get(f"{norm}-tau-1")),
      )
      for norm in arms.NORMS
    ),
  )


def _difference(one: Seeds | None, other: Seeds | None) -> str:
  """The mean difference by both probes, with its interval, of as many seeds."""
  if one is None or other is None or len(one) != len(other):
    return ""

  def of(probe: str) -> str:
    pairs = zip(one.accuracies(probe), other.accuracies(probe), strict=True)
    differences = [a - b for a, b in pairs]
    low, high = rules.interval(differences)
    return f"{sum(differences) / len(differences):+.1f} ({low:+.1f} to {high:+.1f})"

  return _pair(of)


def _independence(found: dict[str, Any]) -> Iterator[str]:
  yield (
    "All other images of a batch of real views are replaced, and the first stays: how"
    " far its prediction moves on the unit sphere (2 is the other side), and how much"
    " the prediction's gradient changes, relative to its length. Trained networks,"
    " training mode.\n"
  )
  yield from _table(
    ("arm", "prediction", "gradient"),
    ((n, f"{f['prediction']:.3g}", f"{f['gradient']:.3g}") for n, f in found.items()),
  )


def _mirror(found: dict[str, Any]) -> Iterator[str]:
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


def _costs(found: dict[str, Any]) -> Iterator[str]:
  devices = {cost["devices"] for cost in found.values()}
  yield (
    "On one CPU device with all cores of the machine, taking turns: median, ± half of"
    " the interquartile range. Memory is what XLA sets aside for a step, without"
    " parameters, optimiser and images; all-reduces are those of the step compiled for"
    f" {', '.join(map(str, devices))} devices.\n"
  )
  yield from _table(
    ("arm", "images/s", "temporary memory, MiB", "all-reduces", "arrays in them"),
    (
      (
        name,
        f"{cost['images_per_second']:.0f} ±{50 * cost['spread']:.0f}%",
        f"{cost['temp_mib']:.0f}",
        str(cost["collectives"]["all-reduce"]["ops"]),
        str(cost["collectives"]["all-reduce"]["arrays"]),
      )
      for name, cost in found.items()
    ),
  )


def _runs(found: Results, pixels: Mapping[str, float] | None) -> Iterator[str]:
  yield (
    "Raw: a linear classifier on features that are not standardised. Common: squared"
    " length of the mean direction, of features / projections. Lowest: the spread that"
    " was lowest on the way, of training images. RankMe and LiDAR are of features,"
    " ranks are RankMe of predictions / of targets. Renewals: the sum of 1 - tau over"
    " the run.\n"
  )
  yield from _table(
    ("arm", "seeds", "linear", "untrained", "raw", "kNN", "untrained", *_MEASURES),
    (
      *(_row(name, arm) for name, arm in found.items()),
      *([_pixels_row(pixels)] if pixels else []),
    ),
  )


_MEASURES: dict[str, Callable[[Seeds], str]] = {
  "common": lambda arm: _two(arm, "feature_common", "projection_common", 2),
  "spread": lambda arm: arm.show(lambda r: r.health("spread"), 2),
  "lowest": lambda arm: arm.show(lambda r: r.lowest_spread, 2),
  "RankMe": lambda arm: arm.show(lambda r: r.health("rankme"), 0),
  "LiDAR": lambda arm: arm.show(lambda r: r.health("lidar"), 0),
  "ranks": lambda arm: _two(arm, "prediction_rank", "target_rank", 0),
  "renewals": lambda arm: f"{arm[0].renewals[-1]:.0f}",
}


def _row(name: str, arm: Seeds) -> Sequence[str]:
  return (
    name,
    str(len(arm)),
    arm.show(lambda r: r.accuracy("linear")),
    arm.show(lambda r: r.untrained("linear")),
    arm.show(lambda r: r.raw),
    arm.show(lambda r: r.accuracy("knn")),
    arm.show(lambda r: r.untrained("knn")),
    *(show(arm) for show in _MEASURES.values()),
  )


def _two(arm: Seeds, one: str, other: str, digits: int) -> str:
  first, second = arm.mean(lambda r: r.health(one)), arm.mean(lambda r: r.health(other))
  return f"{first:.{digits}f} / {second:.{digits}f}"


def _pixels_row(pixels: Mapping[str, float]) -> Sequence[str]:
  linear, knn = (f"{pixels[name]:.1f}" for name in ("linear", "knn"))
  return ("raw pixels", "", linear, "", "", knn, "", *[""] * len(_MEASURES))


def _agreement(found: Results) -> Iterator[str]:
  yield (
    f"Of the records of {sum(map(len, found.values()))} runs. Spearman's rank"
    " correlation with linear accuracy (over runs); within a run, of the evaluations,"
    " with held-out kNN accuracy, the untrained network left out; lost: the points of"
    " it by which the evaluation that a measure ranks first is behind the best.\n"
  )
  ranked = sorted(
    agreement.agreement(found).items(),
    key=lambda item: item[1]["over_runs"] + item[1]["within_runs"],
    reverse=True,
  )
  yield from _table(
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


def _trials(trials: Results) -> Iterator[str]:
  yield (
    "One run each with seed 0, which has no part in anything above; accuracies are on"
    " training images whose labels the probes have not seen (train[45000:], of"
    " train[:20000]). All that were made stand here. Their settings:"
    " `reproduce/trials.py`.\n"
  )
  yield from _table(
    ("trial", "linear", "untrained", "kNN", "untrained", *_MEASURES),
    (
      (row[0].removeprefix("trial-"), row[2], row[3], row[5], row[6], *row[7:])
      for row in (_row(name, arm) for name, arm in trials.items())
    ),
  )


def _made(found: Iterable[Seeds], studies: dict[str, Any]) -> Iterator[str]:
  notes = [note for arm in found for result in arm for note in result.made]
  notes += [note for study in studies.values() for note in study["made"]]
  for key in ("commit", "machine", "versions", "day"):
    values = list(dict.fromkeys(note[key] for note in notes))
    yield f"- {key}: {'; '.join(values) or 'unknown'}"
  yield "\nThe runs, each with `--config.seed` 1, 2 and 3:\n"
  yield "```bash"
  for name in arms.ARMS:
    yield " ".join(["python -m byol_jax.main", *arms.first(name).flags()])
  yield "```"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
  yield from map(tables.line, (heads, ["---"] * len(heads), *rows))
