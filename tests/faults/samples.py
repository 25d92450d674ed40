"""A small image file of each kind that is read."""

import io

import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 23, 37


def image_files() -> dict[str, bytes]:
  """Name -> content of a small image of each kind that is read."""
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (HEIGHT, WIDTH, 7), dtype=np.uint8)
  deep = noise.astype(np.uint16) * 257
  colour = Image.fromarray(noise[..., :3])
  exif = Image.Exif()
  exif[0x0112] = 6  # a quarter turn
  extras = {"exif": exif, "icc_profile": rng.bytes(128)}
  frames = [Image.fromarray(noise[..., i : i + 3]).quantize(32) for i in range(3)]
  modes = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
  found = {
    "plain.jpg": _saved(colour, "JPEG", **extras),
    "progressive.jpg": _saved(colour, "JPEG", progressive=True),
    "grey.jpg": _saved(colour.convert("L"), "JPEG"),
    "cmyk.jpg": _saved(colour.convert("CMYK"), "JPEG"),
    "phone.jpg": _saved(colour, "MPO", save_all=True, append_images=[colour]),
    **{f"{mode}.png".replace(";", ""): _png(noise, mode) for mode in modes},
    "extras.png": _saved(colour, "PNG", **extras),
    "clear.png": _saved(colour.quantize(16), "PNG", transparency=3),
    "lossless.webp": _saved(colour, "WEBP", lossless=True, **extras),
    "lossy.webp": _saved(colour.convert("RGBA"), "WEBP"),
    "moving.webp": _saved(colour, "WEBP", save_all=True, append_images=frames),
    "colour.bmp": _saved(colour, "BMP"),
    "palette.bmp": _saved(colour.quantize(16), "BMP"),
    "moving.gif": _saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
    "colour.ppm": _saved(colour, "PPM"),
    "grey.pgm": _saved(colour.convert("L"), "PPM"),
    "colour.npy": _npy(noise[..., :3]),
    "bands.npy": _npy(deep),
    "bands.tif": _tiff(deep, planarconfig="contig"),
    "planes.tif": _tiff(np.moveaxis(noise, -1, 0), compression="zlib"),
    "turned.tif": _saved(colour, "TIFF", exif=exif),
    "deep.tif": _tiff(deep[..., 0]),
  }
  for kind in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"):
    image = colour.convert("1") if kind == "group4" else colour
    found[f"{kind}.tif"] = _saved(image, "TIFF", compression=kind)
  return found


def _saved(image: Image.Image, kind: str, **options) -> bytes:
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def _png(noise: np.ndarray, mode: str) -> bytes:
  if mode == "I;16":
    return _saved(Image.fromarray(noise[..., 0].astype(np.uint16) * 257), "PNG")
  return _saved(Image.fromarray(noise[..., :4]).convert(mode), "PNG")


def _npy(array: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  np.save(buffer, array)
  return buffer.getvalue()


def _tiff(array: np.ndarray, **options) -> bytes:
  buffer = io.BytesIO()
  tifffile.imwrite(buffer, array, photometric="minisblack", **options)
  return buffer.getvalue()
