"""The rules by which runs decide: each answers yes, no, or nothing (None)."""

from collections.abc import Callable
from typing import NamedTuple

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


class Rule(NamedTuple):
  """A way to decide, and the arms that it decides on.

  Attributes:
    arms: their names.
    decide: answers, given the results of each of them in this order.
  """

  arms: tuple[str, ...]
  decide: Callable[..., bool | None]

  def answer(self, found: Results) -> bool | None:
    """What the results of its arms, which must all be there, say."""
    return self.decide(*(found[name] for name in self.arms))


def learns(name: str) -> Rule:
  """The arm has learned."""
  return Rule((name,), lambda arm: _answer(_learned(arm), _failed(arm)))


def fails(name: str) -> Rule:
  """The arm has learned nothing that its untrained form did not have."""
  return Rule((name,), lambda arm: _answer(_failed(arm), _learned(arm)))


def collapses(name: str) -> Rule:
  """All of the arm's runs end with all images in one place, or on one line."""

  def decide(arm: Seeds) -> bool | None:
    collapsed = [result.collapsed for result in arm]
    return _answer(all(collapsed), not any(collapsed))

  return Rule((name,), decide)


def is_far_behind(one: str, other: str) -> Rule:
  """The first gains less than half of what the second does."""

  def decide(first: Seeds, second: Seeds) -> bool | None:
    if not _learned(second):
      return None
    return first.mean(_gain) < second.mean(_gain) / 2

  return Rule((one, other), decide)


def as_good(one: str, other: str) -> Rule:
  """The first has learned, and is not behind the second."""

  def decide(first: Seeds, second: Seeds) -> bool | None:
    if (behind := _behind(first, second)) is None:
      return None
    return _answer(_learned(first) and not behind, behind or _failed(first))

  return Rule((one, other), decide)


def learns_less(one: str, other: str) -> Rule:
  """The first has learned, and is behind the second."""

  def decide(first: Seeds, second: Seeds) -> bool | None:
    if (behind := _behind(first, second)) is None:
      return None
    return _answer(_learned(first) and behind, not behind or _failed(first))

  return Rule((one, other), decide)


def hurts(before: str, after: str) -> Rule:
  """From the first arm to the second, accuracy is lost."""
  return Rule((before, after), lambda first, second: _cost(first, second) >= MARGIN)


def costs_less(one: tuple[str, str], other: tuple[str, str]) -> Rule:
  """From its first to its second arm, one pair loses less than the other."""

  def decide(
    before: Seeds, after: Seeds, other_before: Seeds, other_after: Seeds
  ) -> bool | None:
    more = _cost(other_before, other_after) - _cost(before, after)
    return _answer(more >= MARGIN, more <= -MARGIN)

  return Rule((*one, *other), decide)


def _gain(result: Result) -> float:
  return result.gain


def _linear(result: Result) -> float:
  return result.linear


def _learned(arm: Seeds) -> bool:
  return all(result.gain >= LEARNED and not result.collapsed for result in arm)


def _failed(arm: Seeds) -> bool:
  return all(result.gain < FAILED for result in arm)


def _behind(one: Seeds, other: Seeds) -> bool | None:
  """None where there are too few seeds to tell."""
  if min(len(one), len(other)) < 2:
    return None
  accuracies = (list(map(_linear, arm)) for arm in (one, other))
  test = scipy.stats.ttest_ind(*accuracies, equal_var=False)
  return bool(test.confidence_interval(CONFIDENCE).high < 0)


def _cost(before: Seeds, after: Seeds) -> float:
  """Points of accuracy that are lost from one arm to the other."""
  return before.mean(_linear) - after.mean(_linear)


def _answer(yes: bool, no: bool) -> bool | None:
  return True if yes else False if no else None
