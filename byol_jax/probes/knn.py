"""Weighted nearest neighbours on frozen features (Wu et al. 2018, section 3.4)."""

import itertools
from collections.abc import Iterable

import numpy as np

from byol_jax import nearest
from byol_jax.probes.checks import check, labelled

_VOTES = 2**22  # in memory at a time


def knn_accuracy(
  train_x: np.ndarray,
  train_y: np.ndarray,
  test_x: np.ndarray,
  test_y: np.ndarray,
  *,
  k: int = 20,
  temperature: float | None = 0.07,
) -> float:
  """Accuracy of an exact k-nearest-neighbour classifier, cosine similarity.

  Each neighbour votes for its class with weight exp(similarity / temperature)
  (Wu et al. 2018, section 3.4; their code has k = 200, with 0.07 for ImageNet
  and 0.1 for CIFAR-10; k = 20 and 0.07 are common in benchmarks), or with
  weight 1 when `temperature` is None. Of equally similar images those that come
  first in train_x are the neighbours, and of classes with equal votes the lowest
  wins.

  Args:
    train_x: [N, D] features.
    train_y: [N] integer labels; images of -1, no label, are left out.
    test_x: [M, D] features.
    test_y: [M] integer labels, likewise.
    k: number of neighbours; all N when there are fewer.
    temperature: of the weights, positive.

  Raises:
    UserError: the features or labels cannot be used.
  """
  check(train_x, train_y, test_x, test_y)
  train = labelled("train", train_x, train_y)
  hits = knn_hits(*train, *labelled("test", test_x, test_y), [k], [temperature])
  return float(hits[k, temperature].mean())


def knn_hits(
  train_x: np.ndarray,
  train_y: np.ndarray,
  test_x: np.ndarray,
  test_y: np.ndarray,
  ks: Iterable[int],
  temperatures: Iterable[float | None],
) -> dict[tuple[int, float | None], np.ndarray]:
  """Which test images `knn_accuracy` counts, for each k with each temperature.

  In one pass over the features, and in tiles: a device never holds all of them. They
  are those that `checks.check` has found sound, or a part of the test images, or none.

  Returns:
    (k, temperature) -> bool [M].
  """
  classes, labels = np.unique(train_y, return_inverse=True)
  grid = list(itertools.product(ks, temperatures))
  hits = {each: np.zeros(len(test_x), bool) for each in grid}
  if not len(test_x):
    return hits
  most = min(max(k for k, _ in grid), len(train_x))
  index, similarity = nearest.neighbours(train_x, test_x, most)
  rows = max(1, _VOTES // max(len(classes), most))
  for start in range(0, len(test_x), rows):
    chunk = slice(start, start + rows)
    voters, truth = labels[index[chunk]], test_y[chunk]
    for k, temperature in grid:
      votes = _votes(similarity[chunk, :k], voters[:, :k], len(classes), temperature)
      hits[k, temperature][chunk] = classes[votes.argmax(axis=1)] == truth
  return hits


def _votes(
  similarity: np.ndarray,
  labels: np.ndarray,
  num_classes: int,
  temperature: float | None,
) -> np.ndarray:
  """Sums the neighbours' weights [M, k] by class: [M, num_classes]."""
  weights = np.ones(similarity.shape)
  if temperature is not None:
    # Relative to the nearest, or small temperatures would overflow.
    weights = np.exp((similarity - similarity[:, :1]) / temperature)
  cells = np.arange(len(labels))[:, None] * num_classes + labels
  votes = np.bincount(
    cells.ravel(), weights.ravel(), minlength=len(labels) * num_classes
  )
  return votes.reshape(len(labels), num_classes)
