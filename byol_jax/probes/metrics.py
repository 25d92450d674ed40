"""What accuracy means: top-1, top-5, mean per class, 11-point mean average precision.

Each takes the scores of all classes, float [N, C], and what is true: the index of a
class for each image, int [N], or where images may be of several classes, bool [N, C].
A class that has no score is a negative number, each its own.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Scores = np.ndarray
Truth = np.ndarray

_RECALLS = np.linspace(0, 1, 11)


def top_1(scores: Scores, truth: Truth) -> float:
  """Share of the images whose class has the highest score; of ties the first wins."""
  return float(np.mean(scores.argmax(axis=1) == truth))


def top_5(scores: Scores, truth: Truth) -> float:
  """Share of the images whose class has one of the five highest scores.

  Ties count against it, lest scores that say nothing be right.
  """
  known = truth >= 0
  right = np.take_along_axis(scores, np.maximum(truth, 0)[:, None], axis=1)
  rank = np.sum(~(scores < right), axis=1) - 1
  return float(np.mean((rank < 5) & known))


def mean_per_class(scores: Scores, truth: Truth) -> float:
  """Top-1 of the images of each class, then the mean of the classes that are there."""
  right = scores.argmax(axis=1) == truth
  return float(np.mean([right[truth == label].mean() for label in np.unique(truth)]))


def average_precision_11(scores: Scores, truth: Truth) -> float:
  """11-point average precision of each class, then their mean (PASCAL VOC 2007).

  The mean over recalls 0, 0.1, ..., 1 of the highest precision at that recall or above
  (Everingham et al. 2010, section 4.2). Of images with equal scores, false ones come
  first. Classes without an image have no part.
  """
  classes = np.flatnonzero(truth.any(axis=0))
  return float(np.mean([_precision_11(scores[:, c], truth[:, c]) for c in classes]))


def _precision_11(score: np.ndarray, positive: np.ndarray) -> float:
  order = np.lexsort((positive, -score))
  found = np.cumsum(positive[order])
  precision = found / np.arange(1, len(order) + 1)
  recall = found / found[-1]
  # From the right: the highest at this recall or above.
  best = np.maximum.accumulate(precision[::-1])[::-1]
  # Recall 0.7 of ten images must not be missed by rounding.
  first = np.searchsorted(recall, _RECALLS - 1e-9)
  return float(np.mean(best[first]))


class Metric(NamedTuple):
  """One of them.

  Attributes:
    says: what it is called in a table.
    of: the function.
    several: whether images are of several classes, truth being bool [N, C].
  """

  says: str
  of: Callable[[Scores, Truth], float]
  several: bool = False


METRICS = {
  "top_1": Metric("top-1", top_1),
  "top_5": Metric("top-5", top_5),
  "mean_per_class": Metric("mean per class", mean_per_class),
  "average_precision_11": Metric("11-point mAP", average_precision_11, several=True),
}
