"""Crops and flips on the device, of images that live there: `crops` without OpenCV.

Each crop is two matrix products, whose weights are those of OpenCV's bicubic kernel,
and of the squares that `reduce.averaged` averages where images are much larger.
"""

import functools
from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp

from byol_jax.data.augment import for_each

_A = -0.75  # OpenCV's; Keys (1981), "Cubic convolution interpolation", has -0.5


def crop_flip(images: jax.Array, boxes: jax.Array, size: int) -> jax.Array:
  """Crops a box of each image, resizes it and flips it left to right.

  Bicubic interpolation without antialiasing; what lies outside of the box is what lies
  on its edge. Compared with `crops.random_crop_flip` of the same box, a value may
  differ by one level, never by more: where OpenCV has Intel's IPP (its wheels for x86)
  it computes in float32 too, and about one value in 200 000 is rounded the other way.
  Elsewhere, and of boxes under four pixels a side, it rounds the weights to 11 bits,
  and one value in 30 differs. Boxes of `size` pixels a side are exact. Of images whose
  sides are divided values may differ by two levels: means are not rounded here.

  Args:
    images: uint8 [B, H, W, C].
    boxes: int32 [B, 6]: top, left, rows, columns, by what the sides are divided, and
      whether to flip, as `crops.random_boxes` draws them; inside of the images, which
      is not checked.
    size: side of the result in pixels.

  Returns:
    uint8 [B, size, size, C].
  """
  chex.assert_rank(images, 4)
  chex.assert_shape(boxes, (len(images), 6))
  chex.assert_type([images, boxes], [jnp.uint8, jnp.int32])
  return for_each(functools.partial(_crop_flip, size=size), images, boxes)


def crop_batch(batch: Mapping[str, jax.Array], size: int) -> dict[str, jax.Array]:
  """A batch of boxes as one of views.

  Args:
    batch: 'images' uint8 [N, H, W, C], of which 'index' int32 [...] are shown, by
      'boxes' int32 [..., views, 6]; and anything else.
    size: side of the views in pixels.

  Returns:
    'view1', 'view2', ...: uint8 [..., size, size, C]; and anything else.
  """
  index, boxes = batch["index"], batch["boxes"]
  # Before the loop over images, which could carry a copy of the whole set along.
  images = batch["images"][index.reshape(-1)]
  found = {k: v for k, v in batch.items() if k not in ("images", "index", "boxes")}
  for view in range(boxes.shape[-2]):
    of_view = boxes[..., view, :].reshape(-1, boxes.shape[-1])
    crops = crop_flip(images, of_view, size)
    found[f"view{view + 1}"] = crops.reshape(*index.shape, *crops.shape[1:])
  return found


def _crop_flip(image: jax.Array, box: jax.Array, size: int) -> jax.Array:
  top, left, rows, columns, scale, flip = box
  down = _weights(top, rows, image.shape[0], size, scale)
  across = _weights(left, columns, image.shape[1], size, scale)
  across = jnp.where(flip == 1, across[::-1], across)
  # Accelerators would take fewer bits than a level needs.
  product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
  resized = product("iy,yxc->ixc", down, image.astype(jnp.float32))
  resized = product("jx,ixc->ijc", across, resized)
  return jnp.clip(jnp.round(resized), 0, 255).astype(jnp.uint8)


def _weights(
  first: jax.Array, count: jax.Array, pixels: int, size: int, scale: jax.Array
) -> jax.Array:
  """What each of `size` rows of a crop takes of each row of the image.

  Args:
    first: row at which the crop begins, of the image whose sides are divided.
    count: its rows.
    pixels: rows of the image as it is.
    size: rows that the crop is resized to.
    scale: by what the sides are divided: so many rows make one.

  Returns:
    float32 [size, pixels], of sum 1 in each row.
  """
  # Pixels are squares: the centre of the first is half a pixel from the edge.
  doubled = (2 * jnp.arange(size, dtype=jnp.int32) + 1) * count
  centres = doubled.astype(jnp.float32) / (2 * size) - 0.5
  before = jnp.floor(centres)
  x = centres - before
  weights = jnp.stack([_far(1 + x), _near(x), _near(1 - x), _far(2 - x)])
  taps = before.astype(jnp.int32) + jnp.arange(-1, 3, dtype=jnp.int32)[:, None]
  taps = first + jnp.clip(taps, 0, count - 1)
  row = jnp.arange(pixels, dtype=jnp.int32)
  is_tap = taps[..., None] == row // scale
  # The last row goes on beyond the edge, until its square is full.
  copies = jnp.where(row == pixels - 1, 1 + -pixels % scale, 1)
  return jnp.sum(weights[..., None] * is_tap, axis=0) * (
    copies.astype(jnp.float32) / scale
  )


def _near(x: jax.Array) -> jax.Array:
  """The kernel at distances of 0 to 1 pixels."""
  return ((_A + 2) * x - (_A + 3)) * x * x + 1


def _far(x: jax.Array) -> jax.Array:
  """The kernel at distances of 1 to 2 pixels."""
  return ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
