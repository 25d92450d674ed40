import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from byol_jax import diagnostics

ANTIPODAL = np.array([[3.0, 0.0], [-1.0, 0.0]])
BASIS = np.eye(4)
CONSTANT = np.full((5, 3), 0.1)
ZERO = np.zeros((5, 3))


def gaussian(n, d, seed=0):
  return np.random.default_rng(seed).normal(size=(n, d))


def normalised(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize(
  ("z", "expected"),
  [
    # The std is 1 in one dimension and 0 in the other.
    (ANTIPODAL, np.sqrt(2) / 2),
    # In each dimension the mean is 1/4 and the variance 1/4 - 1/16.
    (BASIS, np.sqrt(4) * np.sqrt(3 / 16)),
    # Both signs of each axis: mean 0, variance 1/4.
    (np.concatenate([BASIS, -BASIS]), 1.0),
    (CONSTANT, 0.0),
    (ZERO, 0.0),
  ],
)
def test_spread_by_hand(z, expected):
  np.testing.assert_allclose(diagnostics.spread(z), expected, atol=1e-6)


def test_spread_of_isotropic_directions_is_near_one():
  assert 0.98 < diagnostics.spread(gaussian(2000, 64)) <= 1


def test_spread_ignores_length():
  z = gaussian(20, 5)
  np.testing.assert_allclose(
    diagnostics.spread(z), diagnostics.spread(z * 100), rtol=1e-5
  )


@pytest.mark.parametrize(
  ("h", "expected"),
  [
    (ANTIPODAL, 1.0),
    # Centring takes the direction (1, 1, 1, 1) away and leaves three alike.
    (BASIS, 3.0),
    # Columns of std 3 and 1: p = (3/4, 1/4), exp(H) = 4 / 3^(3/4).
    (np.array([[3, 1], [3, -1], [-3, 1], [-3, -1]]), 4 / 3**0.75),
    (CONSTANT, 0.0),
    (CONSTANT + 1000, 0.0),
    (ZERO, 0.0),
  ],
)
def test_effective_rank_by_hand(h, expected):
  h = np.asarray(h, np.float32)
  np.testing.assert_allclose(
    diagnostics.effective_rank(h), expected, rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_effective_rank_matches_numpy(offset):
  h = gaussian(40, 12) * np.linspace(0.1, 3, 12) + offset
  sigma = np.linalg.svd(h - h.mean(0), compute_uv=False)
  p = sigma / sigma.sum()
  np.testing.assert_allclose(
    diagnostics.effective_rank(h), np.exp(-np.sum(p * np.log(p))), rtol=1e-4
  )


def test_effective_rank_is_at_most_the_rank():
  h = gaussian(50, 3) @ gaussian(3, 20, seed=1)
  assert 2 < diagnostics.effective_rank(h) <= 3


@pytest.mark.parametrize(
  ("z1", "z2", "expected"),
  [
    (BASIS, BASIS * 7, 0.0),
    (BASIS, np.roll(BASIS, 1, axis=0), 2.0),
    (ANTIPODAL, -ANTIPODAL, 4.0),
    (ANTIPODAL, np.array([[0, 1], [-1, 0]]), 1.0),
  ],
)
def test_alignment_by_hand(z1, z2, expected):
  value = diagnostics.alignment(z1, z2.astype(float))
  np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.parametrize("t", [1.0, 2.0])
def test_uniformity_by_hand(t):
  np.testing.assert_allclose(diagnostics.uniformity(ANTIPODAL, t), -4 * t)
  np.testing.assert_allclose(diagnostics.uniformity(BASIS, t), -2 * t)
  np.testing.assert_allclose(diagnostics.uniformity(CONSTANT, t), 0, atol=1e-6)


def test_alignment_and_uniformity_match_scipy():
  z1, z2 = gaussian(30, 8), gaussian(30, 8, seed=1)
  n1, n2 = normalised(z1), normalised(z2)
  expected = np.log(np.mean(np.exp(-2 * pdist(n1, "sqeuclidean"))))
  np.testing.assert_allclose(diagnostics.uniformity(z1), expected, rtol=1e-5)
  expected = np.mean(np.sum((n1 - n2) ** 2, axis=1))
  np.testing.assert_allclose(diagnostics.alignment(z1, z2), expected, rtol=1e-5)


def test_uniformity_needs_two_embeddings():
  with pytest.raises(AssertionError):
    diagnostics.uniformity(BASIS[:1])


@pytest.mark.parametrize("z", [CONSTANT, ZERO, ANTIPODAL, BASIS])
@pytest.mark.parametrize(
  "measure",
  [
    diagnostics.spread,
    diagnostics.effective_rank,
    diagnostics.uniformity,
    lambda z: diagnostics.alignment(z, z),
  ],
)
def test_values_and_gradients_are_finite_under_jit(measure, z):
  value, gradient = jax.jit(jax.value_and_grad(measure))(jnp.asarray(z))
  chex.assert_type(value, jnp.float32)
  chex.assert_tree_all_finite((value, gradient))


@pytest.mark.parametrize(
  ("spread", "rank", "expected"),
  [
    (0.9, 60.0, False),
    (0.1, 2.0, False),
    (0.05, 60.0, True),
    (0.9, 1.5, True),
    (0.0, 0.0, True),
    (float("nan"), 60.0, True),
    (0.9, float("nan"), True),
  ],
)
def test_is_collapsed(spread, rank, expected):
  assert diagnostics.is_collapsed(spread, rank) is expected


@pytest.mark.parametrize("z", [CONSTANT, ZERO, ANTIPODAL])
def test_the_rule_finds_collapsed_embeddings(z):
  assert diagnostics.is_collapsed(
    float(diagnostics.spread(z)), float(diagnostics.effective_rank(z))
  )


def test_the_rule_passes_random_embeddings():
  z = gaussian(64, 16)
  assert not diagnostics.is_collapsed(
    float(diagnostics.spread(z)), float(diagnostics.effective_rank(z))
  )
