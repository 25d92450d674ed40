"""Labels of a source, and shares of its images in which all classes are equal."""

import bisect

import numpy as np

from byol_jax import progress
from byol_jax.data import batches
from byol_jax.data.parts import InColour, Part
from byol_jax.data.sources import NO_LABEL, Source, Unreadable

_LOOKS = 16  # images
_SUBSETS = 2**32  # in place of an epoch: no training has so many


def labels_of(source: Source) -> np.ndarray:
  """Labels of all images, int [N], -1 where there is none.

  Images are read, and where the source has not `labels` of its own even decoded.
  """
  if isinstance(source, InColour):
    return labels_of(source.source)
  if isinstance(source, Part):
    return labels_of(source.source)[source.indices]
  if hasattr(source, "labels"):
    return np.asarray(source.labels)
  labels = []
  with progress.shown("reading labels", len(source)) as bar:
    for index in range(len(source)):
      labels.append(_label(source, index))
      bar.add()
  return np.array(labels)


def has_labels(source: Source) -> bool:
  """Whether images of a source have labels, by the first ones."""
  if not source.num_classes:
    return False
  if hasattr(source, "labels"):
    return bool((np.asarray(source.labels) >= 0).any())
  return any(_label(source, i) >= 0 for i in range(min(_LOOKS, len(source))))


def _label(source: Source, index: int) -> int:
  try:
    return source[index][1]
  except Unreadable:
    return NO_LABEL


def balanced(labels: np.ndarray, count: int, seed: int, keep: int = 0) -> np.ndarray:
  """Places of some images, drawn such that all classes have as equally many as can be.

  A class with fewer images gives all that it has, and the others give more. The same
  seed draws the same images of the same labels.

  Args:
    labels: int [N], of each image.
    count: how many of them, at most N - `keep` for each class.
    seed: at least 0.
    keep: images of each class that are left.

  Returns:
    int [count], ascending.
  """
  _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
  shares = _equal_shares(count, np.maximum(sizes - keep, 0))
  order = batches.permutation(seed, _SUBSETS, len(labels))
  order = order[np.argsort(classes[order], kind="stable")]  # class by class
  rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
  return np.sort(order[rank < np.repeat(shares, sizes)])


def _equal_shares(total: int, most: np.ndarray) -> np.ndarray:
  """How many of each, int [C]: as equal as can be, at most `most`, `total` in all."""

  def at(level: int) -> int:
    return int(np.minimum(most, level).sum())

  level = bisect.bisect_right(range(int(most.max()) + 1), total, key=at) - 1
  shares = np.minimum(most, level)
  shares[np.flatnonzero(most > level)[: total - int(shares.sum())]] += 1
  return shares
