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
  ("z", "expected"),
  [
    (BASIS, 4.0),
    # Singular values 3 and 1, in the ratio of the columns' lengths.
    (np.array([[3, 0], [0, 1]]), 4 / 3**0.75),
    # Not centred: what is the same for all images is the one direction there is.
    (CONSTANT, 1.0),
    (ANTIPODAL, 1.0),
    (ZERO, 0.0),
  ],
)
def test_rankme_by_hand(z, expected):
  found = diagnostics.rankme(np.asarray(z, np.float32))
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("n", [40, 7])
def test_rankme_matches_the_papers_equation(n):
  z = gaussian(n, 12) * np.linspace(0.1, 3, 12) + 0.5
  sigma = np.linalg.svd(z, compute_uv=False)
  p = sigma / sigma.sum() + 1e-7
  expected = np.exp(-np.sum(p * np.log(p)))
  assert diagnostics.rankme(z) == pytest.approx(expected)
  assert diagnostics.rankme(30 * np.float32(z)) == pytest.approx(expected, rel=1e-5)
  rotation, _ = np.linalg.qr(gaussian(12, 12, seed=1))
  assert diagnostics.rankme(z @ rotation) == pytest.approx(expected)


def test_an_offset_lowers_rankme_and_not_effective_rank():
  z = gaussian(40, 12)
  assert diagnostics.rankme(z + 100) < 2 < 10 < diagnostics.rankme(z)
  ranks = [diagnostics.effective_rank(each) for each in (z, z + 100)]
  np.testing.assert_allclose(*ranks, rtol=1e-3)


def views_of(means, within, views=6):
  """Views around each mean [N, D], of the covariance `within` to the digit."""
  d = len(within)
  directions = np.concatenate([np.eye(d), -np.eye(d)]) * np.sqrt(d)
  assert views == len(directions)
  return means[:, None] + directions @ np.linalg.cholesky(within).T


# Both signs of each axis: the covariance of the means is diag(a^2, b^2, c^2) / 3.
def axes(*lengths):
  return np.concatenate([np.diag(lengths), -np.diag(lengths)])


def test_lidar_of_isotropic_clusters_is_the_rank_of_their_means():
  within = 0.01 * np.eye(3)
  assert diagnostics.lidar(views_of(axes(1, 1, 1), within)) == pytest.approx(3)
  assert diagnostics.lidar(views_of(axes(1, 1, 0), within)) == pytest.approx(2)
  assert diagnostics.lidar(views_of(axes(0, 0, 7), within)) == pytest.approx(1)


def test_lidar_counts_a_direction_by_what_views_leave_of_it():
  # Eigenvalues 3 : 1, once because the means differ less in one direction, and once
  # because the views of an image differ more.
  expected = pytest.approx(4 / 3**0.75, rel=1e-3)
  of_means = views_of(axes(3**0.5, 1, 0), np.eye(3))
  of_views = views_of(axes(1, 1, 0), np.diag([1.0, 3.0, 1.0]))
  assert diagnostics.lidar(of_means) == expected
  assert diagnostics.lidar(of_views) == expected


def test_lidar_matches_the_papers_matrix():
  rng = np.random.default_rng(0)
  z = rng.normal(size=(30, 1, 5)) * [3, 2, 1, 0.1, 0.01] + rng.normal(size=(30, 4, 5))
  means = z.mean(1)
  between = np.cov(means.T, bias=True)
  within = sum(np.cov(views.T, bias=True) for views in z) / len(z) + 0.1 * np.eye(5)
  values, vectors = np.linalg.eigh(within)
  root = vectors @ np.diag(values**-0.5) @ vectors.T
  p = np.linalg.eigvalsh(root @ between @ root)
  p /= p.sum()
  expected = np.exp(-np.sum(p * np.log(p)))
  assert diagnostics.lidar(z, delta=0.1) == pytest.approx(expected)
  assert diagnostics.lidar((z + 5).astype(np.float32), delta=0.1) == pytest.approx(
    expected, rel=1e-4
  )


def test_lidar_does_not_mind_a_linear_map_where_views_differ():
  z = gaussian(40 * 4, 3).reshape(40, 4, 3) + 3 * gaussian(40, 3, seed=1)[:, None]
  mapped = z @ np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 3.0]])
  assert diagnostics.lidar(mapped) == pytest.approx(diagnostics.lidar(z), rel=1e-3)


