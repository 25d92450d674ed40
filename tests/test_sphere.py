"""Projection onto the unit sphere."""

import chex
import jax.numpy as jnp
import numpy as np

from byol_jax.sphere import l2_normalise


def test_l2_normalise_by_hand():
  x = jnp.array([[3.0, 4.0], [0.0, 0.0], [3e-7, 4e-7]])
  expected = [[0.6, 0.8], [0.0, 0.0], [0.3, 0.4]]
  np.testing.assert_allclose(l2_normalise(x), expected, rtol=1e-6, atol=0)


def test_l2_normalise_computes_in_float32():
  x = jnp.array([[3.0, 4.0]], jnp.bfloat16)
  chex.assert_type(l2_normalise(x), jnp.float32)
