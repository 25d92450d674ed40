"""What is done to the pixels of an image on the device, each operation by itself.

An image is float32 [H, W, C] in [0, 1]. The operations also take leading
dimensions, [..., H, W, C], and an amount that broadcasts.
"""

import functools
import operator
from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from byol_jax.errors import UserError

_TINY = 1e-12  # keeps the hue and saturation of grey and black pixels finite


def to_unit(images: jax.Array) -> jax.Array:
  """Pixels of any shape, uint8 in 0..255, as float32 in [0, 1]."""
  chex.assert_type(images, jnp.uint8)
  return images.astype(jnp.float32) / 255


def standardise(
  images: jax.Array, mean: Sequence[float], std: Sequence[float]
) -> jax.Array:
  """(images - mean) / std, per channel.

  Args:
    images: [..., C].
    mean: one value a channel, or one for all.
    std: likewise, above 0.

  Returns:
    An array of the shape of `images`.

  Raises:
    UserError: a length is neither C nor 1.
  """
  channels = images.shape[-1]
  for name, values in (("mean", mean), ("std", std)):
    if len(values) not in (1, channels):
      raise UserError(
        f"{name} has {len(values)} values but the images have {channels}"
        " channels: give one value a channel, or one for all"
      )
  return (images - jnp.asarray(mean)) / jnp.asarray(std)


def adjust_brightness(image: jax.Array, delta: jax.Array) -> jax.Array:
  """Adds `delta` to every pixel. [..., H, W, C], not clipped."""
  return image + delta


def adjust_contrast(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Scales the distance from each channel's mean. [..., H, W, C], not clipped.

  1 leaves the image as it is; 0 gives the mean over the pixels.
  """
  # Rows first: a sum over both axes at once is three times slower on CPU.
  mean = jnp.mean(image, -3, keepdims=True).mean(-2, keepdims=True)
  return mean + factor * (image - mean)


def adjust_saturation(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Multiplies the saturation in HSV by `factor`, up to 1. [..., H, W, 3]."""
  # At constant hue and value the distance to the value scales as the
  # saturation does, which saves the way to HSV and back.
  value, spread = _value_and_spread(image)
  factor = jnp.minimum(factor, value / jnp.maximum(spread, _TINY))
  return value - factor * (value - image)


def adjust_hue(image: jax.Array, delta: jax.Array) -> jax.Array:
  """Turns the hue by `delta` circles. [..., H, W, 3]."""
  hue, saturation, value = jnp.split(rgb_to_hsv(image), 3, -1)
  return hsv_to_rgb(jnp.concatenate([hue + delta, saturation, value], -1))


def to_grayscale(image: jax.Array) -> jax.Array:
  """The luma of RGB (ITU-R BT.601), in three equal channels. [..., 3]."""
  red, green, blue = jnp.split(image, 3, -1)
  luma = 0.2989 * red + 0.5870 * green + 0.1140 * blue
  return jnp.broadcast_to(luma, image.shape)


def blur_radius(height: int) -> int:
  """Pixels on each side of the centre of the blur's kernel: height / 20."""
  return int(height / 10 / 2)


def gaussian_blur(image: jax.Array, sigma: jax.Array) -> jax.Array:
  """Blurs with a separable Gaussian of `sigma` pixels. [H, W, C].

  The kernel has 2 * blur_radius(H) + 1 taps and sums to 1; outside of the image
  all is 0, so that borders darken, as they do in BYOL's code.
  """
  height, width, channels = image.shape
  radius = blur_radius(height)
  distance = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
  kernel = jax.nn.softmax(-(distance**2) / (2 * sigma**2))
  # Sums of shifted rows, W and C as one axis: long vectors. On CPU a depthwise
  # convolution takes thirty times as long, banded matrix products twice.
  padded = jnp.pad(image, [(radius, radius), (radius, radius), (0, 0)])
  rows = padded.reshape(height + 2 * radius, -1)
  shifted = (w * rows[k : k + height] for k, w in enumerate(kernel))
  rows = functools.reduce(operator.add, shifted)
  shifted = (
    w * rows[:, k * channels : (k + width) * channels] for k, w in enumerate(kernel)
  )
  rows = functools.reduce(operator.add, shifted)
  return rows.reshape(image.shape)


def solarise(image: jax.Array) -> jax.Array:
  """Inverts what is 0.5 or brighter. Any shape."""
  return jnp.where(image < 0.5, image, 1 - image)


def rgb_to_hsv(image: jax.Array) -> jax.Array:
  """RGB in [0, 1] to hue (a fraction of the circle), saturation and value.

  [..., 3] to [..., 3], all three in [0, 1]. Grey has hue 0 and saturation 0.
  """
  red, green, blue = jnp.split(image, 3, -1)
  value, spread = _value_and_spread(image)
  is_red, is_green = value == red, value == green
  offset = jnp.where(is_red, 0.0, jnp.where(is_green, 2.0, 4.0))
  difference = jnp.where(
    is_red, green - blue, jnp.where(is_green, blue - red, red - green)
  )
  hue = (difference / jnp.maximum(spread, _TINY) + offset) / 6
  saturation = spread / jnp.maximum(value, _TINY)
  return jnp.concatenate([hue - jnp.floor(hue), saturation, value], -1)


def hsv_to_rgb(image: jax.Array) -> jax.Array:
  """The inverse of `rgb_to_hsv`; the hue may be any real number. [..., 3]."""
  hue, saturation, value = jnp.split(image, 3, -1)
  # Each channel is a clipped triangle wave of the hue, at its own phase.
  phase = 6 * hue + jnp.float32([5.0, 3.0, 1.0])
  phase = phase - 6 * jnp.floor(phase / 6)
  dip = jnp.clip(jnp.minimum(phase, 4 - phase), 0, 1)
  return value * (1 - saturation * dip)


def _value_and_spread(image: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The largest of RGB, and its distance to the smallest: [..., 1] each."""
  # Not max(-1): a reduction over three neighbours is slow on CPU.
  red, green, blue = jnp.split(image, 3, -1)
  value = jnp.maximum(jnp.maximum(red, green), blue)
  return value, value - jnp.minimum(jnp.minimum(red, green), blue)
