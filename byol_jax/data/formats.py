"""Image files as they are found in the wild: what is in them, and their pixels.

Pillow reads photographs and drawings, and OpenCV, which is faster, the pixels of most
JPEGs; tifffile and NumPy read images of other numbers of channels, such as those of
satellites. The content says what a file is, not its name.

Orientation (EXIF) is applied, transparency is laid on white, 16 bits are scaled to 8,
and colour profiles (ICC) are ignored.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from byol_jax.data import reduce
from byol_jax.data.images import MAX_PIXELS
from byol_jax.data.sources import OutOfReach, Unreadable

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # Pillow's names
BANDS = "bands"  # the format of what tifffile or NumPy read

# MPO is what Pillow calls a JPEG with further pictures behind it, as phones write it.
_END = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL = 4096  # bytes at the end of a file in which its end mark is looked for
# Endings of files that are meant as images, whether they can be read or not.
_IMAGE_ENDINGS = {
  *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
  *(".gif", ".ppm", ".pgm", ".pnm", ".npy", ".heic", ".heif", ".avif", ".jxl", ".jp2"),
  *(".j2k", ".svg", ".psd", ".exr", ".hdr", ".ico", ".tga"),
  *(".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"),
}
_ORIENTATION = 0x0112
_TRANSPOSED = (5, 6, 7, 8)  # orientations that swap height and width
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # OpenCV's; of the transposed, after it
# By what libjpeg divides sides -> how OpenCV asks for it.
_REDUCED = {
  1: cv2.IMREAD_GRAYSCALE,
  2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
  4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
  8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_NPY = b"\x93NUMPY"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS = 258  # the tag of a TIFF that says how many a number has
_INTERPRETATION = 262  # that which says whether 0 is white


class Header(NamedTuple):
  """What a file says of its image.

  Attributes:
    format: Pillow's name, or `BANDS`.
    height: in pixels, once it is upright.
    width: likewise.
    channels: 1 (grey), 3 (colour) or the number of bands.
    profile: whether it brings a colour profile.
  """

  format: str
  height: int
  width: int
  channels: int
  profile: bool = False


def is_meant_as_image(name: str) -> bool:
  """Whether a file's name says that it is an image, of whatever format."""
  return os.path.splitext(name)[1].lower() in _IMAGE_ENDINGS


def inspect(path: str | os.PathLike[str]) -> Header:
  """Reads the header of an image file.

  A JPEG or PNG without an end is decoded, to see whether it is cut off.

  Raises:
    Unreadable: it is none, of a format that is not read, too large, or damaged.
  """
  with _reasons(path), open(path, "rb") as file:
    start = file.read(6)
    if not start:
      raise Unreadable("the file is empty")
    if start == _NPY:
      array = np.load(path, mmap_mode="r", allow_pickle=False)
      return _bands_header(array.shape, array.dtype)
    if start[:4] in _TIFF:
      with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        if not _is_picture(page) or _has_deep_planes(page):
          return _bands_header(_bands_last(page), page.dtype)
    file.seek(0)
    with _open(file) as image:
      header = _header(image)
    if header.format in _END and _END[header.format] not in _tail(file):
      decode(path, header, header.channels, max(_REDUCED))
    return header


