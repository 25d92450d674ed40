"""The shared arithmetic of the norms, against plain numpy and autodiff."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax.nets.normalise import Pool, normalise

EPS = 1e-5
POOLS = {
  "batch": Pool(True),
  "group": Pool(False, 4),
  "layer": Pool(False, 1),
  "instance": Pool(False, 8),
}


def by_hand(x, scale, offset, pool):
  """The definition: subtract the pool's mean, divide by its deviation."""
  n, m, c = x.shape
  if pool.over_batch:
    mean, variance = x.mean((0, 1)), x.var((0, 1))
  else:
    grouped = x.reshape(n, m, pool.groups, c // pool.groups)
    mean, variance = (
      np.repeat(f(grouped, axis=(1, 3)), c // pool.groups, axis=1)[:, None]
      for f in (np.mean, np.var)
    )
  return (x - mean) / np.sqrt(variance + EPS) * scale + offset


def inputs(shape=(6, 5, 8), mean=0.0):
  rng = np.random.default_rng(0)
  x = rng.normal(mean, 1.0, shape)
  return x, rng.normal(1.0, 0.3, shape[-1]), rng.normal(0.0, 0.3, shape[-1])


def reference_of(pool, channels):
  return jnp.zeros(channels) if pool.over_batch else None


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_equals_the_definition(pool):
  x, scale, offset = inputs()
  y, _, _ = normalise(
    *map(jnp.float32, (x, scale, offset)), reference_of(pool, 8), pool=pool, eps=EPS
  )
  np.testing.assert_allclose(y, by_hand(x, scale, offset, pool), atol=2e-6)


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_gradient_equals_automatic_differentiation(pool):
  x, scale, offset = map(jnp.float32, inputs())
  weight = jnp.float32(np.random.default_rng(1).normal(size=x.shape))

  def automatic(x, scale, offset):
    if pool.over_batch:
      mean, variance = x.mean((0, 1)), x.var((0, 1))
    else:
      grouped = x.reshape(*x.shape[:2], pool.groups, -1)
      mean, variance = (
        jnp.repeat(f(grouped, axis=(1, 3)), 8 // pool.groups, axis=1)[:, None]
        for f in (jnp.mean, jnp.var)
      )
    y = (x - mean) / jnp.sqrt(variance + EPS) * scale + offset
    return jnp.sum(weight * jnp.square(y))

  def ours(x, scale, offset):
    y, _, _ = normalise(x, scale, offset, reference_of(pool, 8), pool=pool, eps=EPS)
    return jnp.sum(weight * jnp.square(y))

  grads, expected = (
    jax.grad(f, (0, 1, 2))(x, scale, offset) for f in (ours, automatic)
  )
  chex.assert_trees_all_close(grads, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_a_large_mean_costs_no_accuracy(pool):
  x, scale, offset = inputs(mean=300.0)
  reference = jnp.full(8, 299.0) if pool.over_batch else None
  y, _, _ = normalise(
    *map(jnp.float32, (x, scale, offset)), reference, pool=pool, eps=EPS
  )
  # float32 alone rounds 300 to 3e-5.
  np.testing.assert_allclose(y, by_hand(x, scale, offset, pool), atol=2e-4)


def test_moments_are_those_of_the_batch():
  x, scale, offset = inputs()
  _, mean, variance = normalise(
    *map(jnp.float32, (x, scale, offset)), jnp.ones(8), pool=POOLS["batch"], eps=EPS
  )
  np.testing.assert_allclose(mean[0, 0], x.mean((0, 1)), atol=1e-6)
  np.testing.assert_allclose(variance[0, 0], x.var((0, 1)), rtol=1e-5)


def test_bfloat16_in_and_out_with_float32_moments():
  x, scale, offset = inputs()
  y, mean, _ = normalise(
    jnp.bfloat16(x),
    jnp.float32(scale),
    jnp.float32(offset),
    None,
    pool=POOLS["group"],
    eps=EPS,
  )
  assert (y.dtype, mean.dtype) == (jnp.bfloat16, jnp.float32)
  np.testing.assert_allclose(
    y.astype(np.float32), by_hand(x, scale, offset, POOLS["group"]), atol=0.06
  )
