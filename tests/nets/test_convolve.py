"""Every form of the convolution gives the plain one's values and gradients."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax.nets import convolve


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(
  ("form", "kernel"),
  [
    (convolve.pointwise, 1),
    (convolve.by_taps, 3),
    (convolve.from_memory, 3),
    (convolve.from_memory, 4),
    (convolve.from_memory, 7),
  ],
)
def test_forms_agree(form, kernel, size, stride):
  rng = np.random.default_rng(0)
  x = jnp.float32(rng.normal(size=(2, size, size + 1, 3)))
  w = jnp.float32(rng.normal(size=(kernel, kernel, 3, 5)))

  def outputs(fn):
    value = fn(x, w, stride)
    slope = jnp.cos(jnp.arange(value.size)).reshape(value.shape)
    grads = jax.grad(lambda x, w: jnp.sum(slope * fn(x, w, stride)), (0, 1))(x, w)
    return value, grads

  chex.assert_trees_all_close(
    outputs(form), outputs(convolve.plain), rtol=1e-5, atol=2e-5
  )


@pytest.mark.parametrize(
  ("kernel", "size", "stride"), [(1, 4, 2), (3, 2, 1), (3, 9, 1)]
)
def test_the_chosen_form_equals_the_plain_one(kernel, size, stride):
  rng = np.random.default_rng(0)
  x = jnp.float32(rng.normal(size=(2, size, size, 3)))
  w = jnp.float32(rng.normal(size=(kernel, kernel, 3, 5)))
  chex.assert_trees_all_close(
    convolve.convolve(x, w, stride),
    convolve.plain(x, w, stride),
    rtol=1e-5,
    atol=1e-5,
  )


def test_a_gradients_convolutions_are_in_the_order_of_the_fast_kernel():
  # In a loop XLA leaves them as they are, and has slow kernels for all other orders:
  # the microbatches of a batch took seven times as long.
  def loss(x, w):
    return jnp.sum(jnp.square(convolve.from_memory(x, w, 2)))

  x, w = jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 5))
  jaxpr = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(x, w))
  orders = re.findall(r"(lhs|rhs|out)_spec=\((.*?)\)", jaxpr)
  images, kernels = "0, 3, 1, 2", "3, 2, 0, 1"
  assert orders == 3 * [("lhs", images), ("rhs", kernels), ("out", images)]


def test_accelerators_get_the_plain_form(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  x, w = jnp.zeros((1, 4, 4, 2)), jnp.zeros((1, 1, 2, 2))
  jaxpr = jax.make_jaxpr(lambda x, w: convolve.convolve(x, w, 1))(x, w)
  assert "conv_general_dilated" in str(jaxpr)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 4), (8, 8), (9, 7)])
def test_forms_of_max_pool_agree(height, width):
  rng = np.random.default_rng(0)
  x = jnp.float32(rng.normal(size=(2, height, width, 3)))

  def outputs(fn):
    value = fn(x)
    slope = jnp.cos(jnp.arange(value.size)).reshape(value.shape)
    return value, jax.grad(lambda x: jnp.sum(slope * fn(x)))(x)

  forms = convolve.max_pool_by_taps, convolve.plain_max_pool, convolve.max_pool
  by_taps, plain, chosen = map(outputs, forms)
  chex.assert_trees_all_close(by_taps, plain, rtol=1e-6)
  chex.assert_trees_all_close(chosen, plain, rtol=1e-6)


def test_equal_largest_pixels_share_the_gradient():
  gradient = jax.grad(lambda x: jnp.sum(convolve.max_pool_by_taps(x)))
  assert jnp.sum(gradient(jnp.zeros((1, 2, 2, 1)))) == 1
