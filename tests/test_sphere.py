"""Projection onto the unit sphere."""

import chex
import jax.numpy as jnp
import numpy as np

from byol_jax.sphere import l2_normalise


def test_l2_normalise_by_hand():
  x = jnp.array([[3.0, 4.0], [0.0, 0.0], [3e-7, 4e-7]])
  expected = [[0.6, 0.8], [0.0, 0.0], [0.3, 0.4]]
  np.testing.assert_allclose(l2_normalise(x), expected, rtol=1e-6, atol=0)


def test_what_overflows_is_no_number_and_not_zero():
  x = jnp.array([[3e19, 4e19], [3e18, 4e18]])
  found = l2_normalise(x)
  assert np.isnan(found[0]).all()
  np.testing.assert_allclose(found[1], [0.6, 0.8], rtol=1e-6)


def test_l2_normalise_computes_in_float32():
  x = jnp.array([[3.0, 4.0]], jnp.bfloat16)
  chex.assert_type(l2_normalise(x), jnp.float32)
