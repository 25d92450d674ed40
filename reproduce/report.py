"""Writes the report from the records of runs and studies: tables, and figures."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from byol_jax import disk
from configs import presets
from reproduce import arms, claims, figures, records, report_tables, rules
from reproduce.claims import Answer
from reproduce.results import Results
from reproduce.trials import TRIALS


def write(folder: Path) -> Path:
  """Writes report.md and its figures beside the records; the report's path."""
  found = records.read(folder, arms.ARMS)
  trials = records.read(folder, TRIALS)
  studies = {
    name: study
    for name in arms.STUDIES
    if (study := records.read_study(folder, name)) is not None
  }
  folder.mkdir(parents=True, exist_ok=True)
  figures.collapse(found, folder / "collapse.png")
  figures.bootstrap(found, folder / "bootstrap.png")
  if _compares_batches(found):
    figures.batch_sizes(found, folder / "batch-size.png")
  if "mirror" in studies:
    figures.mirror(studies["mirror"]["found"], folder / "mirror.png")
  path = folder / "report.md"
  disk.replace(path, "\n".join(_lines(folder, found, trials, studies)) + "\n")
  return path


def _lines(
  folder: Path, found: Results, trials: Results, studies: dict[str, Any]
) -> Iterator[str]:
  page, pixels = "docs/reproduction.md", records.read_pixels(folder)
  if (folder.parent / "reproduction.md").exists():  # not beside a report of one's own
    page = "[reproduction.md](../reproduction.md)"
  yield "# The papers' argument on CIFAR-10\n"
  yield (
    "Written by `python -m reproduce`; what it means, and why the runs are as they"
    f" are: {page}. {_setting()}\n"
  )
  yield from _verdicts(found, pixels)
  yield "\n## The rules\n"
  yield from rules.TEXT.splitlines()
  yield "\n## Norms and objectives\n"
  yield (
    "The difference, and its two bounds of 95 %, each one-sided: together they are an"
    " interval of 90 %.\n"
  )
  yield from report_tables.norms(found)
  yield "\n![accuracy against renewals of the target](bootstrap.png)\n"
  yield (
    "The mean over the seeds, on held-out training images, which decide on nothing."
    " Dotted: the last accuracy with a target that never moves."
  )
  yield "\n## What collapse looks like\n"
  yield "![loss, spread, rank and kNN over training](collapse.png)\n"
  yield (
    "The first seed that there is. The loss is that of the arm's own objective, the"
    " spread that of the projections of the training batch; rank and kNN are of"
    " held-out training images."
  )
  if "independence" in studies:
    yield "\n## An image and its batch\n"
    yield from report_tables.independence(studies["independence"]["found"])
  if "mirror" in studies:
    yield "\n## RAFT is BYOL' in a mirror\n"
    yield "![losses of three runs, and how far they come apart](mirror.png)\n"
    yield from report_tables.mirror(studies["mirror"]["found"])
  if _compares_batches(found):
    yield "\n## Batches\n"
    yield "![linear accuracy against batch size](batch-size.png)\n"
    yield (
      "The number of images seen is the same: small batches make more steps, at rates"
      " that go down with the batch. Bars: standard deviation over the seeds."
    )
  if "costs" in studies:
    yield "\n## What a step costs\n"
    yield from report_tables.costs(studies["costs"]["found"])
  if to_come := [name for name in arms.STUDIES if name not in studies]:
    yield f"\nStudies to come: {', '.join(to_come)}."
  yield "\n## All runs\n"
  yield from report_tables.runs(found, pixels)
  if found:
    yield "\n## Measures that need no labels\n"
    yield from report_tables.agreement(found)
  yield "\n## The trials that chose the setting\n"
  yield from report_tables.trials(trials)
  yield "\n## How it was made\n"
  yield from report_tables.made([*found.values(), *trials.values()], studies)


def _compares_batches(found: Results) -> bool:
  """Whether any arm of another batch size has run."""
  return any("-batch-" in name for name in found)


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


_OPEN = {Answer.OPEN: "not decided", Answer.MISSING: "runs missing"}
_OF_CLAIMS = {Answer.YES: "agrees", Answer.NO: "disagrees", **_OPEN}
_OF_QUESTIONS = {Answer.YES: "yes", Answer.NO: "no", **_OPEN}


def _verdicts(found: Results, pixels: Mapping[str, float] | None) -> Iterator[str]:
  answers = [claim.answer(found, pixels) for claim in claims.CLAIMS]
  counts = {answer: answers.count(answer) for answer in Answer}
  yield "## What is decided, and what is not\n"
  yield (
    f"Of {len(answers)} claims the runs agree with {counts[Answer.YES]} and disagree"
    f" with {counts[Answer.NO]}. Not decided at this scale: {counts[Answer.OPEN]}; runs"
    f" missing: {counts[Answer.MISSING]}. The papers' numbers are of ResNet-50 on"
    " ImageNet, RAFT's of ResNet-18 on CIFAR-10 for 300 epochs.\n"
  )
  for word, answer in (("Not decided", Answer.OPEN), ("Runs missing", Answer.MISSING)):
    for claim, its in zip(claims.CLAIMS, answers, strict=True):
      if its is answer:
        yield f"- {word}: {claim.says}."
  gates = {Answer.YES: "passed", Answer.NO: "**not passed**", **_OPEN}
  gate = gates[claims.GATE.answer(found, pixels)]
  raw = "not measured"
  if pixels is not None:
    raw = report_tables.pair(lambda probe: f"{pixels[probe]:.1f}")
  yield (
    f"\nThe gate is {gate}: {_here(claims.GATE, found).replace('<br>', ', ')}; raw"
    f" pixels: {raw}.\n"
  )
  yield "## The papers' claims\n"
  yield (
    "The difference is that by which the verdict goes, where it goes by one: mean, and"
    " its two bounds.\n"
  )
  yield from report_tables.table(
    ("claim", "source", "the paper's numbers", "here", "difference", "verdict"),
    (
      (
        claim.says,
        claim.source,
        claim.paper,
        _here(claim, found),
        report_tables.difference(claim.rule, found),
        f"**{_OF_CLAIMS[answer]}**",
      )
      for claim, answer in zip(claims.CLAIMS, answers, strict=True)
    ),
  )
  yield "\n## Further questions\n"
  yield "They are ours, and were asked before their runs.\n"
  yield from _answers(claims.QUESTIONS, found, pixels)
  yield "\n## Questions that came afterwards\n"
  yield (
    "Asked when the runs that answer them were there. So they were chosen with their"
    " results in sight, and weigh less.\n"
  )
  yield from _answers(claims.ASKED_AFTERWARDS, found, pixels)


def _answers(
  questions: Iterable[claims.Claim],
  found: Results,
  pixels: Mapping[str, float] | None,
) -> Iterator[str]:
  return report_tables.table(
    ("question", "here", "difference", "answer"),
    (
      (
        each.says,
        _here(each, found),
        report_tables.difference(each.rule, found),
        f"**{_OF_QUESTIONS[each.answer(found, pixels)]}**",
      )
      for each in questions
    ),
  )


def _here(claim: claims.Claim, found: Results) -> str:
  lines = [
    f"{name}: {report_tables.both(found.get(name), name)}" for name in claim.arms
  ]
  lines += [
    f"({name}: {report_tables.both(found.get(name), name)})" for name in claim.beside
  ]
  return "<br>".join(lines)
