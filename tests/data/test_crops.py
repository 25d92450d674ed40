"""Geometry of the crops against numpy, Pillow and the laws they should follow."""

import cv2
import numpy as np
import PIL.Image
import pytest
from scipy import stats

from byol_jax.data import crops
from byol_jax.data.views import View
from tests.data import oracles

WHOLE = View(crop_area=(1, 1), crop_aspect=(1, 1), flip=0)


def _noise(*shape):
  return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _coordinates(height, width):
  """Every pixel holds its (row, column)."""
  rows, columns = np.mgrid[:height, :width]
  return np.stack([rows, columns], axis=-1).astype(np.int32)


@pytest.fixture
def drawn_patches(monkeypatch):
  """Geometry of 2000 random patches of a 300 x 400 image, without the resize."""
  monkeypatch.setattr(crops, "_resize", lambda image, size: image)
  view = View(crop_area=(0.08, 0.5), crop_aspect=(3 / 4, 4 / 3), flip=0.3)
  uniforms = np.random.default_rng(1).random((2000, crops.NUM_UNIFORMS))
  image = _coordinates(300, 400)
  patches = [crops.random_crop_flip(image, u, 224, view) for u in uniforms]
  geometry = [(*p.shape[:2], *p.min(axis=(0, 1))) for p in patches]
  flipped = [p[0, 0, 1] > p[0, -1, 1] for p in patches]
  return np.array(geometry, float).T, np.array(flipped)


def test_area_aspect_and_place_follow_their_laws(drawn_patches):
  (h, w, top, left), _ = drawn_patches
  log_aspect = np.log(w / h)
  span = np.log(4 / 3)
  for values, low, high in (
    (h * w / (300 * 400), 0.08, 0.5),
    (log_aspect, -span, span),
    ((top + 0.5) / (300 - h + 1), 0, 1),
    ((left + 0.5) / (400 - w + 1), 0, 1),
  ):
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.01
  assert abs(stats.pearsonr(h * w, log_aspect).statistic) < 0.06


def test_flip_has_its_probability(drawn_patches):
  _, flipped = drawn_patches
  assert stats.binomtest(int(flipped.sum()), 2000, 0.3).pvalue > 0.01


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("flip", [False, True])
def test_a_patch_of_the_target_size_is_cut_out_exactly(channels, flip):
  image = _noise(16, 32, channels)
  # A quarter of 16 x 32 pixels at width / height 2 is 8 x 16; the top left
  # corner is one of 9 x 17, of which 0.5 and 0.99 pick rows 4 and columns 16.
  view = View(crop_area=(0.125, 0.125), crop_aspect=(1, 1), flip=0.5)
  uniforms = [0.7, 0.7, 0.5, 0.99, 0.0 if flip else 0.5]
  expected = image[4:12, 24:32]
  expected = np.flip(expected, axis=1) if flip else expected
  np.testing.assert_array_equal(
    crops.random_crop_flip(image, uniforms, 8, view), expected
  )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_flip_mirrors_the_resized_patch(channels):
  image, uniforms = _noise(40, 50, channels), [0.3, 0.6, 0.2, 0.9, 0.5]
  before = image.copy()
  straight = crops.random_crop_flip(image, uniforms, 12, View(flip=0.5))
  flipped = crops.random_crop_flip(image, uniforms, 12, View(flip=0.51))
  assert flipped.shape == (12, 12, channels)
  assert flipped.flags.c_contiguous  # what is not takes long to copy into a batch
  np.testing.assert_array_equal(flipped, straight[:, ::-1])
  np.testing.assert_array_equal(image, before)


def test_the_patch_is_where_the_numbers_say():
  view = View(crop_area=(0.5, 1.0), crop_aspect=(0.5, 2.0))
  # Area 60 x 100 x (0.5 + 0.25 x 0.5) = 3750, aspect 0.5 x 4^0.5 = 1: a square of
  # 61.24 pixels a side, cut to 60 rows. Columns start at one of 0..39.
  got = crops.random_patch(60, 100, [0.25, 0.5, 0.7, 0.75], view)
  assert got == (slice(0, 60), slice(30, 91))
  # Area 3000, aspect 0.5 x 4^0.25 = 0.707: 65.1 x 46.1, of whose rows 60 fit.
  got = crops.random_patch(60, 100, [0.0, 0.25, 0.99, 0.0], view)
  assert got == (slice(0, 60), slice(0, 46))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (375, 500), (1, 7)])
