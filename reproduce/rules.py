"""The rules by which runs decide: each answers yes, no, or nothing (None)."""

from collections.abc import Callable

import scipy.stats

from reproduce.results import Result, Results, Seeds

LEARNED = 5.0  # points
FAILED = 2.0
MARGIN = 2.0
CONFIDENCE = 0.95

TEXT = f"""\
An arm has learned where with every seed its linear accuracy is at least {LEARNED:g}
points above that of itself untrained, and nothing has collapsed: its projections have a
spread of at least 0.1 and its features an effective rank of at least 2. It has failed
where with every seed it gains less than {FAILED:g} points, collapsed or not. What lies
between, or differs from seed to seed, decides nothing. One arm is behind another where
the {100 * CONFIDENCE:g} % interval of the difference of their means (Welch's, which
takes several seeds) is below 0, and as good where it has learned and is not behind. It
is far behind one that has learned where it gains less than half as much. One change
costs more than another where it costs {MARGIN:g} points or more beyond it; a change
that costs {MARGIN:g} points or more hurts. As long as a run of an arm is missing
nothing is decided."""

Rule = Callable[[Results], bool | None]


def _gain(result: Result) -> float:
  return result.gain


def _learned(arm: Seeds) -> bool:
  return all(result.gain >= LEARNED and not result.collapsed for result in arm)


def _failed(arm: Seeds) -> bool:
  return all(result.gain < FAILED for result in arm)


def _behind(one: Seeds, other: Seeds) -> bool | None:
  """None where there are too few seeds to tell."""
  if min(len(one), len(other)) < 2:
    return None
  accuracies = ([result.linear for result in arm] for arm in (one, other))
  test = scipy.stats.ttest_ind(*accuracies, equal_var=False)
  return bool(test.confidence_interval(CONFIDENCE).high < 0)


def _cost(arms: Results, change: tuple[str, str]) -> float:
  """Points of accuracy that are lost from the first arm to the second."""
  before, after = (arms[name].mean(lambda result: result.linear) for name in change)
  return before - after


def _answer(yes: bool, no: bool) -> bool | None:
  return True if yes else False if no else None


def learns(name: str) -> Rule:
  """The arm has learned."""
  return lambda arms: _answer(_learned(arms[name]), _failed(arms[name]))


def fails(name: str) -> Rule:
  """The arm has learned nothing that its untrained form did not have."""
  return lambda arms: _answer(_failed(arms[name]), _learned(arms[name]))


def collapses(name: str) -> Rule:
  """All of the arm's runs end with all images in one place, or on one line."""

  def decide(arms: Results) -> bool | None:
    collapsed = [result.collapsed for result in arms[name]]
    return _answer(all(collapsed), not any(collapsed))

  return decide


def is_far_behind(one: str, other: str) -> Rule:
  """The first gains less than half of what the second does."""

  def decide(arms: Results) -> bool | None:
    if not _learned(arms[other]):
      return None
    return arms[one].mean(_gain) < arms[other].mean(_gain) / 2

  return decide


def as_good(one: str, other: str) -> Rule:
  """The first has learned, and is not behind the second."""

  def decide(arms: Results) -> bool | None:
    if (behind := _behind(arms[one], arms[other])) is None:
      return None
    return _answer(_learned(arms[one]) and not behind, behind or _failed(arms[one]))

  return decide


def learns_less(one: str, other: str) -> Rule:
  """The first has learned, and is behind the second."""

  def decide(arms: Results) -> bool | None:
    if (behind := _behind(arms[one], arms[other])) is None:
      return None
    return _answer(_learned(arms[one]) and behind, not behind or _failed(arms[one]))

  return decide


def hurts(before: str, after: str) -> Rule:
  """From the first arm to the second, accuracy is lost."""

  return lambda arms: _cost(arms, (before, after)) >= MARGIN


def costs_less(one: tuple[str, str], other: tuple[str, str]) -> Rule:
  """From its first to its second arm, one pair loses less than the other."""

  def decide(arms: Results) -> bool | None:
    more = _cost(arms, other) - _cost(arms, one)
    return _answer(more >= MARGIN, more <= -MARGIN)

  return decide
