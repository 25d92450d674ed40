"""Decoding with OpenCV, beside Pillow, which wrote the files."""

import io
import pathlib
import struct
import time

import cv2
import numpy as np
import PIL.Image
import pytest
import skimage.data

from byol_jax.data import images
from byol_jax.data.sources import Unreadable
from tests.prepared import encode

# Photographs as others have compressed them, where they lie beside the clone.
REAL = pathlib.Path(__file__).parents[3] / "shared" / "imagenet_samples"
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def _noise(*shape, dtype=np.uint8):
  high = np.iinfo(dtype).max + 1
  return np.random.default_rng(0).integers(0, high, shape, dtype=dtype)


def _pillow(encoded, channels):
  decoded = PIL.Image.open(io.BytesIO(encoded)).convert(MODES[channels])
  pixels = np.asarray(decoded)
  return pixels.reshape(*pixels.shape[:2], channels)


def _encode_as(mode, image, kind, **options):
  """A file in a mode that Pillow cannot take from an array."""
  buffer = io.BytesIO()
  PIL.Image.fromarray(image).convert(mode).save(buffer, kind, **options)
  return buffer.getvalue()


@pytest.mark.parametrize("channels", MODES)
def test_png_is_decoded_exactly(channels):
  image = _noise(9, 14, channels)
  encoded = encode(image.squeeze(-1) if channels == 1 else image)
  np.testing.assert_array_equal(images.decode(encoded, channels), image)


@pytest.mark.parametrize("kind", ["BMP", "PPM", "TIFF", "WEBP"])
def test_other_lossless_files_are_decoded_to_rgb(kind):
  image = _noise(9, 14, 3)
  options = {"lossless": True} if kind == "WEBP" else {}
  encoded = encode(image, kind, **options)
  np.testing.assert_array_equal(images.decode(encoded, 3), image)


def test_grey_is_repeated():
  grey = _noise(9, 14)
  found = images.decode(encode(grey), 3)
  np.testing.assert_array_equal(found, np.stack([grey] * 3, axis=-1))


def test_alpha_is_dropped():
  rgba = _noise(9, 14, 4)
  np.testing.assert_array_equal(images.decode(encode(rgba), 3), rgba[..., :3])


@pytest.mark.parametrize("channels", MODES)
def test_grey_with_alpha_becomes_any_of_the_three(channels):
  grey, alpha = _noise(2, 9, 14)
  rgba = np.stack([grey, grey, grey, alpha], axis=-1)
  found = images.decode(_encode_as("LA", rgba, "PNG"), channels)
  np.testing.assert_array_equal(found, rgba[..., :channels])


@pytest.mark.parametrize("channels", [1, 3])
def test_one_bit_becomes_black_and_white(channels):
  bits = _noise(9, 14) > 127
  found = images.decode(encode(bits), channels)
  expected = np.repeat(np.where(bits, 255, 0)[..., None], channels, axis=-1)
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("colours", [2, 7, 200])  # in 1, 4 and 8 bits
def test_a_palette_becomes_its_colours(colours):
  palette = _noise(colours, 3)
  indices = np.random.default_rng(1).integers(0, colours, (30, 40), dtype=np.uint8)
  image = PIL.Image.fromarray(indices)
  image.putpalette(palette.tobytes())
  buffer = io.BytesIO()
  image.save(buffer, "PNG")
  np.testing.assert_array_equal(images.decode(buffer.getvalue(), 3), palette[indices])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_without_alpha_there_are_not_four_channels(mode):
  with pytest.raises(Unreadable, match=r"has \d channels of uint8, .* says 4 of uint8"):
    images.decode(_encode_as(mode, _noise(9, 14, 3), "PNG"), 4)


@pytest.mark.parametrize("channels", MODES)
@pytest.mark.parametrize("shape", [(9, 14), (9, 14, 3), (9, 14, 4)])
def test_16_bits_are_refused_and_not_cut_to_8(shape, channels):
  encoded = cv2.imencode(".png", _noise(*shape, dtype=np.uint16))[1].tobytes()
  with pytest.raises(Unreadable, match=f"of uint16, .* says {channels} of uint8"):
    images.decode(encoded, channels)


