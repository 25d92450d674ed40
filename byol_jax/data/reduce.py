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
  height, width, channels = image.shape
  below, right = -height % scale, -width % scale
  if below or right:
    image = np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
  size = image.shape[1] // scale, image.shape[0] // scale
  found = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  return found.reshape(*size[::-1], channels)  # OpenCV drops a single channel


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
