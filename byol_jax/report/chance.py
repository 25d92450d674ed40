"""Whether an accuracy is above another by more than chance: of few images or seeds."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

ERRORS = 2.0  # standard errors that a difference must exceed
LEVEL = 0.05  # two-sided: how often chance may make a difference between seeds


class Difference(NamedTuple):
  """Of two accuracies on the same number of images.

  Attributes:
    points: the first less the second, in [-1, 1].
    bounds: between which it lies but for chance, in the middle of which `points` is not
      if images are few; None where their number is not known.
    sign: 1 above, -1 below, 0 where chance may have made it or nobody can tell.
  """

  points: float
  bounds: tuple[float, float] | None
  sign: int

  def __str__(self) -> str:
    points = f"{100 * self.points:+.1f} points"
    if self.bounds is None:
      return points
    low, high = (f"{100 * bound:+.1f}" for bound in self.bounds)
    return f"{points}, between {low} and {high}"


def difference(one: float, other: float, images: int | None) -> Difference:
  """Compares two accuracies.

  By one right and one wrong answer added to each, without which few images would give
  certainty (Agresti & Caffo 2000, "Simple and effective confidence intervals for
  proportions and differences of proportions").

  Args:
    one: in [0, 1].
    other: likewise.
    images: how many each is of; None where that is not known.
  """
  if not images:
    return Difference(one - other, None, 0)
  gap = _added(one, images) - _added(other, images)
  error = ERRORS * math.sqrt(_variance(one, images) + _variance(other, images))
  sign = 0 if abs(gap) <= error else int(math.copysign(1, gap))
  bounds = max(gap - error, -1.0), min(gap + error, 1.0)
  return Difference(one - other, bounds, sign)


def error(share: float, images: int) -> float:
  """`ERRORS` standard errors of an accuracy in [0, 1] on `images` images."""
  return ERRORS * math.sqrt(_variance(share, images))


def above(one: Sequence[float], other: Sequence[float]) -> bool:
  """Whether a mean over seeds is above another, by Welch's t-test at `LEVEL`.

  Args:
    one: accuracies, one a seed. With fewer than two nobody can tell.
    other: likewise, of the same images.
  """
  if min(len(one), len(other)) < 2:
    return False
  with np.errstate(all="ignore"):  # seeds that all came to the same
    test = stats.ttest_ind_from_stats(
      *(statistics.mean(one), statistics.stdev(one), len(one)),
      *(statistics.mean(other), statistics.stdev(other), len(other)),
      equal_var=False,
    )
  return bool(test.statistic > 0 and test.pvalue < LEVEL)


def percent(share: float) -> str:
  """0.1234 as "12.3 %"."""
  return f"{100 * share:.1f} %"


def _added(share: float, images: int) -> float:
  share = min(max(share, 0.0), 1.0)  # lest a damaged file end in a stack trace
  return (images * share + 1) / (images + 2)


def _variance(share: float, images: int) -> float:
  p = _added(share, images)
  return p * (1 - p) / (images + 2)
