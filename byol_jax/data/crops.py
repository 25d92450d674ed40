"""Crops and flips: which, and carrying them out on the host, with OpenCV.

Cropping before the images go to the device keeps the transfer at the size that
is trained on; of small sets `device_crops` does it on the device. All crops resize by
bicubic interpolation without antialiasing, as BYOL does, on pixel values in 0..255;
what is more than twice as large as the crop is averaged before that (`reduce`).
OpenCV's kernel is a little sharper than that of BYOL's TensorFlow, a = -0.75 in place
of -0.5, and its results are whole levels: docs/benchmarks.md says what that changes.
"""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from byol_jax.data import reduce
from byol_jax.data.views import View

NUM_UNIFORMS = 5  # random numbers that a crop with a flip takes


def random_crop_flip(
  image: np.ndarray,
  uniforms: Sequence[float] | np.ndarray,
  size: int,
  view: View,
) -> np.ndarray:
  """Crops a random patch, resizes it and flips it left to right at random.

  Args:
    image: uint8[H, W, C].
    uniforms: `NUM_UNIFORMS` numbers in [0, 1): four for `random_patch`, flip.
    size: side of the result in pixels.
    view: ranges of the crop, probability of the flip.

  Returns:
    uint8[size, size, C].
  """
  patch = random_patch(image.shape[0], image.shape[1], uniforms, view)
  resized = _resize(image[patch], size)
  if uniforms[4] >= view.flip:
    return resized
  # Ten times as fast as to copy numpy's mirrored view of the pixels later on.
  return cv2.flip(resized, 1).reshape(resized.shape)


def random_patch(
  height: int, width: int, uniforms: Sequence[float] | np.ndarray, view: View
) -> tuple[slice, slice]:
  """Draws the patch of an image that a random crop shows.

  The patch's share of the image's area is uniform in `view.crop_area`, its
  width / height log-uniform in `view.crop_aspect`, and its place uniform (Grill
  et al. 2020, arXiv 2006.07733, appendix B). There is one draw: a patch wider
  or higher than the image is cut to fit. Where both ranges are (1, 1) the patch
  is the whole image, whatever its shape.

  Args:
    height: of the image, in pixels.
    width: likewise.
    uniforms: numbers in [0, 1): area, aspect, top, left.
    view: ranges of the crop.

  Returns:
    Its rows and its columns.
  """
  if tuple(view.crop_area) == tuple(view.crop_aspect) == (1, 1):
    return slice(height), slice(width)
  area = height * width * _between(uniforms[0], *view.crop_area)
  log_range = (math.log(bound) for bound in view.crop_aspect)
  aspect = math.exp(_between(uniforms[1], *log_range))
  h = min(max(round(math.sqrt(area / aspect)), 1), height)
  w = min(max(round(math.sqrt(area * aspect)), 1), width)
  top = int(uniforms[2] * (height - h + 1))
  left = int(uniforms[3] * (width - w + 1))
  return slice(top, top + h), slice(left, left + w)


def random_boxes(
  height: int,
  width: int,
  *,
  uniforms: Sequence[np.ndarray],
  size: int,
  views: Sequence[View],
) -> np.ndarray:
  """What `random_crop_flip` shows of many images of one size, to the last pixel.

  It takes a hundredth of the time of as many calls of `random_scale` and
  `random_patch`.

  Args:
    height: of the images, in pixels.
    width: likewise.
    uniforms: for each view [N, NUM_UNIFORMS], as in `random_crop_flip`.
    size: side of its result.
    views: ranges of the crops, probability of the flip.

  Returns:
    int32[N, views, 6]: of the image whose sides are divided, top, left, rows and
    columns; by what they are divided, as `random_scale` has it; and 1 where the crop is
    flipped, else 0.
  """

  def patches(height: Any, width: Any) -> np.ndarray:
    each = zip(uniforms, views, strict=True)
    return np.stack([_patches(height, width, draws, view) for draws, view in each], 1)

  whole = patches(height, width)
  scale = 1 << np.frexp(np.maximum(whole[..., 2:].min((1, 2)) // size, 1))[1] - 1
  found = whole
  if scale.max(initial=1) > 1:
    found = patches(-(-height // scale), -(-width // scale))
  flips = [draws[:, 4] < view.flip for draws, view in zip(uniforms, views, strict=True)]
  scales = np.broadcast_to(scale[:, None], found.shape[:2])
  return np.concatenate(
    [found, np.stack([scales, np.stack(flips, 1)], -1)], -1, dtype=np.int32
  )


def _patches(height: Any, width: Any, uniforms: np.ndarray, view: View) -> np.ndarray:
  """`random_patch` of many images: int [N, 4], top, left, rows, columns."""
  area, aspect, top, left, _ = uniforms.T
  if tuple(view.crop_area) == tuple(view.crop_aspect) == (1, 1):
    rows, columns = np.full_like(area, height), np.full_like(area, width)
  else:
    area = height * width * _between(area, *view.crop_area)
    log_range = (math.log(bound) for bound in view.crop_aspect)
    aspect = np.exp(_between(aspect, *log_range))
    rows = np.clip(np.rint(np.sqrt(area / aspect)), 1, height)
    columns = np.clip(np.rint(np.sqrt(area * aspect)), 1, width)
  top, left = top * (height - rows + 1), left * (width - columns + 1)
  # To whole numbers as `int` does it: what is below 1 is 0.
  return np.stack([top, left, rows, columns], -1).astype(np.int64)


def random_scale(
  height: int,
  width: int,
  *,
  uniforms: Sequence[Sequence[float] | np.ndarray],
  size: int,
  views: Sequence[View],
) -> int:
  """By what an image's sides are divided before `random_crop_flip`.

  Args:
    height: of the image, in pixels.
    width: likewise.
    uniforms: for each view, as in `random_crop_flip`.
    size: side of its result.
    views: ranges of the crops.

  Returns:
    The largest power of 2 that leaves each crop `size` pixels a side, at least 1.
  """
  if min(height, width) < 2 * size:  # as most often where images are small
    return 1
  patches = [
    random_patch(height, width, draw, view)
    for draw, view in zip(uniforms, views, strict=True)
  ]
  sides = [len(range(height)[rows]) for rows, _ in patches]
  sides += [len(range(width)[columns]) for _, columns in patches]
  return _scale(min(sides), size)


def central_scale(height: int, width: int, size: int, fraction: float) -> int:
  """By what an image is divided before `central_crop`; see `random_scale`."""
  side = int(fraction * min(height, width))
  return _scale(side, size)


def _scale(side: int, size: int) -> int:
  """The largest power of 2 that leaves a side `size` pixels, at least 1."""
  return 1 << max(side // size, 1).bit_length() - 1


def central_crop(image: np.ndarray, size: int, fraction: float) -> np.ndarray:
  """Crops the central square and resizes it: BYOL's evaluation.

  Args:
    image: uint8[H, W, C].
    size: side of the result in pixels.
    fraction: side of the square relative to the image's shorter side, in
      (0, 1]; BYOL takes 224 / 256 on ImageNet.

  Returns:
    uint8[size, size, C].
  """
  height, width = image.shape[:2]
  side = max(int(fraction * min(height, width)), 1)
  top, left = (height - side + 1) // 2, (width - side + 1) // 2
  return _resize(image[top : top + side, left : left + side], size)


def _between(uniform: Any, low: float, high: float) -> Any:
  return low + uniform * (high - low)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
  if image.shape[:2] == (size, size):
    return image
  return reduce.resized(image, size, size, cv2.INTER_CUBIC)
