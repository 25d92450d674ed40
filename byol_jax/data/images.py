"""Encoded images to pixels, and back."""

import io
import struct
from typing import Any

import cv2
import numpy as np
import PIL.Image

from byol_jax.data.sources import Unreadable

# Channels -> how OpenCV reads them. The EXIF orientation is ignored, as in
# TensorFlow's and Pillow's decoders; the depth is kept, so that 16 bits are noticed.
_FLAGS: dict[int, int] = {
  1: cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH,
  3: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH,
  4: cv2.IMREAD_UNCHANGED,
}
CHANNELS = tuple(_FLAGS)
_PNG = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 178_956_970  # of one image: where Pillow refuses it
_LONGEST_JPEG = 65_500  # pixels of a side, in libjpeg


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
    Unreadable: the bytes are no image, or not one of these channels and 8 bits; or they
      claim more than `MAX_PIXELS`, which would take gigabytes.
  """
  if (claimed := _claimed(encoded)) > MAX_PIXELS:
    raise Unreadable(
      f"its {len(encoded)} bytes claim {claimed} pixels, more than {MAX_PIXELS}"
    )
  image = None if _has_cut_chunk(encoded) else _decoded(encoded, _FLAGS[channels])
  if image is None:
    raise Unreadable(f"its {len(encoded)} bytes cannot be decoded")
  image = image.reshape(*image.shape[:2], -1)  # OpenCV drops a single channel
  if image.shape[-1] != channels or image.dtype != np.uint8:
    raise Unreadable(
      f"it has {image.shape[-1]} channels of {image.dtype}, and its data set says"
      f" {channels} of uint8"
    )
  return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA) if channels == 4 else image


def _decoded(encoded: bytes, flags: int) -> np.ndarray | None:
  """What OpenCV makes of it; None where it cannot, or will not for its size."""
  if not encoded:
    return None
  try:
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
  except cv2.error:
    return None


def _has_cut_chunk(encoded: bytes) -> bool:
  """Whether a chunk of a PNG claims more bytes than there are.

  OpenCV would take up to 2 GB and ten seconds before it says so.
  """
  if not encoded.startswith(_PNG):
    return False
  place, kind = len(_PNG), b""
  while place + 8 <= len(encoded) and kind != b"IEND":
    length, kind = struct.unpack_from(">I4s", encoded, place)
    place += 12 + length  # with the checksum
  return place > len(encoded)


def _claimed(encoded: bytes) -> int:
  """Pixels of an image by its header; 0 where it has none that is known.

  PNG and JPEG are looked at here, in a fraction of the time that Pillow takes.
  """
  if encoded.startswith(_PNG) and len(encoded) >= 24:
    width, height = struct.unpack_from(">II", encoded, 16)
    return width * height
  if encoded[:2] == b"\xff\xd8":
    return _claimed_by_jpeg(encoded)
  try:
    with PIL.Image.open(io.BytesIO(encoded)) as image:
      return image.width * image.height
  except PIL.Image.DecompressionBombError:
    return MAX_PIXELS + 1
  except Exception:  # whatever a damaged file makes of it: decoding will tell
    return 0


def _claimed_by_jpeg(encoded: bytes) -> int:
  place = 2
  while place + 9 <= len(encoded) and encoded[place] == 0xFF:
    kind = encoded[place + 1]
    if kind == 0xFF:  # padding
      place += 1
    elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # a frame begins
      height, width = struct.unpack_from(">HH", encoded, place + 5)
      return height * width
    else:
      place += 2 + struct.unpack_from(">H", encoded, place + 2)[0]
  return 0


def encode(image: np.ndarray, quality: int | None = None) -> bytes:
  """Encodes an image as PNG, or as JPEG.

  Args:
    image: uint8[H, W, C], 1 or 3 channels.
    quality: of the JPEG, up to 100; None for PNG, which loses nothing, and which it
      becomes too where a side is too long for JPEG.

  Returns:
    Content of the file.
  """
  pixels = image if image.shape[-1] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
  if quality is None or max(image.shape) > _LONGEST_JPEG:
    _, encoded = cv2.imencode(".png", pixels)
  else:
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
  return encoded.tobytes()


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
  """Shrinks an image until its shorter side has `side` pixels, by averaging over areas.

  Args:
    image: uint8[H, W, C], larger than that.
    side: in pixels.

  Returns:
    uint8[h, w, C]; the ratio of the sides is kept.
  """
  height, width = image.shape[:2]
  scale = side / min(height, width)
  size = max(round(scale * width), side), max(round(scale * height), side)
  found: Any = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  return found.reshape(*found.shape[:2], -1)  # OpenCV drops a single channel