def test_exif_orientation_is_ignored():
  exif = PIL.Image.Exif()
  exif[0x0112] = 6  # "rotate by 90 degrees"
  encoded = encode(np.zeros((8, 24, 3), np.uint8), "JPEG", exif=exif)
  assert images.decode(encoded, 3).shape == (8, 24, 3)
  assert images.decode(encoded, 1).shape == (8, 24, 1)


@pytest.mark.parametrize("encoded", [b"", b"no image at all"])
def test_bytes_that_are_no_image(encoded):
  with pytest.raises(Unreadable, match=rf"its {len(encoded)} bytes cannot be decoded"):
    images.decode(encoded, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("missing", [1, 500])
def test_a_truncated_file_is_no_image(kind, missing):
  encoded = encode(skimage.data.coffee(), kind)
  with pytest.raises(Unreadable, match="cannot be decoded"):
    images.decode(encoded[:-missing], 3)


def _jpegs():
  """Photographs in the variants of JPEG that data sets hold."""
  colour, grey = skimage.data.astronaut()[:301, :203], skimage.data.camera()[:99]
  return {
    "usual": encode(colour, "JPEG"),
    "strong": encode(colour, "JPEG", quality=20),
    "progressive": encode(colour, "JPEG", progressive=True),
    "not subsampled": encode(colour, "JPEG", subsampling=0, quality=95),
    "grey": encode(grey, "JPEG"),
    "cmyk": _encode_as("CMYK", colour, "JPEG"),
  } | {path.stem: path.read_bytes() for path in sorted(REAL.glob("*.JPEG"))[::20]}


@pytest.mark.parametrize("encoded", _jpegs().values(), ids=_jpegs())
def test_jpegs_decode_to_rgb_as_in_pillow(encoded):
  # Both decode with libjpeg-turbo; builds differ by one step of rounding.
  found = images.decode(encoded, 3).astype(int)
  np.testing.assert_allclose(found, _pillow(encoded, 3), atol=2)


def test_a_grey_jpeg_stays_grey_as_in_pillow():
  encoded = _jpegs()["grey"]
  found = images.decode(encoded, 1).astype(int)
  np.testing.assert_allclose(found, _pillow(encoded, 1), atol=2)


def test_a_jpeg_looks_like_the_photograph_that_it_was_made_of():
  photograph = skimage.data.astronaut()
  found = images.decode(encode(photograph, "JPEG", quality=95), 3)
  assert np.abs(found.astype(int) - photograph).mean() < 5  # 1.95; as BGR 32


def _overlaps(size_in, size_out):
  """How much of each pixel of `size_in` lies in each of `size_out`, rows of sum 1."""
  edges = np.arange(size_out + 1) * size_in / size_out
  pixels = np.arange(size_in)
  low = np.maximum(edges[:-1, None], pixels)
  high = np.minimum(edges[1:, None], pixels + 1)
  return np.maximum(high - low, 0) * size_out / size_in


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
  ("shape", "side", "small"),
  [
    ((40, 60), 20, (20, 30)),
    ((60, 40), 39, (58, 39)),
    ((37, 101), 12, (12, 33)),
    ((5, 3), 1, (2, 1)),
    ((1000, 7), 3, (429, 3)),
  ],
)
def test_shrunk_images_are_averages_over_areas(shape, side, small, channels):
  image = _noise(*shape, channels)
  found = images.shrunk(image, side)
  assert found.shape == (*small, channels)
  assert found.dtype == np.uint8
  rows, columns = (_overlaps(*pair) for pair in zip(shape, small, strict=True))
  wanted = np.einsum("ih,hwc,jw->ijc", rows, image.astype(float), columns)
  np.testing.assert_allclose(found, wanted, atol=0.51)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_loses_nothing(channels):
  image = _noise(9, 14, channels)
  encoded = images.encode(image)
  np.testing.assert_array_equal(_pillow(encoded, channels), image)
  np.testing.assert_array_equal(images.decode(encoded, channels), image)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_has_its_quality(channels):
  image = skimage.data.cat()[:80, :90, :channels]
  encoded = images.encode(image, 95)
  stored = image if channels == 3 else image[..., 0]
  assert encoded == encode(stored, "JPEG", quality=95)


