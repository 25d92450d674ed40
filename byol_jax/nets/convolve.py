"""Convolution and max-pooling in the form that the backend is fast at."""

import functools
import operator
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
from jax import lax


def convolve(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """A convolution with "SAME" padding.

  GPUs and TPUs get the plain form. XLA's convolutions on a CPU are slow, mostly
  backwards, where a kernel has one pixel or covers most of a small image; there
  a few matrix products do the same two to thirty times faster.

  Args:
    x: [N, H, W, C] images.
    w: [K, K, C, O] kernel.
    stride: in both directions.

  Returns:
    [N, ceil(H / stride), ceil(W / stride), O].
  """
  if jax.default_backend() == "cpu":
    if w.shape[0] == 1:
      return pointwise(x, w, stride)
    if -(-max(x.shape[1:3]) // stride) <= 2 * stride:
      return by_taps(x, w, stride)
    return from_memory(x, w, stride)
  return plain(x, w, stride)


def plain(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """`convolve` as XLA's own operation."""
  return _in_order(x, w, "SAME", stride)


def _in_order(
  x: jax.Array, w: jax.Array, padding: Any, stride: int = 1, **dilation: Any
) -> jax.Array:
  """The operation in the one layout that XLA has a fast kernel for on CPUs."""
  order = ("NHWC", "HWIO", "NHWC")
  return lax.conv_general_dilated(
    x, w, (stride, stride), padding, dimension_numbers=order, **dilation
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def from_memory(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """`plain`, whose gradient finds its operands in memory, in the order it wants.

  Left alone, XLA on a CPU computes the norm and the ReLU before the convolution
  once more for every element that it transposes for the kernel's gradient, in an
  order that the caches dislike. Its barriers do something on a CPU only with the
  flag that `host.tune` sets. And XLA brings the gradient's convolutions into the
  one layout that it has a fast kernel for outside of loops only, so that they are
  given that layout here, for the loop over the microbatches of a batch.
  """
  return plain(x, w, stride)


def _from_memory_forward(
  x: jax.Array, w: jax.Array, stride: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return plain(x, w, stride), (x, w)


def _from_memory_backward(
  stride: int, saved: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
  x, w = saved
  x, dy = lax.optimization_barrier((x, dy))
  kernel = w.shape[0]
  pads = lax.padtype_to_pads(x.shape[1:3], w.shape[:2], (stride, stride), "SAME")
  # Pixels from dy's first to its last, as the strides spread them over x.
  spans = [(size - 1) * stride + 1 for size in dy.shape[1:3]]
  sizes = x.shape[1:3]

  around_dy = [
    (kernel - 1 - low, size - span + low)
    for size, span, (low, _) in zip(sizes, spans, pads, strict=True)
  ]
  turned = lax.rev(w, (0, 1)).swapaxes(2, 3)
  dx = _in_order(dy, turned, around_dy, lhs_dilation=(stride, stride))

  around_x = [
    (low, kernel - 1 + span - size - low)
    for size, span, (low, _) in zip(sizes, spans, pads, strict=True)
  ]
  images, kernels = x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)
  dw = _in_order(images, kernels, around_x, rhs_dilation=(stride, stride))
  return dx, dw.transpose(1, 2, 0, 3)


from_memory.defvjp(_from_memory_forward, _from_memory_backward)


def pointwise(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """`convolve` for a 1x1 kernel: one matrix product over all pixels."""
  x = x[:, ::stride, ::stride]
  y = x.reshape(-1, x.shape[-1]) @ w[0, 0]
  return y.reshape(*x.shape[:-1], -1)


def _taps(
  x: jax.Array, kernel: tuple[int, int], stride: int, fill: float
) -> list[jax.Array]:
  """What each pixel of a kernel sees, row by row, with "SAME" padding of `fill`."""
  out = [-(-size // stride) for size in x.shape[1:3]]
  padding = lax.padtype_to_pads(x.shape[1:3], kernel, (stride, stride), "SAME")
  padded = jnp.pad(x, [(0, 0), *padding, (0, 0)], constant_values=fill)
  return [
    padded[
      :,
      i : i + stride * (out[0] - 1) + 1 : stride,
      j : j + stride * (out[1] - 1) + 1 : stride,
    ]
    for i in range(kernel[0])
    for j in range(kernel[1])
  ]


def by_taps(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """`convolve` as a sum of one matrix product for each pixel of the kernel."""
  taps = _taps(x, (w.shape[0], w.shape[1]), stride, 0.0)
  rows = (tap.reshape(-1, tap.shape[-1]) for tap in taps)
  weights = w.reshape(-1, *w.shape[2:])
  y = functools.reduce(operator.add, map(operator.matmul, rows, weights))
  return y.reshape(*taps[0].shape[:-1], -1)


def max_pool(x: jax.Array) -> jax.Array:
  """The largest of 3x3 pixels at stride 2, "SAME" padding.

  On a CPU, XLA searches for each largest pixel again on the way back, which takes
  five times as long as nine comparisons whose gradient is known.

  Args:
    x: [N, H, W, C].

  Returns:
    [N, ceil(H / 2), ceil(W / 2), C].
  """
  if jax.default_backend() == "cpu":
    return max_pool_by_taps(x)
  return plain_max_pool(x)


def plain_max_pool(x: jax.Array) -> jax.Array:
  """`max_pool` as XLA's own operation."""
  return hk.max_pool(x, (1, 3, 3, 1), (1, 2, 2, 1), padding="SAME")


@jax.custom_vjp
def max_pool_by_taps(x: jax.Array) -> jax.Array:
  """`max_pool` as comparisons; equal pixels share the gradient among them."""
  return functools.reduce(jnp.maximum, _pooled(x))


def _pooled(x: jax.Array) -> list[jax.Array]:
  return _taps(x, (3, 3), 2, -jnp.inf)


def _max_pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  y = max_pool_by_taps(x)
  return y, (x, y)


def _max_pool_backward(
  saved: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array]:
  x, y = saved
  taps, add_up = jax.vjp(_pooled, x)
  largest = [tap == y for tap in taps]
  # In memory, as each pixel of x would compute its own up to four again.
  share = lax.optimization_barrier(dy / sum(largest))
  shares = [jnp.where(here, share, 0.0) for here in largest]
  return add_up(lax.optimization_barrier(shares))


max_pool_by_taps.defvjp(_max_pool_forward, _max_pool_backward)
