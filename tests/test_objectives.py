"""BYOL's loss: values worked out by hand, symmetry, where gradients go."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax import objectives


class RegressionTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_values_worked_out_by_hand(self):
    prediction = jnp.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0], [-5.0, 0.0]])
    projection = jnp.array([[7.0, 0.0], [1.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    losses = self.variant(objectives.regression)(prediction, projection)
    # 2 - 2 cos of 0, 90, 45 and 180 degrees.
    np.testing.assert_allclose(losses, [0.0, 2.0, 2 - np.sqrt(2), 4.0], atol=1e-6)


def vectors(*shape):
  return jnp.float32(np.random.default_rng(sum(shape)).normal(size=shape))


def test_both_directions_are_summed_and_cross_the_views():
  e1, e2 = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
  # Prediction of view 1 is compared with the target of view 2, and reversed.
  assert objectives.byol((e1, e2), (e2, e1)) == pytest.approx(0.0)
  assert objectives.byol((e1, e2), (e1, e2)) == pytest.approx(4.0)
  assert objectives.byol((e1, -e1), (e1, -e1)) == pytest.approx(8.0)


def test_equals_two_minus_two_cosines():
  q1, q2, z1, z2 = vectors(4, 7, 5)

  def cosine(a, b):
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1) / norms

  expected = np.mean(4 - 2 * cosine(q1, z2) - 2 * cosine(q2, z1))
  np.testing.assert_allclose(objectives.byol((q1, q2), (z1, z2)), expected, rtol=1e-6)


def test_scale_does_not_matter():
  q1, q2, z1, z2 = vectors(4, 7, 5)
  np.testing.assert_allclose(
    objectives.byol((3 * q1, q2), (z1, 0.1 * z2)),
    objectives.byol((q1, q2), (z1, z2)),
    rtol=1e-5,
  )


def test_no_gradient_flows_into_the_targets():
  q1, q2, z1, z2 = vectors(4, 7, 5)
  to_online, to_target = jax.grad(objectives.byol, (0, 1))((q1, q2), (z1, z2))
  chex.assert_trees_all_equal(to_target, jax.tree.map(jnp.zeros_like, to_target))
  assert all(jnp.abs(g).max() > 0 for g in to_online)


def test_a_collapsed_pair_has_finite_gradients():
  zeros = jnp.zeros((2, 3))
  grads = jax.grad(lambda q: objectives.byol((q, q), (zeros, zeros)))(zeros)
  chex.assert_tree_all_finite(grads)
