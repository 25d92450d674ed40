"""Convolution in the form that the backend is fast at."""

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
  return plain(x, w, stride)


def plain(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """`convolve` as XLA's own operation."""
  return lax.conv_general_dilated(
    x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def pointwise(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """`convolve` for a 1x1 kernel: one matrix product over all pixels."""
  x = x[:, ::stride, ::stride]
  y = x.reshape(-1, x.shape[-1]) @ w[0, 0]
  return y.reshape(*x.shape[:-1], -1)


def by_taps(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """`convolve` as a sum of one matrix product for each pixel of the kernel."""
  n, channels = x.shape[0], x.shape[-1]
  kernel = w.shape[:2]
  out = [-(-size // stride) for size in x.shape[1:3]]
  padding = lax.padtype_to_pads(x.shape[1:3], kernel, (stride, stride), "SAME")
  padded = jnp.pad(x, [(0, 0), *padding, (0, 0)])
  y = jnp.zeros((n * out[0] * out[1], w.shape[-1]), x.dtype)
  for i in range(kernel[0]):
    for j in range(kernel[1]):
      seen = padded[
        :,
        i : i + stride * (out[0] - 1) + 1 : stride,
        j : j + stride * (out[1] - 1) + 1 : stride,
      ]
      y += seen.reshape(-1, channels) @ w[i, j]
  return y.reshape(n, *out, -1)