def test_what_is_too_long_for_jpeg_becomes_png():
  for width, start in ((65_500, b"\xff\xd8"), (65_501, b"\x89PNG")):
    image = np.zeros((1, width, 3), np.uint8)
    encoded = images.encode(image, 95)
    assert encoded.startswith(start)
    assert images.decode(encoded, 3).shape == image.shape


# Images that claim to be huge.


def _claiming(encoded, height, width):
  """The same file with another size in its header."""
  content = bytearray(encoded)
  if encoded[:4] == b"\x89PNG":
    content[16:24] = struct.pack(">II", width, height)
  elif encoded[:2] == b"BM":
    content[18:26] = struct.pack("<ii", width, height)
  else:
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
  return bytes(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_an_image_that_claims_to_be_huge_is_not_decoded(kind):
  encoded = _encode_as("RGB", _noise(9, 8, 3), kind)
  assert images.decode(_claiming(encoded, 9, 8), 3).shape == (9, 8, 3)
  with pytest.raises(Unreadable, match=r"bytes claim \d+ pixels, more than 178956970"):
    images.decode(_claiming(encoded, 32767, 32767), 3)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of what is cut
@pytest.mark.parametrize(
  ("kind", "options"),
  [
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"exif": b"Exif\x00\x00" + bytes(300), "comment": b"\xff\xc0" * 9}),
    ("WEBP", {}),
    ("BMP", {}),
    ("GIF", {}),
    ("TIFF", {}),
  ],
)
def test_the_claim_is_that_of_the_header(kind, options):
  encoded = _encode_as("RGB", _noise(9, 14, 3), kind, **options)
  assert images._claimed(encoded) == 9 * 14
  for kept in range(len(encoded)):  # what is damaged claims nothing, or what it has
    assert images._claimed(encoded[:kept]) in (0, 9 * 14)


@pytest.mark.skipif(not REAL.exists(), reason="no photographs beside the clone")
def test_the_claim_of_photographs():
  for path in sorted(REAL.rglob("*.JPEG"))[:50]:
    with PIL.Image.open(path) as image:
      assert images._claimed(path.read_bytes()) == image.width * image.height


# Images whose headers do not fit what follows.


@pytest.mark.parametrize("kind", ["WEBP", "BMP"])
def test_sides_that_opencv_does_not_take_are_one_line(kind):
  """It raises an error of its own for sides of more than 2^20 pixels."""
  encoded = _encode_as("RGB", _noise(9, 8, 3), kind, lossless=True, exif=bytes(9))
  claiming = bytearray(encoded)
  if kind == "WEBP":  # sides of the canvas, less 1, in three bytes each
    place = encoded.index(b"VP8X") + 12
    claiming[place : place + 6] = (2**22).to_bytes(3, "little") + bytes(3)
  else:
    claiming[18:26] = struct.pack("<ii", 2**22, 8)
  with pytest.raises(Unreadable, match=f"its {len(encoded)} bytes cannot be"):
    images.decode(bytes(claiming), 3)


def test_a_png_of_which_a_chunk_claims_gigabytes_is_refused_at_once():
  encoded = encode(_noise(9, 8, 3))
  images.decode(encoded + b"what follows the end does not count", 3)
  chunk = encoded.index(b"IDAT") - 4
  claiming = encoded[:chunk] + struct.pack(">I", 2**31 - 1) + encoded[chunk + 4 :]
  began = time.monotonic()
  with pytest.raises(Unreadable, match="cannot be decoded"):
    images.decode(claiming, 3)
  assert time.monotonic() - began < 1  # OpenCV by itself takes ten seconds
