"""Writes the report from the records of runs and studies: tables, and figures."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import tables
from configs import presets
from reproduce import agreement, arms, claims, figures, results, rules


def write(folder: Path) -> Path:
  """Writes report.md and its figures beside the records; the report's path."""
  found = results.read(folder)
  studies = {
    name: study
    for name in arms.STUDIES
    if (study := results.read_study(folder, name)) is not None
  }
  folder.mkdir(parents=True, exist_ok=True)
  figures.collapse(found, folder / "collapse.png")
  figures.batch_sizes(found, folder / "batch-size.png")
  if "mirror" in studies:
    figures.mirror(studies["mirror"]["found"], folder / "mirror.png")
  path = folder / "report.md"
  path.write_text("\n".join(_lines(found, studies)) + "\n")
  return path


def _lines(found: results.Results, studies: dict[str, Any]) -> Iterator[str]:
  yield "# The papers' argument on CIFAR-10\n"
  yield (
    "Written by `python -m reproduce`; what it means, and why the runs are as they"
    f" are: [reproduction.md](../reproduction.md). {_setting()}\n"
  )
  yield "## The papers' claims\n"
  yield from _claims(found)
  yield "\n## Further questions\n"
  yield "They are ours, and came up in explaining the others.\n"
  yield from _questions(found)
  yield "\n## The rules\n"
  yield from rules.TEXT.splitlines()
  yield "\n## What collapse looks like\n"
  yield "![loss, spread, rank and kNN over training](collapse.png)\n"
  yield (
    "One seed each. The loss is that of the arm's"
    " own objective, the spread that of the projections of the training batch; rank"
    " and kNN are of held-out training images. Nothing in the curve of a loss tells"
    " features that get better from features that get worse."
  )
  if "independence" in studies:
    yield "\n## An image and its batch\n"
    yield from _independence(studies["independence"]["found"])
  if "mirror" in studies:
    yield "\n## RAFT is BYOL' in a mirror\n"
    yield "![losses of three runs, and how far they come apart](mirror.png)\n"
    yield from _mirror(studies["mirror"]["found"])
  yield "\n## Small batches\n"
  yield "![linear accuracy against batch size](batch-size.png)\n"
  yield (
    "The number of images seen is the same: small batches make more steps, at rates"
    " that go down with the batch, but for the dashed green line. On the dashed blue"
    " one the optimiser's batch, the length and the rate stay the same, and batch norm"
    " alone sees fewer images together. Bars: standard deviation over three seeds;"
    " points without a bar are one."
  )
  if "costs" in studies:
    yield "\n## What a step costs\n"
    yield from _costs(studies["costs"]["found"])
  if "score" in studies:
    yield "\n## Measures that need no labels\n"
    yield from _score(studies["score"]["found"], found)
  yield "\n## All runs\n"
  yield from _runs(found)
  yield "\n## How it was made\n"
  yield from _made(found, studies)


def _setting() -> str:
  """The setting of the runs, and what their numbers are."""
  config = presets.get(arms.PRESET)
  encoder, train, rate = config.encoder, config.train, config.optimiser.learning_rate
  return (
    f"ResNet-{encoder.depth} of {encoder.width:g} times the width, {train.steps} steps"
    f" of {train.batch_size} images, {config.optimiser.name.upper()} at a base rate of"
    f" {rate:g} (the config `{arms.PRESET}`), where the name of an arm or the list of"
    " commands at the end does not say otherwise. Numbers are accuracies of a linear"
    " classifier on the frozen encoder's features, on CIFAR-10's test split, in %:"
    " mean and standard deviation where there are several seeds, one run where there"
    " is no ±. In brackets, points above the same network untrained. Arms called"
    " “fast” have a predictor that learns four times as fast as the rest, “slow” ones a"
    " tenth as fast; “long” ones make four times the steps; “np” is no predictor, “sgd”"
    " SGD at a base rate of 0.1 with a warm-up of 5 %, “deep” 34 layers."
  )


def _claims(found: results.Results) -> Iterator[str]:
  words = {True: "agrees", False: "disagrees", None: "not decided"}
  answers = [claim.answer(found) for claim in claims.CLAIMS]
  agree, disagree, open_ = map(answers.count, words)
  yield (
    f"Of {len(answers)} claims the runs agree with {agree} and disagree with"
    f" {disagree}; {open_} are not decided at this scale. The papers' numbers are of"
    " ResNet-50 on ImageNet, RAFT's of ResNet-18 on CIFAR-10 for 300 epochs.\n"
  )
  yield from _table(
    ("claim", "source", "the paper's numbers", "here", "verdict"),
    (
      (claim.says, claim.source, claim.paper, _here(claim, found), f"**{words[a]}**")
      for claim, a in zip(claims.CLAIMS, answers, strict=True)
    ),
  )


