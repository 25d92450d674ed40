"""JPEGs that are decoded at a part of their size, beside averages of all their pixels.

The bound: crops of `size` pixels differ by at most 2 of 255 levels, in the mean over
their pixels, from the same crops of an image that was decoded whole and then averaged
over blocks of scale x scale pixels. On 1004 random crops of 100 photographs of ImageNet
the differences were 0.4 in the mean and 1.7 at most.

Crops of the whole image itself are no reference: bicubic interpolation takes 16 of the
pixels around a point, however many there are, and differs from either by 9 to 16.
"""

import functools
import warnings

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageOps

from byol_jax.data import batches, crops, folder, formats
from byol_jax.data.views import BYOL_VIEW1, BYOL_VIEW2

BOUND = 2.0  # of 255
SCALES = (1, 2, 4, 8, 16)
VIEWS = (BYOL_VIEW1, BYOL_VIEW2)
PICTURES = ("astronaut", "coffee", "cat", "rocket")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@functools.cache
def picture(name):
  """A photograph, enlarged to an odd size, so that no scale divides its sides."""
  image = Image.fromarray(getattr(skimage.data, name)())
  return image.resize((1021, 763), Image.Resampling.LANCZOS)


def write(path, image, orientation=1, **options):
  exif = Image.Exif()
  exif[0x0112] = orientation
  image.save(path, "JPEG", quality=90, exif=exif, **options)
  return path


def averaged(image, scale):
  """Means over blocks; those at the right and the bottom may be smaller."""
  height, width, _ = image.shape
  starts = [np.arange(0, side, scale) for side in (height, width)]
  sums = np.add.reduceat(image.astype(np.float64), starts[0], axis=0)
  sums = np.add.reduceat(sums, starts[1], axis=1)
  rows, columns = (
    np.diff(np.append(s, side)) for s, side in zip(starts, (height, width), strict=True)
  )
  means = sums / (rows[:, None, None] * columns[:, None])
  return np.round(means).astype(np.uint8)


def difference(one, other):
  assert one.shape == other.shape
  return np.abs(one.astype(float) - other).mean()


def read(path, channels=3, scale=1):
  return formats.decode(path, formats.inspect(path), channels, scale)


@pytest.mark.parametrize("name", PICTURES)
def test_random_crops(tmp_path, name):
  path = write(tmp_path / "a.jpg", picture(name))
  whole, draws = read(path), np.random.default_rng(0).random((12, 2, 5))
  decoded = {scale: read(path, scale=scale) for scale in SCALES}
  means = {scale: averaged(whole, scale) for scale in SCALES}
  used, differences = set(), []
  for size in (24, 48, 96):
    for draw in draws:
      scale = crops.random_scale(763, 1021, uniforms=draw, size=size, views=VIEWS)
      used.add(scale)
      for uniforms, view in zip(draw, VIEWS, strict=True):
        pair = (
          crops.random_crop_flip(image[scale], uniforms, size, view)
          for image in (decoded, means)
        )
        differences.append(difference(*pair))
  assert used >= {2, 4, 8, 16}
  assert max(differences) < BOUND
  assert np.mean(differences) < 0.7


