"""Every kind of image file that people have, against the pixels it was made from."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from byol_jax.data import formats
from byol_jax.data.sources import OutOfReach, Unreadable

HEIGHT, WIDTH = 24, 40


def smooth(channels=3):
  """A gradient with a bright corner, which no orientation leaves as it is."""
  y, x = np.mgrid[:HEIGHT, :WIDTH] / [[[HEIGHT]], [[WIDTH]]]
  planes = [x, y, 1 - x * y, (x + y) / 2, x * y, y * y, x * x]
  image = np.stack(planes[:channels], axis=-1) * 200
  image[:6, :10] += 50
  return image.astype(np.uint8)


COLOUR, GREY = smooth(), smooth(1)[..., 0]


def read(path, channels=None, scale=1):
  header = formats.inspect(path)
  image = formats.decode(path, header, channels or header.channels, scale)
  if scale == 1:
    assert image.shape[:2] == (header.height, header.width)
  assert image.dtype == np.uint8
  return header, image


def assert_close(image, wanted, bound):
  assert np.abs(image.astype(int) - wanted).mean() <= bound


# Name, mode in which it is written, options, mean error in grey values of 255.
@pytest.mark.parametrize(
  ("name", "mode", "options", "bound"),
  [
    ("baseline.jpg", "RGB", {"quality": 95, "subsampling": 0}, 2),
    ("progressive.jpg", "RGB", {"quality": 95, "progressive": True}, 2),
    ("UPPER.JPEG", "RGB", {"quality": 95}, 2),
    ("cmyk.jpg", "CMYK", {"quality": 95}, 3),
    ("plain.png", "RGB", {}, 0),
    ("opaque.png", "RGBA", {}, 0),
    ("palette.png", "P", {}, 12),
    ("lossless.webp", "RGB", {"lossless": True}, 0),
    ("lossy.webp", "RGB", {"quality": 95}, 3),
    ("plain.bmp", "RGB", {}, 0),
    ("plain.tif", "RGB", {}, 0),
    ("deflated.tif", "RGB", {"compression": "tiff_adobe_deflate"}, 0),
    ("lzw.tif", "RGB", {"compression": "tiff_lzw"}, 0),
    ("first.gif", "RGB", {}, 12),
    ("plain.ppm", "RGB", {}, 0),
  ],
)
def test_colour(tmp_path, name, mode, options, bound):
  image = Image.fromarray(COLOUR)
  image = image.quantize(256) if mode == "P" else image.convert(mode)
  image.save(tmp_path / name, **options)
  header, found = read(tmp_path / name)
  assert header.channels == 3
  assert_close(found, COLOUR, bound)
  assert_close(read(tmp_path / name, channels=1)[1][..., 0], luma(COLOUR), bound + 1)


def luma(image):
  return image @ [0.299, 0.587, 0.114]


def test_adobe_ycck(tmp_path):
  """A JPEG in YCCK, as Photoshop writes it: CMYK whose first three are rotated."""
  Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
  content = (tmp_path / "a.jpg").read_bytes()
  adobe = content.index(b"Adobe")
  assert content[adobe + 11] == 0  # the marker says CMYK ...
  ycck = content[: adobe + 11] + b"\x02" + content[adobe + 12 :]  # ... and now YCCK
  (tmp_path / "b.jpg").write_bytes(ycck)
  _, found = read(tmp_path / "b.jpg")
  # Adobe stores complements: C, M, Y in the file are now Y, Cb, Cr of the ink (JFIF).
  stored = np.asarray(Image.open(tmp_path / "a.jpg")).astype(float)
  y, cb, cr = (255 - stored[..., i] for i in range(3))
  red = y + 1.402 * (cr - 128)
  green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
  blue = y + 1.772 * (cb - 128)
  ink = np.stack([red, green, blue], -1).clip(0, 255)
  wanted = (255 - ink) * (255 - stored[..., 3:]) / 255
  assert_close(found, wanted, 3)


@pytest.mark.parametrize(("bits", "levels"), [(1, 2), (2, 4), (4, 16), (8, 256)])
def test_grey_png_of_few_bits(tmp_path, bits, levels):
  values = np.arange(WIDTH) % levels
  rows = np.tile(values, (HEIGHT, 1))
  write_png(tmp_path / "a.png", rows, bits)
  header, found = read(tmp_path / "a.png")
  assert header.channels == 1
  np.testing.assert_array_equal(found[..., 0], rows * (255 // (levels - 1)))


def test_grey_png_and_tiff_of_16_bits_are_scaled(tmp_path):
  deep = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 68).astype(np.uint16)
  write_png(tmp_path / "a.png", deep, 16)
  tifffile.imwrite(tmp_path / "a.tif", deep)
  wanted = np.round(deep / 257)
  for name in ("a.png", "a.tif"):
    header, found = read(tmp_path / name)
    assert header.channels == 1
    np.testing.assert_array_equal(found[..., 0], wanted)


def test_a_grey_tiff_of_12_bits_is_scaled_by_these(tmp_path):
  deep = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 4
  write_tiff(tmp_path / "a.tif", deep, 12)
  header, found = read(tmp_path / "a.tif")
  assert header.channels == 1
  np.testing.assert_array_equal(found[..., 0], np.round(deep / (4095 / 255)))


def write_tiff(path, values, bits):
  """A grey TIFF, which tifffile writes in 8 and 16 bits alone."""
  whole = "".join(f"{value:0{bits}b}" for value in values.ravel())
  data = int(whole, 2).to_bytes(len(whole) // 8, "big")
  short, long = 3, 4
  tags = [
    *((256, short, WIDTH), (257, short, HEIGHT), (258, short, bits), (259, short, 1)),
    *((262, short, 1), (273, long, 8), (277, short, 1), (278, short, HEIGHT)),
    (279, long, len(data)),
  ]
  entries = b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
  directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
  path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


def test_a_tiff_in_which_0_is_white(tmp_path):
  levels = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 256
  for dtype, one in ((np.uint8, 1), (np.uint16, 257)):
    deep = (levels * one).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="miniswhite")
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[1][..., 0], 255 - levels)


def test_colour_png_and_tiff_of_16_bits_are_scaled(tmp_path):
  deep = COLOUR.astype(np.uint16) * 257
  write_png(tmp_path / "a.png", deep, 16)
  tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
  for name in ("a.png", "a.tif"):
    np.testing.assert_array_equal(read(tmp_path / name)[1], COLOUR)


def write_png(path, image, bits):
  """A PNG of grey or colour with 1 to 16 bits, by the specification; not interlaced."""
  height, width = image.shape[:2]
  kind = 0 if image.ndim == 2 else 2
  if bits == 16:
    rows = image.reshape(height, -1).astype(">u2").view(np.uint8)
  else:
    planes = image[..., None].astype(np.uint8) >> np.arange(bits)[::-1] & 1
    rows = np.packbits(planes.reshape(height, -1), axis=1)
  raw = b"".join(b"\0" + row.tobytes() for row in rows)
  header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
  parts = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
  path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*p) for p in parts))


def png_chunk(kind, data):
  crc = struct.pack(">I", zlib.crc32(kind + data))
  return struct.pack(">I", len(data)) + kind + data + crc


def test_interlaced_png(tmp_path):
  """Adam7 by the specification: each pass is a small image of its own."""
  passes = [
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
    (1, 0, 2, 1),
  ]  # fmt: skip
  raw = b""
  for y, x, dy, dx in passes:
    for row in COLOUR[y::dy, x::dx]:
      raw += b"\0" + row.tobytes()
  header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
  parts = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
  content = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)
  (tmp_path / "a.png").write_bytes(content)
  np.testing.assert_array_equal(read(tmp_path / "a.png")[1], COLOUR)


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_transparency_is_laid_on_white(tmp_path, ending):
  alpha = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
  image = Image.fromarray(np.dstack([COLOUR, alpha]))
  options = {"lossless": True, "exact": True} if ending == "webp" else {}
  image.save(tmp_path / f"a.{ending}", **options)
  header, found = read(tmp_path / f"a.{ending}")
  assert header.channels == 3
  share = alpha[..., None] / 255
  np.testing.assert_allclose(found, COLOUR * share + 255 * (1 - share), atol=1)


def test_transparency_of_grey_and_palettes(tmp_path):
  alpha = np.where(np.arange(WIDTH) < 20, 0, 255) * np.ones((HEIGHT, 1))
  grey = Image.fromarray(np.dstack([GREY, alpha.astype(np.uint8)]), "LA")
  grey.save(tmp_path / "a.png")
  header, found = read(tmp_path / "a.png")
  assert header.channels == 1
  wanted = np.where(alpha > 0, GREY, 255)
  np.testing.assert_array_equal(found[..., 0], wanted)

  deep = Image.fromarray(GREY.astype(np.uint16) * 257)
  brightest = int(GREY.max())
  deep.save(tmp_path / "deep.png", transparency=257 * brightest)
  wanted = np.where(brightest > GREY, GREY, 255)
  np.testing.assert_array_equal(read(tmp_path / "deep.png")[1][..., 0], wanted)

  palette = Image.fromarray(GREY).quantize(8)
  palette.save(tmp_path / "b.png", transparency=0)
  hidden = np.asarray(palette) == 0
  _, found = read(tmp_path / "b.png")
  assert (found[hidden] == 255).all()
  np.testing.assert_array_equal(
    found[~hidden], np.asarray(palette.convert("RGB"))[~hidden]
  )


# EXIF 2.3, 4.6.4: where row 0 and column 0 of the stored image are in the scene.
UPRIGHT = {
  1: lambda image: image,
  2: lambda image: image[:, ::-1],
  3: lambda image: image[::-1, ::-1],
  4: lambda image: image[::-1],
  5: lambda image: image.transpose(1, 0, 2),
  6: lambda image: image.transpose(1, 0, 2)[:, ::-1],
  7: lambda image: image.transpose(1, 0, 2)[::-1, ::-1],
  8: lambda image: image.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_orientation_is_applied(tmp_path, orientation, ending):
  exif = Image.Exif()
  exif[0x0112] = orientation
  options = {"jpg": {"quality": 95, "subsampling": 0}, "webp": {"lossless": True}}
  path = tmp_path / f"a.{ending}"
  Image.fromarray(COLOUR).save(path, exif=exif, **options.get(ending, {}))
  header, found = read(path)
  wanted = UPRIGHT[orientation](COLOUR)
  assert (header.height, header.width) == wanted.shape[:2]
  assert_close(found, wanted, 2 if ending == "jpg" else 0)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_scale_divides_the_sides(tmp_path, ending):
  path = tmp_path / f"a.{ending}"
  Image.fromarray(COLOUR).save(path)
  for scale in (1, 2, 4, 8):
    assert read(path, scale=scale)[1].shape == (24 // scale, 40 // scale, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [4, 5, 7])
def test_bands(tmp_path, dtype, channels):
  image = smooth(channels)
  stored = image.astype(dtype) * (257 if dtype == np.uint16 else 1)
  np.save(tmp_path / "a.npy", stored)
  settings = {"photometric": "minisblack"}
  tifffile.imwrite(tmp_path / "a.tif", stored, planarconfig="contig", **settings)
  apart = np.moveaxis(stored, -1, 0)
  tifffile.imwrite(tmp_path / "b.tif", apart, planarconfig="separate", **settings)
  for name in ("a.npy", "a.tif", "b.tif"):
    header, found = read(tmp_path / name)
    assert header == (formats.BANDS, HEIGHT, WIDTH, channels, False)
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_colours_that_lie_apart_are_those_that_lie_together(
  tmp_path, dtype, order, compression
):
  stored = COLOUR.astype(dtype) * (257 if dtype == np.uint16 else 1)
  tifffile.imwrite(
    tmp_path / "a.tif",
    np.moveaxis(stored, -1, 0),
    photometric="rgb",
    planarconfig="separate",
    byteorder=order,
    compression=compression,
  )
  header, found = read(tmp_path / "a.tif")
  assert header.channels == 3
  np.testing.assert_array_equal(found, COLOUR)


@pytest.mark.parametrize(
  ("channels", "settings"),
  [
    (4, {"extrasamples": ["unassalpha"]}),
    (3, {"extratags": [(274, "H", 1, 6, True)]}),
  ],
)
def test_deep_planes_that_would_be_taken_for_bytes_are_refused(
  tmp_path, channels, settings
):
  stored = np.moveaxis(smooth(channels).astype(np.uint16) * 257, -1, 0)
  form = {"photometric": "rgb", "planarconfig": "separate"}
  tifffile.imwrite(tmp_path / "a.tif", stored, **form, **settings)
  with pytest.raises(
    Unreadable, match="of 16 bits lie one after the other, and are no"
  ):
    formats.inspect(tmp_path / "a.tif")


def test_grey_bands_are_shown_in_colour(tmp_path):
  np.save(tmp_path / "a.npy", GREY)
  np.testing.assert_array_equal(
    read(tmp_path / "a.npy", channels=3)[1], np.stack([GREY] * 3, axis=-1)
  )


def test_channels_first_are_refused(tmp_path):
  np.save(tmp_path / "a.npy", np.moveaxis(COLOUR, -1, 0))
  with pytest.raises(Unreadable, match=r"\[3, 24, 40\], with channels first: give"):
    formats.inspect(tmp_path / "a.npy")


def test_what_is_out_of_reach_is_not_damaged(tmp_path):
  Image.fromarray(COLOUR).save(tmp_path / "a.png")
  header = formats.inspect(tmp_path / "a.png")
  content = (tmp_path / "a.png").read_bytes()
  (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
  with pytest.raises(Unreadable) as damaged:
    formats.decode(tmp_path / "a.png", header, 3)
  assert not isinstance(damaged.value, OutOfReach)
  with pytest.raises(Unreadable) as odd, formats._reasons("a.tif"):
    (tmp_path / "a.png").open("rb").seek(-1)  # as a damaged offset asks for
  assert not isinstance(odd.value, OutOfReach)
  (tmp_path / "a.png").unlink()
  with pytest.raises(OutOfReach, match="No such file"):
    formats.decode(tmp_path / "a.png", header, 3)


def test_a_fourth_band_is_no_transparency(tmp_path):
  image = smooth(4)
  tifffile.imwrite(
    tmp_path / "a.tif", image, photometric="rgb", extrasamples=["unspecified"]
  )
  np.testing.assert_array_equal(read(tmp_path / "a.tif")[1], image)
  with pytest.raises(Unreadable, match="it has 4 channels, not 3"):
    read(tmp_path / "a.tif", channels=3)
  Image.fromarray(COLOUR).save(tmp_path / "a.png")
  with pytest.raises(Unreadable, match="it has 3 channels, not 4"):
    read(tmp_path / "a.png", channels=4)


def test_colour_profiles_are_noticed(tmp_path):
  Image.fromarray(COLOUR).save(tmp_path / "a.png", icc_profile=b"a profile")
  Image.fromarray(COLOUR).save(tmp_path / "b.png")
  assert formats.inspect(tmp_path / "a.png").profile
  assert not formats.inspect(tmp_path / "b.png").profile


def test_content_counts_and_not_the_name(tmp_path):
  Image.fromarray(COLOUR).save(tmp_path / "a.png")
  (tmp_path / "a.png").rename(tmp_path / "holiday.txt")
  header, found = read(tmp_path / "holiday.txt")
  assert header.format == "PNG"
  np.testing.assert_array_equal(found, COLOUR)


def test_a_jpeg_with_a_film_behind_it_is_whole(tmp_path):
  Image.fromarray(COLOUR).save(tmp_path / "a.jpg", quality=95)
  with (tmp_path / "a.jpg").open("ab") as file:
    file.write(b"\0" * 10_000)  # as phones append it
  assert_close(read(tmp_path / "a.jpg")[1], COLOUR, 2)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "gif", "bmp", "npy"])
def test_files_that_are_cut_off(tmp_path, ending):
  path = tmp_path / f"a.{ending}"
  noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
  if ending == "npy":
    np.save(path, noise)
  else:
    Image.fromarray(noise).save(path)
  whole = path.read_bytes()
  for share in (0.1, 0.5, 0.9):
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(Unreadable) as error:
      read(path)
    assert str(error.value)
    assert "\n" not in str(error.value)


def bomb(path):
  header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
  parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b"")]
  path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*p) for p in parts))


def npy_bomb(path):
  with path.open("wb") as file:
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**5, 10**5, 3)}
    np.lib.format.write_array_header_1_0(file, header)


@pytest.mark.parametrize(
  ("write", "message"),
  [
    (lambda p: p.write_bytes(b""), "the file is empty"),
    (lambda p: p.write_text("hello"), "no format that is read: convert it to JPEG"),
    (bomb, "178 million are read: cut it into tiles"),
    (npy_bomb, "mmap length is greater than"),
    (lambda p: np.save(p.open("wb"), np.array([{}])), "Python objects"),
    (lambda p: np.save(p.open("wb"), np.zeros((4, 4))), "its pixels are float64"),
    (lambda p: np.save(p.open("wb"), np.zeros(4, np.uint8)), r"its form is \[4\]"),
    (lambda p: tifffile.imwrite(p, np.zeros((4, 4), np.float32)), "are float32"),
    (lambda p: tifffile.imwrite(p, np.zeros((4, 4), np.uint32)), "are uint32"),
    (lambda p: tifffile.imwrite(p, np.zeros((4, 4), np.int8)), "are int8"),
    (lambda p: tifffile.imwrite(p, np.zeros((4, 4), np.int16)), "are int16"),
    (lambda p: p.write_bytes(b"Pf\n4 4\n-1.0\n" + bytes(64)), "are float32"),
  ],
)
def test_what_is_not_read_says_why(tmp_path, write, message):
  path = tmp_path / "a.jpg"
  write(path)
  with pytest.raises(Unreadable, match=message):
    formats.inspect(path)


def test_a_bomb_takes_no_memory(tmp_path):
  import tracemalloc

  bomb(tmp_path / "a.png")
  tracemalloc.start()
  with pytest.raises(Unreadable):
    formats.inspect(tmp_path / "a.png")
  assert tracemalloc.get_traced_memory()[1] < 1_000_000
  tracemalloc.stop()


def test_files_that_are_meant_as_images():
  assert formats.is_meant_as_image("a/B.JPG")
  assert formats.is_meant_as_image("IMG_1.HEIC")
  assert not formats.is_meant_as_image("notes.txt")
  assert not formats.is_meant_as_image("jpg")
