import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from byol_jax import nearest, probes
from byol_jax.probes import knn
from tests.probes.made_up import noise


@pytest.mark.parametrize("temperature", [None, 0.07, 1.0])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_knn_matches_scikit_learn(k, temperature):
  train, test = noise(500), noise(200, seed=1)

  def weights(distance):
    return np.exp((1 - distance) / temperature)

  expected = KNeighborsClassifier(
    k, metric="cosine", weights=weights if temperature else "uniform"
  ).fit(*train)
  found = probes.knn_accuracy(*train, *test, k=k, temperature=temperature)
  assert found == expected.score(*test)


def test_knn_on_digits(digits):
  expected = KNeighborsClassifier(20, metric="cosine").fit(*digits[:2])
  value = probes.knn_accuracy(*digits, temperature=None)
  assert value == pytest.approx(expected.score(*digits[2:]), abs=0.004)


def test_knn_does_not_depend_on_the_chunks(monkeypatch):
  train, test = noise(50), noise(33, seed=1)
  whole = probes.knn_accuracy(*train, *test)
  monkeypatch.setattr(nearest, "_SIMILARITIES", 500)
  monkeypatch.setattr(nearest, "_KEYS", 7)
  assert probes.knn_accuracy(*train, *test) == whole


def test_knn_by_hand():
  train_x = np.array([[1, 0], [0, 1], [0, 2]], np.float32)
  train_y = np.array([7, 3, 3])
  test_x = np.array([[1, 0.1], [0.1, 1]], np.float32)
  test_y = np.array([7, 3])
  accuracy = probes.knn_accuracy
  assert accuracy(train_x, train_y, test_x, test_y, k=1) == 1.0
  # With k beyond N all three vote: by number class 3 wins, by weight the near.
  assert accuracy(train_x, train_y, test_x, test_y, k=9, temperature=None) == 0.5
  assert accuracy(train_x, train_y, test_x, test_y, k=9) == 1.0


def test_knn_ties_go_to_the_first_neighbour_and_the_lowest_class():
  train_x = np.ones((4, 2), np.float32)
  train_y = np.array([5, 1, 1, 5])
  for k, winner in ((1, 5), (2, 1), (4, 1)):
    test_y = np.full(2, winner)
    assert probes.knn_accuracy(train_x, train_y, train_x[:2], test_y, k=k) == 1.0


def test_knn_small_temperatures_do_not_overflow():
  train, test = noise(100), noise(50, seed=1)
  nearest = probes.knn_accuracy(*train, *test, k=1)
  assert probes.knn_accuracy(*train, *test, k=5, temperature=1e-5) == nearest


def test_a_grid_is_as_good_as_one_by_one():
  train, test = noise(60), noise(25, seed=1)
  hits = probes.knn_hits(*train, *test, [1, 7, 200], [None, 0.1])
  assert set(hits) == {(k, t) for k in (1, 7, 200) for t in (None, 0.1)}
  for (k, temperature), each in hits.items():
    one = probes.knn_accuracy(*train, *test, k=k, temperature=temperature)
    assert each.shape == (25,)
    assert each.mean() == one
  assert len({each.mean() for each in hits.values()}) > 1


def test_some_test_images_are_as_among_all():
  train, test = noise(60), noise(25, seed=1)
  (whole,) = probes.knn_hits(*train, *test, [3], [0.1]).values()
  for rows in (slice(4), slice(4, 5), slice(5, 5)):  # of one host, the next, another
    (some,) = probes.knn_hits(*train, *(x[rows] for x in test), [3], [0.1]).values()
    np.testing.assert_array_equal(some, whole[rows])


def test_votes_do_not_depend_on_the_chunks(monkeypatch):
  train, test = noise(50), noise(33, seed=1)
  whole = probes.knn_hits(*train, *test, [3, 20], [0.1])
  monkeypatch.setattr(knn, "_VOTES", 60)
  for each, hits in probes.knn_hits(*train, *test, [3, 20], [0.1]).items():
    np.testing.assert_array_equal(hits, whole[each])