def decode(
  path: str | os.PathLike[str], header: Header, channels: int, scale: int = 1
) -> np.ndarray:
  """Decodes an image file.

  Args:
    path: the file.
    header: what `inspect` says of it.
    channels: wanted. 1 and 3 are made of each other; any other number must be there.
    scale: a power of 2, by which the sides are divided: by libjpeg, of a JPEG and up
      to 8, which is faster; else by averaging.

  Returns:
    uint8[H, W, channels], of the size that the header says divided by `scale`, rounded
    up.

  Raises:
    Unreadable: it is damaged, or has other channels.
  """
  with _reasons(path):
    if header.format == BANDS:
      image = _bands(path)
      if (image.shape[-1], channels) == (1, 3):
        image = image.repeat(3, axis=2)
      if image.shape[-1] != channels:
        raise Unreadable(f"it has {image.shape[-1]} channels, not {channels}")
      return reduce.averaged(image, scale)
    with open(path, "rb") as file, _open(file) as picture:
      if picture.format not in ("JPEG", "MPO"):
        return reduce.averaged(_pixels(picture, channels), scale)
      file.seek(0)
      of_jpeg = min(scale, max(_REDUCED))
      pixels = _jpeg(picture, file.read(), channels, of_jpeg)
      if pixels is None:
        if scale > 1:
          width, height = picture.size
          picture.draft("", (max(width // of_jpeg, 1), max(height // of_jpeg, 1)))
        pixels = _pixels(picture, channels)
      return reduce.averaged(pixels, scale // of_jpeg)


def _open(file: BinaryIO) -> Image.Image:
  Image.init()  # its readers, the first time
  return Image.open(file, formats=FORMATS)


def _header(image: Image.Image) -> Header:
  width, height = image.size
  _check_size(height, width)
  if image.mode == "F":  # as in .pfm: their range is not known
    raise Unreadable("its pixels are float32, not uint8 or uint16")
  # Pillow turns a TIFF by itself. Where EXIF comes last, only decoding would find it.
  if (
    "exif" in image.info
    and image.format != "TIFF"
    and image.getexif().get(_ORIENTATION) in _TRANSPOSED
  ):
    width, height = height, width
  channels = 1 if image.mode in ("1", "L", "LA") or image.mode[0] == "I" else 3
  profile = "icc_profile" in image.info
  return Header(image.format or "", height, width, channels, profile)


def _jpeg(
  image: Image.Image, content: bytes, channels: int, scale: int
) -> np.ndarray | None:
  """What `_pixels` makes of a JPEG, by OpenCV; None where Pillow has to see to it."""
  if (image.mode, channels) not in (("L", 1), ("L", 3), ("RGB", 3)):
    return None
  flags = _REDUCED[scale] | cv2.IMREAD_IGNORE_ORIENTATION
  if channels == 3:
    flags |= cv2.IMREAD_COLOR_RGB
  pixels: Any = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
  if pixels is None:  # It is damaged, and Pillow says in what way.
    return None
  orientation = image.getexif().get(_ORIENTATION, 1)
  if orientation in _TRANSPOSED:
    pixels = cv2.transpose(pixels)
  if orientation in _FLIPS:
    pixels = cv2.flip(pixels, _FLIPS[orientation])
  return pixels.reshape(*pixels.shape[:2], channels)


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
  """Pillow's image as an array: upright, opaque and of 8 bits."""
  if channels not in (1, 3):
    raise Unreadable(f"it has {len(image.getbands())} channels, not {channels}")
  image.load()
  if image.getexif().get(_ORIENTATION, 1) != 1:
    image = ImageOps.exif_transpose(image)
  if image.mode[0] == "I":  # Pillow would cut them at 255
    image = Image.fromarray(_deep_grey(image))
  if image.has_transparency_data:
    image = image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
  mode = "L" if channels == 1 else "RGB"
  pixels = np.array(image if image.mode == mode else image.convert(mode))
  return pixels.reshape(*pixels.shape[:2], channels)


def _deep_grey(image: Image.Image) -> np.ndarray:
  """Grey of more than 8 bits as uint8 [H, W], opaque."""
  deep = np.asarray(image).astype(np.float32)
  tags = getattr(image, "tag_v2", {})
  bits = tags.get(_BITS, (16,))[0]  # a TIFF may have 12
  white = 2.0**bits - 1
  if tags.get(_INTERPRETATION) == 0:
    deep = white - deep  # 0 is white, which Pillow sees to in 8 bits alone
  if "transparency" in image.info:
    deep[deep == image.info["transparency"]] = white
  return _to_eight_bits(deep, white)


def _bands(path: str | os.PathLike[str]) -> np.ndarray:
  """An image that tifffile or NumPy reads, uint8 [H, W, C]."""
  with open(path, "rb") as file:
    is_npy = file.read(len(_NPY)) == _NPY
  if is_npy:
    image = np.load(path, allow_pickle=False)
  else:
    with tifffile.TiffFile(path) as tiff:
      page = tiff.pages.first
      image = page.asarray()
      if _bands_last(page) != page.shape:
        image = np.moveaxis(image, 0, -1)
  if image.dtype == np.uint16:
    image = _to_eight_bits(image.astype(np.float32))
  return np.ascontiguousarray(image.reshape(*image.shape[:2], -1))


def _to_eight_bits(image: np.ndarray, most: float = 65535) -> np.ndarray:
  return np.round(image / np.float32(most / 255)).clip(0, 255).astype(np.uint8)


def _is_picture(page: tifffile.TiffPage) -> bool:
  """Whether its channels are colours and transparency, not the bands of a sensor.

  Those are whole numbers from 0 on of up to 16 bits.
  """
  is_whole = page.sampleformat == tifffile.SAMPLEFORMAT.UINT
  is_few = page.samplesperpixel <= 4 and 0 not in page.extrasamples
  return is_few and is_whole and page.bitspersample <= 16


def _has_deep_planes(page: tifffile.TiffPage) -> bool:
  """Whether its colours of 16 bits lie one after the other, uncompressed.

  Pillow takes each of their bytes for a pixel.

  Raises:
    Unreadable: so it is, and they are no upright RGB, which tifffile would give as it
      is.
  """
  apart = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
  plain = page.compression == tifffile.COMPRESSION.NONE
  if not (apart and plain and page.samplesperpixel > 1 and page.bitspersample > 8):
    return False
  turned = _ORIENTATION in page.tags and page.tags[_ORIENTATION].value != 1
  is_rgb = page.photometric == tifffile.PHOTOMETRIC.RGB and page.samplesperpixel == 3
  if turned or not is_rgb or page.bitspersample != 16:
    raise Unreadable(
      f"its channels of {page.bitspersample} bits lie one after the other, and are not"
      " upright RGB: convert it to PNG"
    )
  return True


def _bands_last(page: tifffile.TiffPage) -> tuple[int, ...]:
  """[H, W, C], where the file has one band after the other."""
  shape = page.shape
  is_first = len(shape) == 3 and page.axes.startswith("S")
  return (*shape[1:], shape[0]) if is_first else shape


def _bands_header(shape: tuple[int, ...], dtype: np.dtype | None) -> Header:
  if len(shape) not in (2, 3) or 0 in shape:
    raise Unreadable(f"its form is {list(shape)}, not [height, width, channels]")
  if dtype not in (np.uint8, np.uint16):
    raise Unreadable(f"its pixels are {dtype}, not uint8 or uint16")
  height, width, channels = (*shape, 1)[:3]
  if height <= 4 < min(width, channels):
    raise Unreadable(
      f"its form is {list(shape)}, with channels first: give [height, width, channels]"
    )
  _check_size(height, width)
  return Header(BANDS, height, width, channels)


def _check_size(height: int, width: int) -> None:
  if height * width > MAX_PIXELS:
    raise Unreadable(_too_large(f"{width} x {height} pixels"))


def _too_large(has: str) -> str:
  limit = MAX_PIXELS // 10**6
  return f"it has {has}, and {limit} million are read: cut it into tiles"


def _tail(file: BinaryIO) -> bytes:
  file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
  return file.read()


@contextlib.contextmanager
def _reasons(path: str | os.PathLike[str]) -> Iterator[None]:
  """Turns what libraries raise on a bad file into a reason of one line."""
  try:
    yield
  except Unreadable:
    raise
  except UnidentifiedImageError as error:
    ending = os.path.splitext(path)[1].lower()
    named = ending if ending in _IMAGE_ENDINGS else "this file"
    raise Unreadable(
      f"{named} is damaged, or no format that is read: convert it to JPEG or PNG"
    ) from error
  except Image.DecompressionBombError as error:
    raise Unreadable(_too_large("more pixels")) from error
  # Decoders raise errors of many kinds on damaged content.
  except Exception as error:
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    # A decoder's own OSError has no number; one that looks in impossible places has.
    of_disk = getattr(error, "errno", None) not in (None, errno.EINVAL, errno.EOVERFLOW)
    kind = OutOfReach if of_disk else Unreadable
    raise kind((text or type(error).__name__)[:200]) from error