@pytest.mark.parametrize("size", [40, 80, 160, 300])
def test_central_crops(tmp_path, size):
  path = write(tmp_path / "a.jpg", picture("astronaut"))
  scale = crops.central_scale(763, 1021, size, 0.875)
  assert scale == {40: 16, 80: 8, 160: 4, 300: 2}[size]
  pair = (
    crops.central_crop(image, size, 0.875)
    for image in (read(path, scale=scale), averaged(read(path), scale))
  )
  assert difference(*pair) < BOUND


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("scale", SCALES[1:4])
def test_orientations(tmp_path, orientation, scale):
  image = picture("coffee").crop((0, 0, 203, 150))
  path = write(tmp_path / "a.jpg", image, orientation)
  header = formats.inspect(path)
  found = read(path, scale=scale)
  assert found.shape == (-(-header.height // scale), -(-header.width // scale), 3)
  # Blocks begin at the corner where the file begins: averaged first, then turned.
  with Image.open(path) as file:
    plain = averaged(np.asarray(file), scale)
    turned = ImageOps.exif_transpose(_with_orientation(plain, orientation))
  assert difference(found, np.asarray(turned)) < BOUND


def _with_orientation(pixels, orientation):
  image = Image.fromarray(pixels)
  image.getexif()[0x0112] = orientation
  return image


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
  ("mode", "channels", "options"),
  [
    ("L", 1, {}),
    ("L", 3, {}),
    ("RGB", 1, {}),
    ("RGB", 3, {"subsampling": "4:4:4"}),
    ("RGB", 3, {"subsampling": "4:2:2"}),
    ("RGB", 3, {"progressive": True}),
    ("RGB", 3, {"keep_rgb": True}),
    ("CMYK", 3, {}),
    ("CMYK", 1, {}),
  ],
)
def test_kinds_of_jpeg(tmp_path, mode, channels, options, scale):
  image = picture("cat").crop((300, 200, 703, 501)).convert(mode)
  path = write(tmp_path / "a.jpg", image, **options)
  found = read(path, channels, scale)
  assert found.shape == (-(-301 // scale), -(-403 // scale), channels)
  assert found.dtype == np.uint8
  assert found.flags.c_contiguous
  with Image.open(path) as file:
    pixels = np.asarray(file.convert("L" if channels == 1 else "RGB"))
  whole = pixels.reshape(301, 403, channels)
  assert difference(found, averaged(whole, scale)) < (BOUND if scale > 1 else 1e-9)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_opencv_gives_pillows_pixels(tmp_path, monkeypatch, orientation):
  path = write(tmp_path / "a.jpg", picture("rocket"), orientation)
  found = [read(path, scale=scale) for scale in SCALES]
  monkeypatch.setattr(formats, "_jpeg", lambda *arguments: None)
  for scale, pixels in zip(SCALES, found, strict=True):
    np.testing.assert_array_equal(pixels, read(path, scale=scale))


@pytest.mark.parametrize("height", [1, 2, 7, 8, 9, 15, 16, 17])
@pytest.mark.parametrize("width", [1, 9, 31])
def test_small_and_odd_sizes(tmp_path, height, width):
  pixels = np.full((height, width, 3), 77, np.uint8)
  path = write(tmp_path / "a.jpg", Image.fromarray(pixels))
  for scale in SCALES:
    found = read(path, scale=scale)
    assert found.shape == (-(-height // scale), -(-width // scale), 3)
    assert np.abs(found.astype(int) - 77).max() <= 2


def _sides(draws):
  """Heights and widths of all kinds: of crops that just fit, and of cameras."""
  small, large = draws.integers(1, 200, 2), draws.integers(1, 6000, 2)
  return small if draws.random() < 0.5 else large


def test_a_random_crop_keeps_its_pixels():
  draws = np.random.default_rng(0)
  scales = set()
  for _ in range(3000):
    height, width = (int(side) for side in _sides(draws))
    size = int(draws.choice([8, 32, 64, 128, 224]))
    uniforms = draws.random((2, crops.NUM_UNIFORMS))
    scale = crops.random_scale(height, width, uniforms=uniforms, size=size, views=VIEWS)
    scales.add(scale)
    for draw, view in zip(uniforms, VIEWS, strict=True):
      shape = -(-height // scale), -(-width // scale)
      rows, columns = crops.random_patch(*shape, draw, view)
      sides = len(range(shape[0])[rows]), len(range(shape[1])[columns])
      assert scale == 1 or min(sides) >= size
  assert scales >= {1, 2, 4, 8}


def test_a_random_crop_is_reduced_as_far_as_it_can_be():
  # A patch of the whole image, 1000 x 1200: 3 * 300 <= 1000, but only a power of 2.
  view = BYOL_VIEW1._replace(crop_area=(1, 1), crop_aspect=(1, 1))
  for size, scale in ((1001, 1), (1000, 1), (501, 1), (500, 2), (300, 2), (250, 4)):
    found = crops.random_scale(
      1000, 1200, uniforms=[[0.0] * 5], size=size, views=[view]
    )
    assert found == scale


def test_a_central_crop_keeps_its_pixels():
  draws = np.random.default_rng(1)
  for _ in range(3000):
    height, width = (int(side) for side in _sides(draws))
    size = int(draws.choice([8, 32, 64, 128, 224]))
    fraction = float(draws.choice([0.5, 0.7, 0.875, 0.9, 1.0]))
    scale = crops.central_scale(height, width, size, fraction)
    side = min(-(-height // scale), -(-width // scale))
    assert scale == 1 or int(fraction * side) >= size


def test_batches_of_a_folder_are_those_of_its_pixels(tmp_path):
  """From the folder to the batch: the source is asked for the size that is needed."""
  root = tmp_path / "images"
  root.mkdir()
  for name in PICTURES:
    write(root / f"{name}.jpg", picture(name))
  source = folder.open_dataset(str(root)).split("train")
  settings = {"batch_size": 4, "views": VIEWS, "size": 48, "seed": 3}
  found = batches.train_chunk(0, np.arange(4), source=source, **settings)
  draws = [batches.crop_uniforms(3, v, 0, 4) for v in range(2)]
  for place, index in enumerate(batches.permutation(3, 0, 4).tolist()):
    whole = read(root / source.name(index))
    scale = crops.random_scale(
      *whole.shape[:2], uniforms=[d[place] for d in draws], size=48, views=VIEWS
    )
    assert scale > 1
    means = averaged(whole, scale)
    for v, view in enumerate(VIEWS):
      wanted = crops.random_crop_flip(means, draws[v][place], 48, view)
      assert difference(found[f"view{v + 1}"][place], wanted) < BOUND


def test_a_damaged_jpeg_is_no_reduced_image(tmp_path):
  path = write(tmp_path / "a.jpg", picture("cat"))
  header = formats.inspect(path)
  path.write_bytes(path.read_bytes()[:20_000])
  for scale in SCALES:
    with pytest.raises(formats.Unreadable, match="truncated"):
      formats.decode(path, header, 3, scale)


def test_nothing_is_said_while_images_are_read(tmp_path, capfd):
  path = write(tmp_path / "a.jpg", picture("cat"), orientation=8)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    read(path, scale=4)
  assert capfd.readouterr() == ("", "")
