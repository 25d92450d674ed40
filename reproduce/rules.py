"""The rules by which runs decide: each answers yes, no, or nothing (None).

Written, and committed, before the runs.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from reproduce.results import PROBES, Result, Results, Seeds

GATE = 3.0  # points, all of these
LEARNED = 3.0
MARGIN = 2.0
CONFIDENCE = 0.95
CHANCE = 10.0  # % of ten classes
NEAR_CHANCE = 3.0
COMMON = 0.99

TEXT = f"""\
**Two probes.** Each rule is applied to linear accuracy and to that of nearest
neighbours, on test images. What they do not agree on is open. So is what a run is
missing of.

**Pairs.** Two arms are compared seed by seed, and have the same seeds. A difference
is known by its {100 * CONFIDENCE:g} % bounds (Student's t of the paired differences),
a lower and an upper one, each one-sided.

**The gate.** A setting contains the bootstrap where BYOL with batch norm is ahead of
the same with a target that never moves by {GATE:g} points or more with each seed,
and both are above raw pixels. The claims count only if it is passed.

**Learns:** with each seed {LEARNED:g} points or more above the untrained network and
above raw pixels. **Learns nothing:** with each seed no higher than the better of the
two.

**Collapsed:** with each seed a linear classifier on the features as they are (not
standardised) is within {NEAR_CHANCE:g} points of chance, and the common part of the
features is above {COMMON:g}. **Projections collapsed:** with each seed the common
part of the projections is.

**As good:** the lower bound of the difference is above -{MARGIN:g} points. Not as
good: it is not, and the upper bound is below 0. **Ahead** and **behind:** the lower
bound is above 0, the upper one below it. **Costs less:** the lower bound of the
difference of two differences is above 0."""


class Rule(NamedTuple):
  """A way to decide, and the arms that it decides on.

  Attributes:
    arms: their names.
    decide: answers, given the results of each of them in this order, and of pixels.
  """

  arms: tuple[str, ...]
  decide: Callable[..., bool | None]

  def answer(self, found: Results, pixels: Mapping[str, float]) -> bool | None:
    """What the results of its arms, which must all be there, say.

    Args:
      found: the results of the arms.
      pixels: accuracies of raw pixels by each of `PROBES`, %.
    """
    return self.decide(*(found[name] for name in self.arms), pixels=pixels)


def passes_the_gate(moving: str, fixed: str) -> Rule:
  """BYOL is ahead of its frozen target, and both of pixels."""

  def passes(one: Sequence[float], other: Sequence[float], pixels: float) -> bool:
    above = min(*one, *other) > pixels
    return above and all(a - b >= GATE for a, b in zip(one, other, strict=True))

  def decide(one: Seeds, other: Seeds, pixels: Mapping[str, float]) -> bool:
    return all(
      passes(one.accuracies(probe), other.accuracies(probe), pixels[probe])
      for probe in PROBES
    )

  return Rule((moving, fixed), decide)


def learns(name: str) -> Rule:
  """The arm has learned."""

  def decide(arm: Seeds, pixels: Mapping[str, float]) -> bool | None:
    return _agreed(_learned(arm, probe, pixels[probe]) for probe in PROBES)

  return Rule((name,), decide)


def fails(name: str) -> Rule:
  """The arm has learned nothing that its untrained form or pixels did not have."""

  def decide(arm: Seeds, pixels: Mapping[str, float]) -> bool | None:
    learned = learns(name).decide(arm, pixels=pixels)
    return None if learned is None else not learned

  return Rule((name,), decide)


def collapses(name: str) -> Rule:
  """All features of the arm's runs are in one place, as good as."""

  def collapsed(result: Result) -> bool:
    return abs(result.raw - CHANCE) <= NEAR_CHANCE and result.feature_common > COMMON

  return _of_each(name, collapsed)


def projections_collapse(name: str) -> Rule:
  """All projections of the arm's runs point the same way."""
  return _of_each(name, lambda result: result.projection_common > COMMON)


def as_good(one: str, other: str) -> Rule:
  """The first is not behind the second by the margin."""

  def decide(first: np.ndarray, second: np.ndarray, _: float) -> bool | None:
    low, high = interval(first - second)
    return _answer(low > -MARGIN, high < 0 and low <= -MARGIN)

  return _by_both((one, other), decide)


def ahead(one: str, other: str) -> Rule:
  """The first is above the second."""

  def decide(first: np.ndarray, second: np.ndarray, _: float) -> bool | None:
    low, high = interval(first - second)
    return _answer(low > 0, high < 0)

  return _by_both((one, other), decide)


def behind(one: str, other: str) -> Rule:
  """The first is below the second."""
  reverse = ahead(other, one)
  return Rule((one, other), lambda a, b, pixels: reverse.decide(b, a, pixels=pixels))


def costs_less(one: tuple[str, str], other: tuple[str, str]) -> Rule:
  """From its first to its second arm, one pair loses less than the other."""

  def decide(
    before: np.ndarray,
    after: np.ndarray,
    other_before: np.ndarray,
    other_after: np.ndarray,
    _: float,
  ) -> bool | None:
    low, high = interval((after - before) - (other_after - other_before))
    return _answer(low > 0, high < 0)

  return _by_both((*one, *other), decide)


def interval(differences: Sequence[float] | np.ndarray) -> tuple[float, float]:
  """The lower and the upper one-sided bound of a mean; infinite for a single value."""
  if len(differences) < 2:
    return -math.inf, math.inf
  error = float(scipy.stats.sem(differences))
  reach = error * float(scipy.stats.t.ppf(CONFIDENCE, len(differences) - 1))
  mean = float(np.mean(differences))
  return mean - reach, mean + reach


def _by_both(names: tuple[str, ...], decide: Callable[..., bool | None]) -> Rule:
  """A rule on accuracies: (of each arm by seed ..., of pixels) -> an answer."""

  def by_both(*arms: Seeds, pixels: Mapping[str, float]) -> bool | None:
    return _agreed(
      decide(*(np.array(arm.accuracies(probe)) for arm in arms), pixels[probe])
      for probe in PROBES
    )

  return Rule(names, by_both)


def _of_each(name: str, holds: Callable[[Result], bool]) -> Rule:
  """A rule that must hold of each run of an arm, or of none."""

  def decide(arm: Seeds, pixels: Mapping[str, float]) -> bool | None:
    del pixels
    found = [holds(result) for result in arm]
    return _answer(all(found), not any(found))

  return Rule((name,), decide)


def _learned(arm: Seeds, probe: str, pixels: float) -> bool | None:
  gains = [
    result.accuracy(probe) - max(result.untrained(probe), pixels) for result in arm
  ]
  return _answer(min(gains) >= LEARNED, max(gains) <= 0)


def _agreed(answers: Iterable[bool | None]) -> bool | None:
  """What all say, None where they do not say the same."""
  first, *others = answers
  return first if all(other is first for other in others) else None


def _answer(yes: bool, no: bool) -> bool | None:
  return True if yes else False if no else None