@pytest.mark.parametrize("size", [8, 32, 600])
@pytest.mark.parametrize("view", [View(), WHOLE, View(crop_area=(1, 1), flip=1.0)])
def test_boxes_are_the_patches_and_flips_of_the_images_one_by_one(
  height, width, size, view
):
  views = (view, View(crop_area=(0.2, 0.4)))
  uniforms = np.random.default_rng(2).random((2, 500, crops.NUM_UNIFORMS))
  uniforms[:, :2] = [[0.0], [1 - 2**-53]]
  found = crops.random_boxes(
    height, width, uniforms=list(uniforms), size=size, views=views
  )
  assert found.dtype == np.int32
  for boxes, draws in zip(found.tolist(), uniforms.swapaxes(0, 1), strict=True):
    scale = crops.random_scale(height, width, uniforms=draws, size=size, views=views)
    shape = -(-height // scale), -(-width // scale)
    for box, draw, of_view in zip(boxes, draws, views, strict=True):
      rows, columns = crops.random_patch(*shape, draw, of_view)
      sides = rows.stop - (rows.start or 0), columns.stop - (columns.start or 0)
      corner = rows.start or 0, columns.start or 0
      assert box == [*corner, *sides, scale, int(draw[4] < of_view.flip)]


def test_a_patch_wider_than_the_image_is_cut_to_fit(monkeypatch):
  monkeypatch.setattr(crops, "_resize", lambda image, size: image)
  view = View(crop_area=(1, 1), crop_aspect=(2, 2), flip=0)
  patch = crops.random_crop_flip(_noise(10, 10, 3), [0.5] * 5, 8, view)
  assert patch.shape == (7, 10, 3)  # sqrt(100 / 2) = 7.07, sqrt(100 * 2) = 14.1


def test_ranges_of_one_take_the_whole_image_of_any_shape():
  image = _noise(20, 50, 3)
  got = crops.random_crop_flip(image, [0.3] * 5, 16, WHOLE)
  expected = cv2.resize(image, (16, 16), interpolation=cv2.INTER_CUBIC)
  np.testing.assert_array_equal(got, expected)


def test_an_image_of_the_target_size_is_left_alone():
  image = _noise(32, 32, 3)
  got = crops.random_crop_flip(image, [0.3] * 5, 32, WHOLE)
  np.testing.assert_array_equal(got, image)
  np.testing.assert_array_equal(crops.central_crop(image, 32, 1.0), image)


@pytest.mark.parametrize(("height", "width"), [(11, 17), (40, 23)])
def test_resize_is_bicubic_without_antialiasing(height, width):
  image = _noise(height, width, 1)
  got = crops.random_crop_flip(image, [0.0] * 5, 19, WHOLE)
  expected = np.clip(oracles.bicubic(image, 19), 0, 255)
  np.testing.assert_allclose(got, expected, atol=1)


@pytest.mark.parametrize("channels", [1, 3, 4, 300])
def test_resized_crops_keep_their_channels(channels):
  image = _noise(20, 30, channels)
  cut = (
    lambda image: crops.random_crop_flip(image, [0.5] * 5, 12, View()),
    lambda image: crops.central_crop(image, 12, 0.875),
  )
  for each in cut:
    crop = each(image)
    assert crop.shape == (12, 12, channels)
    assert crop.dtype == np.uint8
    np.testing.assert_allclose(crop[..., -1:], each(image[..., -1:]), atol=1)


def test_central_crop_equals_pillow():
  image = _noise(40, 65, 3)
  # Side 0.5 * 40 = 20; the odd pixel of 65 - 20 goes to the left, as in BYOL.
  expected = PIL.Image.fromarray(image).crop((23, 10, 43, 30))
  np.testing.assert_array_equal(crops.central_crop(image, 20, 0.5), expected)


def test_central_crop_of_byol_takes_224_of_256():
  image = _coordinates(256, 300).astype(np.uint16)
  crop = crops.central_crop(image, 224, 224 / 256)
  assert crop[0, 0].tolist() == [16, 38]
  assert crop[-1, -1].tolist() == [239, 261]
