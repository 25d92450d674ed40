"""Nearest images and near-duplicates beside all cosines at once, in float64."""

import jax
import numpy as np
import pytest

from byol_jax import nearest, parallel
from byol_jax.errors import UserError


def cosines(one, other):
  one, other = (np.asarray(x, np.float64) for x in (one, other))
  lengths = [np.linalg.norm(x, axis=1) for x in (one, other)]
  return one @ other.T / np.outer(*lengths)


def noise(count, features=5, seed=0):
  return np.random.default_rng(seed).normal(size=(count, features)).astype(np.float32)


@pytest.fixture(params=[(3, 20), (1000, 2**20)], ids=["many tiles", "one tile"])
def _tiles(request, monkeypatch):
  monkeypatch.setattr(nearest, "_KEYS", request.param[0])
  monkeypatch.setattr(nearest, "_TILE", request.param[0])
  monkeypatch.setattr(nearest, "_SIMILARITIES", request.param[1])


@pytest.mark.usefixtures("_tiles")
@pytest.mark.parametrize("k", [1, 4, 11])
def test_neighbours_are_those_of_all_cosines(k):
  embedding, queries = noise(11), 3 * noise(7, seed=1)
  index, similarity = nearest.neighbours(embedding, queries, k)
  expected = cosines(queries, embedding)
  np.testing.assert_array_equal(index, np.argsort(-expected)[:, :k])
  np.testing.assert_allclose(similarity, -np.sort(-expected)[:, :k], atol=1e-6)


def test_no_device_sees_the_queries_of_another():
  assert jax.local_device_count() > 1
  k, queries = 3, noise(9)
  found = np.zeros((9, k), np.float32), np.zeros((9, k), np.int32)
  rows = parallel.spread((queries, np.full(9, -1), *found))
  tile = parallel.replicate(noise(40)), np.int32(0)
  program = nearest._by_rows().lower(tile, rows).compile().as_text()
  assert "topk" in program.lower()
  assert not [name for name in ("all-gather", "all-reduce") if name in program]


@pytest.mark.usefixtures("_tiles")
def test_of_equals_the_first_are_nearest_and_a_query_is_not_its_own():
  # Images 0, 4 and 9 are the same, up to their lengths.
  embedding = noise(10)
  embedding[4], embedding[9] = 2 * embedding[0], 4 * embedding[0]
  index, similarity = nearest.neighbours(embedding, embedding[[0, 0]], 3)
  assert index[0].tolist() == [0, 4, 9]
  np.testing.assert_allclose(similarity[0], 1, atol=1e-6)
  itself = np.array([0, -1])
  index, _ = nearest.neighbours(embedding, embedding[[0, 0]], 2, itself)
  assert index.tolist() == [[4, 9], [0, 4]]


@pytest.mark.usefixtures("_tiles")
@pytest.mark.parametrize("threshold", [-0.5, 0.3, 0.9])
def test_duplicates_are_all_pairs_above_the_threshold(threshold):
  embedding = noise(11)
  pairs, similarities = nearest.duplicates(embedding, threshold)
  expected = cosines(embedding, embedding)
  found = {(i, j) for i in range(11) for j in range(i) if expected[i, j] >= threshold}
  assert {(j, i) for i, j in pairs.tolist()} == found
  assert len(pairs) == len(found)
  np.testing.assert_allclose(similarities, expected[tuple(pairs.T)], atol=1e-6)
  assert (np.diff(similarities) <= 0).all()


def test_copies_are_found_at_1_in_spite_of_rounding():
  once = noise(50, 256)
  pairs, similarities = nearest.duplicates(np.concatenate([once, once]), 1.0)
  assert sorted(pairs.tolist()) == [[i, i + 50] for i in range(50)]
  assert (similarities > 1 - 1e-6).all()


def test_zero_has_no_duplicate_and_one_image_none_either():
  pairs, _ = nearest.duplicates(np.zeros((3, 4), np.float32), 0.5)
  assert pairs.shape == (0, 2)
  assert nearest.duplicates(noise(1), 0.5)[0].shape == (0, 2)


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (
      lambda x: nearest.neighbours(x, x, 5),
      "5 neighbours are wanted of 4 .*: give 1 to",
    ),
    (lambda x: nearest.neighbours(x, x, 0), "0 neighbours are wanted"),
    (lambda x: nearest.neighbours(x, x, 4, np.arange(4)), "of 3 images: give 1 to 3"),
    (lambda x: nearest.neighbours(x, x[:, :2], 1), "queries have 2 features"),
    (lambda x: nearest.neighbours(x[:0], x, 1), r"embedding is \[0, 5\]"),
    (lambda x: nearest.duplicates(x * np.nan, 0.9), "NaN or infinite"),
    (lambda x: nearest.duplicates(x, 1.1), "similarity is 1.1: give a number"),
    (lambda x: nearest.duplicates(x, float("nan")), "similarity is nan"),
  ],
)
def test_what_cannot_be_is_refused(call, message):
  with pytest.raises(UserError, match=message):
    call(noise(4))


def test_a_threshold_that_says_nothing_is_refused(monkeypatch):
  monkeypatch.setattr(nearest, "MOST_PAIRS", 5)
  same = np.ones((4, 2), np.float32)  # 6 pairs
  with pytest.raises(UserError, match=r"more than 5 pairs .* raise the threshold"):
    nearest.duplicates(same, 0.99)
  assert len(nearest.duplicates(same[:3], 0.99)[0]) == 3
