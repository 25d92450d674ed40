"""FLOPs by hand and by XLA, and what a device can do at its best."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from byol_jax.run import mfu


@pytest.mark.parametrize(
  ("kind", "precision", "tera"),
  [
    ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4),
    ("NVIDIA H100 80GB HBM3", "float32", 494.7),
    ("NVIDIA H100 PCIe", "bfloat16", 756),
    ("NVIDIA H200", "bfloat16", 989.4),
    ("NVIDIA GH200 480GB", "float32", 494),
    ("NVIDIA B200", "bfloat16", 2250),
    ("NVIDIA GB200", "float32", 1250),
    ("NVIDIA A40", "bfloat16", 149.7),
    ("NVIDIA RTX A6000", "float32", 77.4),
    ("NVIDIA A100-SXM4-80GB", "bfloat16", 312),
    ("NVIDIA A100 80GB PCIe", "float32", 156),
    ("NVIDIA L4", "bfloat16", 121),
    ("NVIDIA L40", "float32", 90.5),
    ("NVIDIA L40S", "bfloat16", 362.05),
    ("Tesla T4", "float32", 8.1),
    ("Tesla V100-SXM2-16GB", "float32", 15.7),
    ("NVIDIA GeForce RTX 3090", "bfloat16", 71),
    ("NVIDIA GeForce RTX 4090", "bfloat16", 165.2),
    ("NVIDIA GeForce RTX 5090", "bfloat16", 209.5),
    ("TPU v3", "bfloat16", 61.5),
    ("TPU v4", "float32", 275),
    ("TPU v5 lite", "bfloat16", 197),
    ("TPU v5", "bfloat16", 459),
    ("TPU v6 lite", "bfloat16", 918),
  ],
)
def test_peaks(kind, precision, tera):
  assert mfu.peak(kind, precision) == tera * 1e12
  assert sum(bool(re.fullmatch(pattern, kind)) for pattern in mfu.PEAKS) == 1


@pytest.mark.parametrize(
  ("kind", "precision"),
  [
    ("cpu", "float32"),
    ("Tesla T4", "bfloat16"),
    ("NVIDIA H100 80GB HBM3", "float64"),
    # Others, or parts, of those that are known.
    ("NVIDIA L40G", "bfloat16"),
    ("NVIDIA A10", "bfloat16"),
    ("NVIDIA H100 NVL", "bfloat16"),
    ("NVIDIA H200 NVL", "bfloat16"),
    ("NVIDIA B200 MIG 1g.23gb", "bfloat16"),
    ("NVIDIA GH200 480GB MIG 1g.12gb", "bfloat16"),
    ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bfloat16"),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", "bfloat16"),
    ("NVIDIA GeForce RTX 3090 Ti", "bfloat16"),
  ],
)
def test_no_peak_is_guessed(kind, precision):
  assert mfu.peak(kind, precision) is None


def convolved(x, w, stride=1, padding="SAME"):
  order = ("NHWC", "HWIO", "NHWC")
  return lax.conv_general_dilated(x, w, (stride,) * 2, padding, dimension_numbers=order)


def test_a_product_by_hand():
  a, b = jnp.zeros((2, 3, 5)), jnp.zeros((2, 5, 7))
  assert mfu.products(jnp.matmul, a, b) == [2 * 2 * 3 * 5 * 7]


def test_a_convolution_by_hand():
  # Along an axis of 4 pixels, 3 taps with padding: 2 + 3 + 3 + 2 see a pixel.
  x, w = jnp.zeros((5, 4, 4, 3)), jnp.zeros((3, 3, 3, 7))
  assert mfu.products(convolved, x, w) == [2 * 5 * 3 * 7 * 10**2]
  # Without padding: two positions of 3.
  valid = lambda x, w: convolved(x, w, padding="VALID")  # noqa: E731
  assert mfu.products(valid, x, w) == [2 * 5 * 3 * 7 * 6**2]


@pytest.mark.parametrize(
  ("size", "kernel", "stride"),
  [(9, 3, 1), (9, 3, 2), (32, 7, 2), (16, 1, 2), (8, 4, 4)],
)
def test_a_convolution_is_what_xla_counts(size, kernel, stride):
  x = jax.ShapeDtypeStruct((2, size, size + 1, 3), jnp.float32)
  w = jax.ShapeDtypeStruct((kernel, kernel, 3, 5), jnp.float32)
  apply = lambda x, w: convolved(x, w, stride)  # noqa: E731
  expected = jax.jit(apply).lower(x, w).cost_analysis()["flops"]
  assert mfu.products(apply, x, w) == [expected]


def test_products_are_found_wherever_they_are():
  x, w = jnp.zeros((2, 3)), jnp.zeros((3, 3))

  @jax.custom_vjp
  def own(x, w):
    return x @ w

  own.defvjp(lambda x, w: (x @ w, None), lambda saved, dy: (dy, dy))

  def function(x, w):
    x = jax.jit(jnp.matmul)(x, w)
    x = jax.checkpoint(jnp.matmul)(x, w)
    return own(x, w)

  assert mfu.products(function, x, w) == [2 * 2 * 3 * 3] * 3


def test_a_gradient_costs_two_products_a_layer_and_one_for_the_first():
  x = jnp.ones((4, 8, 8, 3))
  params = jnp.ones((3, 3, 3, 5)), jnp.ones((1, 1, 5, 7)), jnp.ones((7, 2))

  def network(params, x):
    x = jnp.tanh(convolved(x, params[0]))
    x = jnp.tanh(convolved(x, params[1]))
    return jnp.tanh(x.mean((1, 2))) @ params[2]

  def loss(params, x):
    return jnp.sum(network(params, x) ** 2)

  both = sum(mfu.products(jax.grad(loss), params, x))
  assert mfu.training_flops(mfu.products(network, params, x)) == both


class Known:
  precision = "bfloat16"

  def flops(self):
    return 1e12


def test_speed_at_the_peak_is_that_of_all_devices(monkeypatch):
  monkeypatch.setattr(mfu, "peak", lambda kind, precision: 5e12)
  assert mfu.steps_per_second_at_peak(Known()) == 5 * jax.device_count()


def test_where_no_peak_is_known_nothing_is_counted():
  class Unknown(Known):
    def flops(self):
      raise AssertionError

  assert mfu.steps_per_second_at_peak(Unknown()) is None  # on CPUs
  assert mfu.steps_per_second_at_peak(object()) is None
