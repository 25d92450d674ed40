"""Averages over squares, by hand, and the same photograph in several forms."""

import numpy as np
import pytest
from PIL import Image

from byol_jax.data import crops, folder, images, parts, reduce, sources
from tests.data.test_reduced import averaged, difference, picture


def test_means_by_hand():
  image = np.uint8([[0, 1, 10, 20, 7], [2, 3, 30, 40, 9], [5, 6, 1, 1, 255]])[..., None]
  # (0 + 1 + 2 + 3) / 4 = 1.5, and halves go up; beyond the edge the last pixels go on.
  wanted = [[2, 25, 8], [6, 1, 255]]
  assert reduce.averaged(image, 2)[..., 0].tolist() == wanted
  # Rows of 59, 111 and six times 1033: 6368 / 64 = 99.5.
  assert reduce.averaged(image, 8).tolist() == [[[100]]]
  assert reduce.averaged(image, 1) is image


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 300])
@pytest.mark.parametrize("scale", [2, 4, 8, 32])
def test_means_of_any_channels(channels, scale):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (3 * scale, 2 * scale, channels), dtype=np.uint8)
  found = reduce.averaged(image, scale)
  assert found.shape == (3, 2, channels)
  assert found.flags.c_contiguous
  assert np.abs(found.astype(int) - averaged(image, scale)).max() <= 1


class _Plain:
  """A source that cannot decode at a part of the size."""

  num_classes, channels = None, 3

  def __init__(self, images):
    self._images = images

  def __len__(self):
    return len(self._images)

  def __getitem__(self, index):
    return self._images[index], index


@pytest.mark.parametrize(
  "see", [lambda s: s, parts.Numbered, lambda s: parts.Part(s, np.arange(1))]
)
def test_a_source_that_cannot_is_averaged(see):
  source = see(_Plain([np.asarray(picture("cat"))]))
  asked = []

  def scale_for(height, width):
    asked.append((height, width))
    return 4

  image, label = reduce.reader(source)(0, scale_for)
  assert asked == [(763, 1021)]
  assert label == 0
  np.testing.assert_array_equal(image, reduce.averaged(np.asarray(picture("cat")), 4))


@pytest.mark.parametrize("size", [24, 96, 300])
def test_one_photograph_in_all_forms(tmp_path, monkeypatch, size):
  """JPEG, PNG, WebP, 16 bits, bands, record and array: the same crop."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  root = tmp_path / "images"
  root.mkdir()
  picture("coffee").save(root / "a.jpg", quality=95)
  whole = np.asarray(Image.open(root / "a.jpg"))
  Image.fromarray(whole).save(root / "b.png")
  Image.fromarray(whole).save(root / "c.webp", lossless=True)
  Image.fromarray(whole).save(root / "d.tif")
  np.save(root / "e.npy", whole)
  source = folder.open_dataset(str(root)).split("train")
  record = _Plain([images.decode((root / "a.jpg").read_bytes(), 3)])

  def crop(source, index):
    def scale_for(height, width):
      return crops.central_scale(height, width, size, 0.875)

    image, _ = reduce.reader(source)(index, scale_for)
    return crops.central_crop(image, size, 0.875)

  found = {source.name(i): crop(source, i) for i in range(len(source))}
  exact = crop(sources.ArraySource(whole[None], np.zeros(1, np.int32), None), 0)
  for name in ("b.png", "c.webp", "d.tif", "e.npy"):
    np.testing.assert_array_equal(found[name], exact)
  np.testing.assert_array_equal(crop(record, 0), exact)
  assert difference(found["a.jpg"], exact) < 1.0
