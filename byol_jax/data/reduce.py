"""Images at a part of their size, whoever asks for them and in whatever form they come.

Bicubic interpolation takes 16 pixels around a point, however many there are: of a large
image it shows a sample. So what is more than twice as large as wanted is averaged over
squares first, by the decoder of a JPEG, which then has less to do, or here. Both come
to the same within half a level in the mean: the same photograph has the same features
as a JPEG, as a PNG and as an array.
"""

from collections.abc import Callable

import cv2
import numpy as np

from byol_jax.data.sources import Reducible, Source

_MOST_CHANNELS = 128  # that OpenCV 5 takes; 4 takes 512

# (index, `scale_for` of `Reducible`) -> image, label
Read = Callable[[int, Callable[[int, int], int]], tuple[np.ndarray, int]]


def averaged(image: np.ndarray, scale: int) -> np.ndarray:
  """Means over squares of `scale` pixels a side.

  The first square is in the corner; the last ones may reach over the edge, whose pixels
  go on beyond it. That is where a JPEG has its squares too.

  Args:
    image: uint8[H, W, C].
    scale: 1 or more.

  Returns:
    uint8[H / scale, W / scale, C], rounded up.
  """
  if scale == 1:
    return image
  height, width = image.shape[:2]
  below, right = -height % scale, -width % scale
  if below or right:
    image = np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
  height, width = image.shape[0] // scale, image.shape[1] // scale
  return resized(image, height, width, cv2.INTER_AREA)


def resized(image: np.ndarray, height: int, width: int, how: int) -> np.ndarray:
  """An image of another size, of as many channels as it has, by OpenCV.

  Args:
    image: uint8[H, W, C].
    height, width: in pixels.
    how: OpenCV's interpolation.

  Returns:
    uint8[height, width, C].
  """
  channels = image.shape[-1]
  if channels > _MOST_CHANNELS:
    blocks = np.split(image, range(_MOST_CHANNELS, channels, _MOST_CHANNELS), axis=2)
    parts = [resized(np.ascontiguousarray(b), height, width, how) for b in blocks]
    return np.concatenate(parts, axis=2)
  found = cv2.resize(image, (width, height), interpolation=how)
  return found.reshape(height, width, channels)  # OpenCV drops a single channel


def reader(source: Source) -> Read:
  """What reads a source's images with their labels, at a part of their size.

  Asked for once for many images: to look at what a source can do takes as long as to
  crop a small one.
  """
  if isinstance(source, Reducible):
    return source.reduced

  def read(index: int, scale_for: Callable[[int, int], int]) -> tuple[np.ndarray, int]:
    image, label = source[index]
    return averaged(image, scale_for(*image.shape[:2])), label

  return read