@pytest.mark.parametrize("point", [np.zeros(3), np.full(3, 0.1), [1e4, 0.1, -7]])
def test_lidar_of_one_point_is_0(point):
  assert diagnostics.lidar(np.full((8, 4, 3), point, np.float32)) == 0
  # The views differ, in the same way for all images.
  same = np.float32(point + gaussian(4, 3)) + np.zeros((8, 1, 1), np.float32)
  assert diagnostics.lidar(same) == 0


def test_invariance_by_hand():
  # Four images a quarter of the circle apart, two views of each 0.3 to either side: of
  # two images, views are -90, 90 or 180 degrees apart, and -0.6, 0, 0 or 0.6 more.
  angles = np.arange(4)[:, None] * np.pi / 2 + [-0.3, 0.3]
  z = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
  between = 2 - 2 * (0 + 0 - (1 + np.cos(0.6)) / 2) / 3
  expected = 1 - (2 - 2 * np.cos(0.6)) / between
  assert diagnostics.invariance(z) == pytest.approx(expected)
  assert diagnostics.invariance(7 * np.float32(z)) == pytest.approx(expected, rel=1e-5)


def test_invariance_matches_all_pairs():
  z = gaussian(12 * 3, 5).reshape(12, 3, 5) + 2 * gaussian(12, 5, seed=1)[:, None] + 1
  flat = normalised(z).reshape(36, 5)
  distances = np.sum((flat[:, None] - flat) ** 2, axis=-1)
  image = np.arange(36) // 3
  alike = image[:, None] == image
  pairs = ~np.eye(36, dtype=bool)
  expected = 1 - distances[alike & pairs].mean() / distances[~alike].mean()
  assert diagnostics.invariance(z) == pytest.approx(expected)


def test_invariance_from_none_to_all():
  noise = gaussian(500 * 4, 16).reshape(500, 4, 16)
  assert abs(diagnostics.invariance(noise)) < 0.01
  assert diagnostics.invariance(noise[:, :1].repeat(4, axis=1)) == pytest.approx(1)
  # Where everything is in nearly one place, it is measured all the same.
  assert abs(diagnostics.invariance(1e-3 * noise + 1)) < 0.01


@pytest.mark.parametrize("point", [np.zeros(3), np.full(3, 0.1), [1e4, 0.1, -7]])
def test_invariance_of_one_point_is_0(point):
  noise = 1e-7 * gaussian(8 * 4, 3).reshape(8, 4, 3)
  assert diagnostics.invariance(np.float32(point * (1 + noise))) == 0


def test_invariance_needs_two_images_in_two_views():
  for shape in ((1, 2, 3), (2, 1, 3)):
    with pytest.raises(AssertionError):
      diagnostics.invariance(np.ones(shape))


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_ranks_of_a_network_that_diverged_are_no_numbers(bad):
  z = gaussian(8 * 4, 3).reshape(8, 4, 3)
  z[3, 1, 2] = bad
  assert np.isnan(diagnostics.lidar(z))
  assert np.isnan(diagnostics.invariance(z))
  assert np.isnan(diagnostics.rankme(z[:, 1]))


def test_lidar_needs_two_views():
  with pytest.raises(AssertionError):
    diagnostics.lidar(np.zeros((8, 1, 3)))


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


def test_the_common_part_by_hand():
  opposite = jnp.array([[2.0, 0.0], [-1.0, 0.0]])
  assert diagnostics.common_part(opposite) == pytest.approx(0, abs=1e-6)
  assert diagnostics.common_part(jnp.array([[2.0, 0.0], [0.0, 1.0]])) == pytest.approx(
    0.5
  )
  assert diagnostics.common_part(jnp.array([[3.0, 3.0], [1.0, 1.0]])) == pytest.approx(
    1
  )
  assert diagnostics.common_part(jnp.zeros((2, 3))) == 0


def test_the_common_part_is_what_the_variance_leaves():
  z = jnp.float32(np.random.default_rng(0).normal(size=(50, 8)) + 1)
  directions = np.asarray(z) / np.linalg.norm(z, axis=1, keepdims=True)
  expected = 1 - directions.var(axis=0).sum()
  assert diagnostics.common_part(z) == pytest.approx(expected, rel=1e-5)
