"""Several runs beside each other: results, what is comparable, what differs."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from byol_jax.report import chance, evaluations, facts, verdict
from byol_jax.report.facts import Table
from byol_jax.report.runs import Run
from byol_jax.run.settings import FOLDERS, differences, flat

# Split -> its number of images, for each run.
Counts = Sequence[Mapping[str, int]]


class Accuracy(NamedTuple):
  """An accuracy that runs are compared by; the highest is best.

  Attributes:
    title: its name.
    value: of a run, in [0, 1]; None where it has none.
    images: how many it is of; None where that is not known.
    settings: in which runs must agree for it to be comparable.
    probe: of whose baselines it stands beside; "" where it has none.
  """

  title: str
  value: Callable[[Run], float | None]
  images: Callable[[Run, Mapping[str, int]], int | None]
  settings: Sequence[str]
  probe: str = ""


_SAME = ("experiment", "data.name", "train.steps")
_TEST = (*_SAME, "probe.train", "probe.test", "data.test")
_HELD_OUT = (*_SAME, "probe.valid_train", "probe.valid_test")

ACCURACIES = (
  Accuracy(
    "linear, test",
    lambda run: run.accuracies("linear").get("encoder"),
    verdict.test_images,
    _TEST,
    "linear",
  ),
  Accuracy(
    "kNN, test",
    lambda run: run.accuracies("knn").get("encoder"),
    verdict.test_images,
    _TEST,
    "knn",
  ),
  Accuracy(
    "kNN, held out, last",
    lambda run: run.last("valid_knn"),
    lambda run, counts: counts.get("probe.valid_test"),
    _HELD_OUT,
  ),
)

# What is measured without labels: title -> scalar.
_MEASURES = {"spread": "spread", "invariance": "valid_invariance"}


def reservations(runs: Sequence[Run]) -> list[str]:
  """In sentences: why numbers of these runs should not be held against each other."""
  found = []
  for title, names in (("Test accuracies", _TEST), ("Held-out accuracies", _HELD_OUT)):
    values = [a.value(run) for a in ACCURACIES if a.settings == names for run in runs]
    if set(values) != {None} and (differing := _differing(runs, names)):
      found.append(
        f"{title} are not comparable, and no best is marked: the runs differ in"
        f" {', '.join(differing)}."
      )
  if any(run.summary is None for run in runs):
    found.append("Runs that are not finished are compared as far as they have come.")
  if len({run.setting("train.steps") for run in runs}) > 1:
    found.append("The runs are of different lengths (train.steps).")
  if len({run.setting("seed") for run in runs}) < len(runs):
    found.append(
      "Some runs have the same seed; a difference between two runs alone may be one of"
      " seeds, which ± says nothing of."
    )
  return found


def _differing(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
  """Those of the settings in which the runs differ."""
  if runs[0].setting("data.name") in FOLDERS:
    names = (*names, "data.data_dir")
  if not runs[0].is_pretraining:
    names = (*names, *evaluations.of_protocol([run.config for run in runs]))
  found = [n for n in names if any(r.setting(n) != runs[0].setting(n) for r in runs)]
  if "probe.test" in names:
    images = {(run.summary or {}).get("test_images") for run in runs} - {None}
    found += ["the number of test images"] * (len(images) > 1)
  return list(dict.fromkeys(found))


def results(runs: Sequence[Run], counts: Counts) -> Table:
  """The accuracies of all runs, the best of each marked by the word."""
  columns = {}
  for accuracy in ACCURACIES:
    columns[accuracy.title] = _column(accuracy, runs, counts)
    for baseline in verdict.BASELINES if accuracy.probe else ():
      shares = [run.accuracies(accuracy.probe).get(baseline) for run in runs]
      texts = ["" if s is None else facts.accuracy(s, None) for s in shares]
      columns[f"{verdict.PROBES[accuracy.probe]}, {baseline}"] = texts
  for title, scalar in _MEASURES.items():
    last = [run.last(scalar) for run in runs]
    columns[title] = ["" if value is None else f"{value:.2f}" for value in last]
  columns = {title: texts for title, texts in columns.items() if any(texts)}
  header = ["run", *columns, "step", "speed", "time"]
  rows = [
    [
      run.name,
      *(texts[row] or "not measured" for texts in columns.values()),
      f"{run.step} of {run.setting('train.steps')}",
      _speed(run),
      facts.duration(run.seconds) if run.seconds else "not known",
    ]
    for row, run in enumerate(runs)
  ]
  return Table(f"Results; ± is {chance.ERRORS:g} standard errors", header, rows)


def _speed(run: Run) -> str:
  speed = facts.speed(run)
  return "not known" if speed is None else f"{speed:.4g} images / s"


def _column(accuracy: Accuracy, runs: Sequence[Run], counts: Counts) -> list[str]:
  """Each run's accuracy in words, "" where it has none."""
  values = [accuracy.value(run) for run in runs]
  images = [accuracy.images(*pair) for pair in zip(runs, counts, strict=True)]
  marks = [Markup("{}")] * len(runs)
  known = [value for value in values if value is not None]
  if len(known) > 1 and not _differing(runs, accuracy.settings):
    marks = [_mark(value, known, n) for value, n in zip(values, images, strict=True)]
  return [
    "" if value is None else mark.format(facts.accuracy(value, n))
    for value, n, mark in zip(values, images, marks, strict=True)
  ]


def _mark(value: float | None, values: Sequence[float], images: int | None) -> Markup:
  """How a value stands beside the best of all: around the text of it."""
  best = max(values)
  if value == best:
    return Markup("<strong>{}, best</strong>")
  if value is not None and images and not chance.difference(best, value, images).sign:
    return Markup("{}, no more than chance from the best")
  return Markup("{}")


def verdicts(runs: Sequence[Run], counts: Counts) -> Table:
  """The answers to the questions about each run."""
  found = [verdict.findings(r, known) for r, known in zip(runs, counts, strict=True)]
  questions = list(dict.fromkeys(f.question for each in found for f in each))
  rows = []
  for run, each in zip(runs, found, strict=True):
    answers = {finding.question: finding.answer for finding in each}
    rows.append([run.name, *(answers.get(q, "not asked of it") for q in questions)])
  return Table("The verdict on each", ["run", *questions], rows)


def settings(runs: Sequence[Run]) -> Table | None:
  """The settings in which the runs differ and which matter; None if in none."""
  first, *others = (run.config for run in runs)
  names = sorted({name for other in others for name in differences(first, other)})
  if not names:
    return None
  flattened = [flat(run.config) for run in runs]
  rows = [[name, *(str(f.get(name, "no such")) for f in flattened)] for name in names]
  header = ["setting", *(run.name for run in runs)]
  return Table("The settings in which they differ", header, rows)


def made(runs: Sequence[Run]) -> Table:
  """The last start of each."""
  rows = [[run.name, *_start(run)] for run in runs]
  header = ["run", "started (UTC)", "code", "devices", "command"]
  return Table("The last start of each", header, rows)


def _start(run: Run) -> Sequence[str]:
  return facts.start(run.starts[-1]) if run.starts else ["not recorded"] * 4
