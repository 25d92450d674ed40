"""The rules by which runs decide: each answers yes, no, or nothing (None).

Written, and committed, before the runs. What "no" takes was decided then too, and put
into words later.
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
two. Each is the other's no; what lies between is open.

**Collapsed:** with each seed a linear classifier on the features as they are (not
standardised) is within {NEAR_CHANCE:g} points of chance, and the common part of the
features is above {COMMON:g}. **Projections collapsed:** with each seed the common
part of the projections is. No: with no seed.

**As good:** the lower bound of the difference is above -{MARGIN:g} points. No: it is
not, and the upper bound is below 0. **Ahead** and **behind:** the lower bound is above
0, the upper one below it. Each is the other's no. **Costs less:** the lower bound of
the difference of two differences is above 0. No: the upper one is below it."""


class Rule(NamedTuple):
  """A way to decide, and the arms that it decides on.

  Attributes:
    arms: their names.
    decide: answers, given the results of each of them in this order, and of pixels.
    difference: that it goes by, if it goes by one: (their results, a probe) -> points
      of accuracy, seed by seed.
  """

  arms: tuple[str, ...]
  decide: Callable[..., bool | None]
  difference: Callable[[Sequence[Seeds], str], np.ndarray] | None = None

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

  def decide(low: float, high: float) -> bool | None:
    return _answer(low > -MARGIN, high < 0 and low <= -MARGIN)

  return _by_difference((one, other), np.subtract, decide)


def ahead(one: str, other: str) -> Rule:
  """The first is above the second."""
  return _by_difference((one, other), np.subtract, _above)


def behind(one: str, other: str) -> Rule:
  """The first is below the second."""

  def below(low: float, high: float) -> bool | None:
    return _answer(high < 0, low > 0)

  return _by_difference((one, other), np.subtract, below)


def costs_less(one: tuple[str, str], other: tuple[str, str]) -> Rule:
  """From its first to its second arm, one pair loses less than the other."""

  def difference(
    before: np.ndarray,
    after: np.ndarray,
    other_before: np.ndarray,
    other_after: np.ndarray,
  ) -> np.ndarray:
    return (after - before) - (other_after - other_before)

  return _by_difference((*one, *other), difference, _above)


def interval(differences: Sequence[float] | np.ndarray) -> tuple[float, float]:
  """The lower and the upper one-sided bound of a mean; infinite for a single value."""
  if len(differences) < 2:
    return -math.inf, math.inf
  error = float(scipy.stats.sem(differences))
  reach = error * float(scipy.stats.t.ppf(CONFIDENCE, len(differences) - 1))
  mean = float(np.mean(differences))
  return mean - reach, mean + reach


def _above(low: float, high: float) -> bool | None:
  return _answer(low > 0, high < 0)


def _by_difference(
  names: tuple[str, ...],
  difference: Callable[..., np.ndarray],
  decide: Callable[[float, float], bool | None],
) -> Rule:
  """A rule on the bounds of a difference: (lower, upper) -> an answer."""

  def by_seed(arms: Sequence[Seeds], probe: str) -> np.ndarray:
    return difference(*(np.array(arm.accuracies(probe)) for arm in arms))

  def by_both(*arms: Seeds, pixels: Mapping[str, float]) -> bool | None:
    del pixels
    return _agreed(decide(*interval(by_seed(arms, probe))) for probe in PROBES)

  return Rule(names, by_both, by_seed)


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
