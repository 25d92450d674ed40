"""Encoded images to pixels."""

import cv2
import numpy as np

from byol_jax.errors import UserError

# Channels -> how OpenCV reads them. The EXIF orientation is ignored, as in
# TensorFlow's and Pillow's decoders; the depth is kept, so that 16 bits are noticed.
_FLAGS: dict[int, int] = {
  1: cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH,
  3: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH,
  4: cv2.IMREAD_UNCHANGED,
}


def decode(encoded: bytes, channels: int) -> np.ndarray:
  """Decodes a JPEG, PNG or other file that OpenCV knows.

  Args:
    encoded: content of the file.
    channels: 1 (grey), 3 (RGB: grey is repeated, alpha is dropped) or 4 (RGBA). Of a
      TIFF, OpenCV multiplies colours by alpha before it drops it, and applies the
      orientation.

  Returns:
    uint8[H, W, channels].

  Raises:
    UserError: the bytes are no image, or not one of these channels and 8 bits.
  """
  pixels = np.frombuffer(encoded, np.uint8)
  image = cv2.imdecode(pixels, _FLAGS[channels]) if encoded else None
  if image is None:
    raise UserError(
      f"an image of {len(encoded)} bytes cannot be decoded: prepare the data set again"
    )
  image = image.reshape(*image.shape[:2], -1)  # OpenCV drops a single channel
  if image.shape[-1] != channels or image.dtype != np.uint8:
    raise UserError(
      f"an image has {image.shape[-1]} channels of {image.dtype}, and its data set"
      f" says {channels} of uint8: prepare the data set again"
    )
  return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA) if channels == 4 else image