def _questions(found: results.Results) -> Iterator[str]:
  words = {True: "yes", False: "no", None: "not decided"}
  yield from _table(
    ("question", "here", "answer"),
    (
      (question.says, _here(question, found), f"**{words[question.answer(found)]}**")
      for question in claims.QUESTIONS
    ),
  )


def _here(claim: claims.Claim, found: results.Results) -> str:
  return "<br>".join(
    f"{name}: {_gain(found.get(name), arms.ARMS[name].seeds)}" for name in claim.arms
  )


def _gain(arm: results.Seeds | None, wanted: int) -> str:
  if arm is None:
    return "not run"
  gain = arm.mean(lambda result: result.gain)
  collapsed = sum(result.collapsed for result in arm)
  seeds = f", {collapsed} of {len(arm)} collapsed" if collapsed else ""
  missing = f", {len(arm)} of {wanted} runs" if len(arm) < wanted else ""
  return f"{arm.show(lambda result: result.linear)} ({gain:+.1f}){seeds}{missing}"


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


def _score(study: dict[str, Any], found: results.Results) -> Iterator[str]:
  runs = study["runs"]
  points = sum(map(len, runs.values()))
  yield (
    f"{len(runs)} short runs with one seed, {points} networks: each run's untrained one"
    " and those of its checkpoints. Spearman's rank correlation with linear accuracy of"
    " the last networks of all runs (over runs), and of the networks of each run, the"
    " mean (within runs). Lost: points of linear accuracy by which the network ranked"
    " first is behind the best of its run; untrained first: the runs in which that is"
    " the untrained one. The rule and the candidates: `reproduce/score.py`. Ranked by"
    " the mean of the two.\n"
  )
  ranked = sorted(
    study["agreement"].items(),
    key=lambda item: item[1]["over_runs"] + item[1]["within_runs"],
    reverse=True,
  )
  yield from _table(
    ("measure", "over runs", "within runs", "lost", "untrained first"),
    (
      (
        name.replace("_", " "),
        f"{agrees['over_runs']:.2f}",
        f"{agrees['within_runs']:.2f}",
        f"{agrees['lost']:.1f}",
        f"{round(len(runs) * agrees['untrained_first'])} of {len(runs)}",
      )
      for name, agrees in ranked
    ),
  )
  yield "\nThe runs, from untrained to the last network, linear accuracy in %:\n"
  yield from _table(
    ("arm", "linear"),
    (
      (name, ", ".join(f"{100 * point['linear']:.1f}" for point in points))
      for name, points in runs.items()
    ),
  )
  if any(len(run.curves["valid_knn"][0]) > 1 for arm in found.values() for run in arm):
    yield from _of_records(found)


def _of_records(found: results.Results) -> Iterator[str]:
  yield (
    f"\nThe records of the {sum(map(len, found.values()))} full-length runs below have"
    " two measures. Over runs, as above; within runs and lost are of held-out kNN"
    " accuracy at the evaluations, the untrained network left out; to take the newest"
    " is what both have to beat.\n"
  )
  yield from _table(
    ("measure", "over runs", "within runs", "lost"),
    (
      (
        name,
        f"{agrees['over_runs']:.2f}" if name != "newest" else "",
        f"{agrees['within_runs']:.2f}",
        f"{agrees['lost']:.1f}",
      )
      for name, agrees in agreement.of_records(found).items()
    ),
  )


def _runs(found: results.Results) -> Iterator[str]:
  yield from _table(
    (
      "arm",
      "seeds",
      "linear",
      "untrained",
      "kNN",
      "untrained",
      "spread",
      "lowest on the way",
      "rank",
    ),
    (
      (
        name,
        str(len(arm)),
        arm.show(lambda r: r.linear),
        arm.show(lambda r: r.linear - r.gain),
        arm.show(lambda r: r.knn),
        arm.show(lambda r: r.untrained_knn),
        arm.show(lambda r: r.spread, 2),
        arm.show(lambda r: r.lowest_spread, 2),
        arm.show(lambda r: r.rank),
      )
      for name, arm in found.items()
    ),
  )


def _made(found: results.Results, studies: dict[str, Any]) -> Iterator[str]:
  notes = [note for arm in found.values() for result in arm for note in result.made]
  notes += [note for study in studies.values() for note in study["made"]]
  for key in ("commit", "machine", "versions", "day"):
    values = list(dict.fromkeys(note[key] for note in notes))
    yield f"- {key}: {'; '.join(values) or 'unknown'}"
  yield "\nThe runs, with `--config.seed` 1, 2 and 3 where there are three seeds:\n"
  yield "```bash"
  for run in arms.runs():
    if run.seed == arms.FIRST_SEED:
      yield " ".join(["python -m byol_jax.main", *run.flags()])
  yield "```"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
  yield from map(tables.line, (heads, ["---"] * len(heads), *rows))
