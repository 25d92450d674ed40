"""The arithmetic that every normalisation layer shares.

Batch, group, layer and instance normalisation differ in one thing alone: the
set of activations over which mean and variance are pooled. Here the activations
are [N, M, C] (images, positions, channels); moments are taken per channel over
the positions, and over the images too for batch normalisation, and are then
pooled over groups of channels or over devices.

The gradient is written out by hand: XLA's automatic one keeps several copies of
the activations and walks over them more often, which makes a training step up
to twice as slow on a CPU.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

# What rematerialisation keeps: a few numbers that all devices would share again.
MOMENTS = "moments"


class Pool(NamedTuple):
  """The set of activations that share one mean and one variance.

  Attributes:
    over_batch: whether all images of the batch belong to it.
    groups: number of groups the channels are split into; ignored, each channel
      being its own group, where `over_batch` is set.
    axis: name of the device axis whose batches are pooled, None for the local
      batch alone; only with `over_batch`.
  """

  over_batch: bool
  groups: int = 1
  axis: str | None = None


def at_least_float32(x: jax.Array) -> jax.Array:
  """The same numbers, in float32 where they are in less."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _reduce(values: jax.Array, pool: Pool) -> jax.Array:
  """Means over the positions (and images) of each channel: [N or 1, 1, C]."""
  axes = (0, 1) if pool.over_batch else (1,)
  return jnp.mean(values, axes, keepdims=True)


def _share(moments: jax.Array, pool: Pool) -> jax.Array:
  """Averages per-channel moments over the pool and hands each channel its own."""
  if pool.over_batch:
    return lax.pmean(moments, pool.axis) if pool.axis else moments
  channels = moments.shape[-1]
  size = channels // pool.groups
  # As matrix products: on a CPU, sums over a few neighbours are slow.
  member = jnp.repeat(jnp.eye(pool.groups, dtype=moments.dtype), size, axis=0)
  flat = moments.reshape(-1, channels)
  mean = jnp.matmul(flat, member / size, precision=lax.Precision.HIGHEST)
  each = jnp.matmul(mean, member.T, precision=lax.Precision.HIGHEST)
  return each.reshape(moments.shape)


def _moments(
  x: jax.Array, reference: jax.Array, pool: Pool
) -> tuple[jax.Array, jax.Array]:
  """Mean and biased variance of the pool, in one pass over the activations.

  E[x^2] - E[x]^2 cancels badly where the mean is large against the spread, so
  both moments are taken around a `reference` near the mean, equal for all
  activations of one pool.
  """
  deviation = x - reference
  first = _reduce(deviation, pool)
  second = _reduce(jnp.square(deviation), pool)
  both = _share(jnp.concatenate([first, second], axis=1), pool)
  both = checkpoint_name(both, MOMENTS)
  first, second = both[:, :1], both[:, 1:]
  return reference + first, jnp.maximum(second - jnp.square(first), 0.0)


Three = tuple[jax.Array, jax.Array, jax.Array]
Saved = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def normalise(
  x: jax.Array,
  scale: jax.Array,
  offset: jax.Array,
  reference: jax.Array | None,
  pool: Pool,
  eps: float,
) -> Three:
  """Normalises each pool to zero mean and unit variance, then scales and shifts.

  Args:
    x: [N, M, C] activations of any float type; moments are float32 at least.
    scale: [C], of the moments' type.
    offset: [C], of the same.
    reference: [C] a guess of the mean that all devices share, around which the
      moments are taken (see `_moments`); None takes each pool's first position,
      which is possible where a pool lies within one image.
    pool: which activations share their moments.
    eps: added to the variance.

  Returns:
    y: [N, M, C] of x's type; mean and (biased) variance, [N or 1, 1, C].
    No gradient flows through the latter two.
  """
  return _forward(x, scale, offset, reference, pool, eps)[0]


def _forward(
  x: jax.Array,
  scale: jax.Array,
  offset: jax.Array,
  reference: jax.Array | None,
  pool: Pool,
  eps: float,
) -> tuple[Three, Saved]:
  wide = at_least_float32(x)
  if reference is None:
    reference = _share(wide[:, :1], pool)
  mean, variance = _moments(wide, reference, pool)
  inverse = lax.rsqrt(variance + eps)
  gain = inverse * scale
  y = (wide * gain + (offset - mean * gain)).astype(x.dtype)
  return (y, mean, variance), (x, scale, mean, inverse)


def _backward(
  pool: Pool, eps: float, saved: Saved, cotangents: Three
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
  del eps
  x, scale, mean, inverse = saved
  dy = at_least_float32(cotangents[0])
  normed = (at_least_float32(x) - mean) * inverse
  first = _reduce(dy, pool)
  second = _reduce(dy * normed, pool)
  shared = _share(jnp.concatenate([first, second], axis=1) * scale, pool)
  dx = inverse * (dy * scale - shared[:, :1] - normed * shared[:, 1:])
  count = x.shape[1] * (x.shape[0] if pool.over_batch else 1)
  d_scale = count * jnp.sum(second, (0, 1))
  d_offset = count * jnp.sum(first, (0, 1))
  return dx.astype(x.dtype), d_scale, d_offset, None


normalise.defvjp(_forward, _backward)
