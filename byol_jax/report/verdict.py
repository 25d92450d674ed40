"""The verdict on a run in words: `RULES`, and what carries them out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from byol_jax.diagnostics import COLLAPSED_RANK, COLLAPSED_SPREAD
from byol_jax.report import data
from byol_jax.report.chance import ERRORS, Difference, difference, percent
from byol_jax.report.runs import Run, number

_FEW = 30  # images, our choice: fewer show nothing about an invariance

RULES = (
  "Learning: the encoder's test accuracies are held against those of the same network"
  " untrained and of the pixels, on the same images. A difference counts where it is"
  f" above {ERRORS:g} standard errors of a difference of two proportions, which chance"
  " alone exceeds about once in twenty times. All count: yes. Some: in part, which"
  " chance makes more often, as there are several.",
  "That error is from the number of test images (Agresti & Caffo 2000). As all"
  " accuracies are of the same images it is rather too large. What another seed would"
  " change is not in it.",
  "A run at work: its last held-out kNN accuracy against that of its first step, by the"
  " same rule. Without labels an invariance that rises is a hint, and proves nothing;"
  f" under {_FEW} images it is not even that.",
  f"Collapse: a spread under {COLLAPSED_SPREAD:g} or an effective rank under"
  f" {COLLAPSED_RANK:g}, as the run itself has measured it.",
  "Trust: the test split is looked at once, at the end; held-out kNN is looked at all"
  " along and chooses the best checkpoint, and the online classifier is measured on"
  " images that it trains on.",
)

PROBES = {"knn": "kNN", "linear": "linear"}
BASELINES = {"untrained": "the same network untrained", "pixels": "the pixels"}

GOOD, BAD, OPEN = "good", "bad", "open"

_LEARNING = "Is it learning?"
_UNCOUNTED = "On how many images is not known: chance may have made any difference."
_CHANCE = (
  f"The bounds are {ERRORS:g} standard errors to each side, from {{}} alone; another"
  " seed may differ by more."
)


class Finding(NamedTuple):
  """An answer to a question about a run.

  Attributes:
    question: such as "Is it learning?".
    answer: in a few words.
    tone: GOOD, BAD or OPEN.
    reasons: whole sentences.
  """

  question: str
  answer: str
  tone: str
  reasons: list[str]


def findings(run: Run, counts: Mapping[str, int]) -> list[Finding]:
  """The verdict.

  Args:
    run: of any experiment, complete or not.
    counts: numbers of images; see `data.counts`.
  """
  found = [_finished(run)]
  if run.is_pretraining:
    found += [_collapsed(run), _learning(run, counts), _trust(run, counts)]
  elif run.setting("experiment") == "linear_eval":
    found += [_trust_linear_eval(run)]
  return found


def _finished(run: Run) -> Finding:
  question, steps = "Is it finished?", run.setting("train.steps")
  if run.summary is not None:
    done = (
      "Its summary is written." if steps is None else f"All {steps} steps are done."
    )
    return Finding(question, "yes", GOOD, [done])
  if not run.step:
    text = "No step was logged yet: it has just begun, or was stopped before its first."
    return Finding(question, "no", OPEN, [text])
  text = (
    f"Step {run.step} of {steps} is the last that was logged: it is at work, or was"
    " stopped. The same command continues it; results come at its end."
  )
  return Finding(question, "not yet", OPEN, [text])


def _collapsed(run: Run) -> Finding:
  question = "Has it collapsed?"
  collapsed = _has_collapsed(run)
  if collapsed is None:
    return Finding(question, "not known", OPEN, ["Nothing was measured yet."])
  if "collapsed" in (run.summary or {}):
    spread, rank = run.result("spread"), run.result("effective_rank")
    where = "of the test images"
  else:
    spread, rank = run.last("valid_spread"), run.last("valid_effective_rank")
    where = f"of held-out images at step {run.points('valid_collapsed')[-1][0]}"
  measured = (
    f"The spread {where} is {_rounded(spread)} (1 is healthy, under"
    f" {COLLAPSED_SPREAD:g} collapsed), their effective rank {_rounded(rank)} (under"
    f" {COLLAPSED_RANK:g} collapsed)."
  )
  if not collapsed:
    return Finding(question, "no", GOOD, [measured])
  reasons = [
    measured,
    "A low loss means nothing here: all images look alike to it.",
    "LARS, a predictor that learns faster (optimiser.predictor_multiplier=30) and, with"
    " group norm, a target that waits (target.frozen=0.33) have helped elsewhere.",
  ]
  return Finding(question, "yes", BAD, reasons)


def _has_collapsed(run: Run) -> bool | None:
  """What the run has measured last; None where it has not."""
  if "collapsed" in (summary := run.summary or {}):
    return bool(summary["collapsed"])
  last = run.last("valid_collapsed")
  return None if last is None else bool(last)


def _rounded(value: float | None) -> str:
  return "not known" if value is None else f"{value:.3g}"


def _learning(run: Run, counts: Mapping[str, int]) -> Finding:
  if any("encoder" in run.accuracies(probe) for probe in PROBES):
    return _learned(run, test_images(run, counts), counts.get("probe.valid_test"))
  if run.points("valid_knn"):
    return _learning_so_far(run, counts.get("probe.valid_test"))
  return _without_labels(run, counts.get("probe.valid_test"))


def _learned(run: Run, images: int | None, held_out: int | None) -> Finding:
  """Of a complete run with labels: the encoder beside each baseline, by each probe.

  One that began with another's weights has learned if it is above its first step, too.
  """
  gaps, reasons = {}, []
  for probe, title in PROBES.items():
    found = run.accuracies(probe)
    for baseline in [name for name in BASELINES if {name, "encoder"} <= found.keys()]:
      gap = difference(found["encoder"], found[baseline], images)
      gaps[probe, baseline] = gap
      reasons.append(_compared(title, found["encoder"], baseline, gap))
  if not gaps:
    text = "The run has no baseline to hold its accuracies against (eval.baselines)."
    return Finding(_LEARNING, "cannot be told", OPEN, [text])
  if not images:
    reasons.append(_UNCOUNTED)
    return Finding(_LEARNING, "cannot be told", OPEN, reasons)
  reasons.append(_CHANCE.format(f"the {images} test images"))
  signs = {gap.sign for gap in gaps.values()}
  if run.started_from_another:
    points = run.points("valid_knn")
    if len(points) < 2 or not held_out:
      reasons.append("What it had of the run that it began with was not measured.")
      return Finding(_LEARNING, "cannot be told", OPEN, reasons)
    since, reason = _since_the_first_step(points, held_out)
    reasons.append(f"It began with another run's weights. {reason}")
    if since.sign < 0:
      return Finding(_LEARNING, "no, it has unlearned", BAD, reasons)
    signs.add(since.sign)
  if signs == {1}:
    return Finding(_LEARNING, "yes", GOOD, reasons)
  if 1 in signs:
    return Finding(_LEARNING, "in part", OPEN, reasons)
  of_untrained = {gap.sign for (_, name), gap in gaps.items() if name == "untrained"}
  answer = "no, it has unlearned" if of_untrained == {-1} else "no sign of it"
  return Finding(_LEARNING, answer, BAD, reasons)


def _compared(title: str, encoder: float, baseline: str, gap: Difference) -> str:
  how = {1: "is above", -1: "is below", 0: "differs by no more than chance from"}
  return (
    f"{title} accuracy, {percent(encoder)},"
    f" {how[gap.sign] if gap.bounds else 'is beside'} that of {BASELINES[baseline]}"
    f" ({gap})."
  )


def _learning_so_far(run: Run, images: int | None) -> Finding:
  """Of a run at work with labels: held-out kNN beside that of its first step."""
  points = run.points("valid_knn")
  if len(points) < 2:
    ((step, now),) = points
    text = f"Held-out kNN accuracy was measured at step {step} alone: {percent(now)}."
    return Finding(_LEARNING, "too early to tell", OPEN, [text])
  gap, reason = _since_the_first_step(points, images)
  reasons = [reason]
  if not images:
    reasons.append(_UNCOUNTED)
    return Finding(_LEARNING, "cannot be told", OPEN, reasons)
  reasons.append(_CHANCE.format(f"the {images} held-out images"))
  answer, tone = {
    1: ("yes, so far", GOOD),
    0: ("no sign of it so far", OPEN),
    -1: ("no, so far it unlearns", BAD),
  }[gap.sign]
  return Finding(_LEARNING, answer, tone, reasons)


def _since_the_first_step(
  points: Sequence[tuple[int, float]], images: int | None
) -> tuple[Difference, str]:
  """How far an accuracy is from that of the first step, and a sentence about it."""
  (first, before), (step, now) = points[0], points[-1]
  gap = difference(now, before, images)
  reason = (
    f"Held-out kNN accuracy went from {percent(before)} at step {first} to"
    f" {percent(now)} at step {step} ({gap})."
  )
  return gap, reason


def _without_labels(run: Run, images: int | None) -> Finding:
  """Of a run without labels: its invariance to views, which proves nothing."""
  if _has_collapsed(run):
    text = "There are no labels that would say otherwise."
    return Finding(_LEARNING, "no, it has collapsed", BAD, [text])
  points = run.points("valid_invariance")
  if len(points) < 2:
    text = "No accuracy was measured: there are no labels, or it has just begun."
    return Finding(_LEARNING, "cannot be told", OPEN, [text])
  (first, before), (step, now) = points[0], points[-1]
  reasons = [
    f"There are no labels. The features' invariance to views went from {before:.4g} at"
    f" step {first} to {now:.4g} at step {step} (1 is all, 0 none)"
    + (f", measured on {images} images." if images else "."),
    "It says that views were learned; what the features are good for, only labels say.",
  ]
  if images and images < _FEW:
    reasons.append(f"Under {_FEW} images are too few to tell by.")
    return Finding(_LEARNING, "cannot be told", OPEN, reasons)
  answer = (
    "perhaps: its invariance rose" if now > before else "no sign of it: no invariance"
  )
  return Finding(_LEARNING, answer, OPEN, reasons)


def test_images(run: Run, counts: Mapping[str, int]) -> int | None:
  """On how many images the test accuracies are."""
  recorded = number((run.summary or {}).get("test_images"))
  split = "probe.test" if run.is_pretraining else "data.test"
  return int(recorded) if recorded and recorded >= 1 else counts.get(split)


def _trust(run: Run, counts: Mapping[str, int]) -> Finding:
  question = "Which number to trust?"
  if run.accuracies("linear") or run.accuracies("knn"):
    answer, tone = "the test accuracies, beside their baselines", GOOD
    reasons = [*_of_test(run, counts.get(data.SEEN, 0))]
    if learned := counts.get(data.LEARNED, 0):
      answer, tone = "none: the probes knew labels that they were tested on", BAD
      reasons = [
        f"{learned} of the test images are in probe.train too: accuracies on these say"
        " nothing of new images."
      ]
  elif run.points("valid_knn"):
    answer, tone, reasons = "none as a result; held-out kNN to watch it by", OPEN, []
  else:
    answer, tone, reasons = "none says how good the features are", OPEN, []
  return Finding(question, answer, tone, [*reasons, *_of_others(run)])


def _of_test(run: Run, seen: int) -> Iterator[str]:
  yield (
    "The test split was looked at once, at the end, with the last step's encoder."
    " Linear accuracy is what papers report; kNN fits nothing."
  )
  if seen:
    yield (
      f"{seen} of its images were trained on too, without their labels: features of new"
      " images may be worse."
    )
  known = run.accuracies("linear") | run.accuracies("knn")
  if run.started_from_another:
    yield (
      "The untrained network is a random one, and not that which the run began with."
    )
  elif "untrained" in known:
    yield "What training has added is the distance to the untrained network."
  else:
    yield "The untrained network was not measured: what training added is not known."


def _of_others(run: Run) -> Iterator[str]:
  if run.points("valid_knn"):
    yield (
      "Held-out kNN is for watching and for choosing a checkpoint, which makes the"
      " highest of it too good to report."
    )
  if run.points("train_linear_online"):
    yield "The online classifier's accuracy is of images that it trains on: no result."
  yield "The loss alone is no measure: a collapse has a low one too."
  yield (
    f"This is one seed ({run.setting('seed')}): repeat it with others before a small"
    " difference is called real."
  )
  if run.setting("data.name") == "photos":
    yield "The embedded set of photographs is there to see a method work: no benchmark."


def _trust_linear_eval(run: Run) -> Finding:
  question = "Which number to trust?"
  final = run.accuracies("linear").get("encoder")
  if final is None:
    text = "The accuracy of the curve is of a classifier that is still being trained."
    return Finding(question, "none yet", OPEN, [text])
  # Up to version 0.2 there was one rate, and a curve of the test split.
  swept = isinstance(run.setting("optimiser.learning_rate"), list)
  reasons = [
    "The test split was looked at once, at the end; a learning rate is chosen on"
    " held-out training images."
    if swept
    else "It is the last step's: the highest of the curve would have been chosen by the"
    " test split. If learning rates were compared on this same split, it is somewhat"
    " too good.",
    "This run has no baselines; the summary of the pretraining run has them.",
  ]
  return Finding(question, f"the final test accuracy, {percent(final)}", GOOD, reasons)
