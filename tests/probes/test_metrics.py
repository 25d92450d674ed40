"""Metrics by hand, and beside scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from byol_jax.probes import METRICS


@pytest.fixture
def scores():
  return np.random.default_rng(0).normal(size=(300, 7))


@pytest.fixture
def truth():
  return np.random.default_rng(1).integers(0, 7, 300)


def test_they_are_those_of_scikit_learn(scores, truth):
  best = scores.argmax(axis=1)
  assert METRICS["top_1"].of(scores, truth) == np.mean(best == truth)
  expected = top_k_accuracy_score(truth, scores, k=5)
  assert METRICS["top_5"].of(scores, truth) == pytest.approx(expected)
  expected = balanced_accuracy_score(truth, best)
  assert METRICS["mean_per_class"].of(scores, truth) == pytest.approx(expected)


def test_a_class_without_a_score_is_wrong_by_all(scores, truth):
  truth[:30] = -1
  right = scores.argmax(axis=1) == truth
  assert METRICS["top_1"].of(scores, truth) == right[30:].sum() / 300
  top_5 = top_k_accuracy_score(truth[30:], scores[30:], k=5) * 270 / 300
  assert METRICS["top_5"].of(scores, truth) == pytest.approx(top_5)
  per_class = [right[truth == c].mean() for c in range(7)]
  found = METRICS["mean_per_class"].of(scores, truth)
  assert found == pytest.approx(sum(per_class) / 8)


def test_scores_that_say_nothing_are_not_in_the_top_five():
  assert METRICS["top_5"].of(np.zeros((4, 6)), np.arange(4)) == 0.0
  # With five classes or fewer every image is, whatever the scores.
  assert METRICS["top_5"].of(np.zeros((4, 5)), np.arange(4)) == 1.0


def test_mean_per_class_counts_each_class_once():
  scores = np.eye(2)[[0, 0, 0, 0, 0]]
  truth = np.array([0, 0, 0, 0, 1])
  assert METRICS["mean_per_class"].of(scores, truth) == 0.5


def precision_at_eleven_recalls(score, positive):
  """VOC 2007, by its words: the highest precision where recall is r or more."""
  ranked = positive[np.argsort(-score)]
  total = 0.0
  for tenth in range(11):
    best = 0.0
    for n in range(1, len(ranked) + 1):
      hits = int(ranked[:n].sum())
      if 10 * hits >= tenth * int(positive.sum()):
        best = max(best, hits / n)
    total += best
  return total / 11


def test_average_precision_by_its_words():
  rng = np.random.default_rng(0)
  scores = rng.permutation(120).reshape(40, 3).astype(float)
  truth = rng.random((40, 3)) < 0.3
  expected = np.mean(
    [precision_at_eleven_recalls(scores[:, c], truth[:, c]) for c in range(3)]
  )
  found = METRICS["average_precision_11"].of(scores, truth)
  assert found == pytest.approx(expected)


def test_average_precision_by_hand():
  # Right ones come 1st and 3rd: precision 1 up to recall 0.5, then 2/3.
  scores = np.array([[4.0, 0], [3, 0], [2, 0], [1, 0]])
  truth = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], bool)  # class 1 has none
  found = METRICS["average_precision_11"].of(scores, truth)
  assert found == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
  # Equal scores say nothing: the wrong ones come first.
  level = METRICS["average_precision_11"].of(np.zeros((4, 2)), truth)
  assert level == pytest.approx((11 * 0.5) / 11)
