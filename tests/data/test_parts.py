"""Parts of a split, and grey images in colour."""

import numpy as np
import pytest

from byol_jax.data import parts, reduce, sources
from byol_jax.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 5, 7, 1), dtype=np.uint8)
LABELS = np.array([0, 3, 1, 2, 3, 0, 4, 1])


@pytest.fixture
def grey():
  return sources.ArrayDataset("tiny", {"train": (IMAGES, LABELS)})


def test_a_part_has_its_images_in_its_order(grey):
  dataset = parts.WithParts(grey, {"few": ("train[2:]", np.array([4, 0]))})
  source = dataset.split("few")
  assert dataset.check("few") == len(source) == 2
  assert (source.channels, source.num_classes) == (1, 5)
  for place, index in enumerate((6, 2)):
    image, label = source[place]
    np.testing.assert_array_equal(image, IMAGES[index])
    assert (label, source.name(place)) == (LABELS[index], str(index - 2))


def test_all_else_is_the_sets(grey):
  dataset = parts.WithParts(grey, {"few": ("train", np.array([1]))})
  assert dataset.sizes == {"train": 8}
  assert (dataset.name, dataset.check("train[:3]")) == ("tiny", 3)
  assert (dataset.listing(), dataset.unreadable) == (grey.listing(), {})
  np.testing.assert_array_equal(dataset.split("train[3:]")[0][0], IMAGES[3])
  with pytest.raises(UserError, match="nothing for the split 'many'"):
    dataset.split("many")


def test_grey_images_are_shown_in_colour_where_that_is_wanted(grey):
  where = {"few": ("train", np.array([5]))}
  for wanted, channels in ((3, 3), (1, 1), (None, 1), (4, 1)):
    dataset = parts.WithParts(grey, where, wanted)
    for split, index in (("few", 5), ("train[2:]", 2)):
      source = dataset.split(split)
      image, label = source[0]
      assert source.channels == image.shape[-1] == channels
      assert label == LABELS[index]
      np.testing.assert_array_equal(image, np.repeat(IMAGES[index], channels, -1))


class Reduced(sources.ArraySource):
  """Halves its images where a half is enough."""

  def reduced(self, index, scale_for):
    image, label = self[index]
    step = min(2, scale_for(*image.shape[:2]))
    return image[::step, ::step], label


def test_images_that_can_be_read_smaller_are():
  source = Reduced(IMAGES, LABELS, 5)
  part = parts.Part(source, np.array([3]))
  image, label = reduce.reader(parts.InColour(part))(0, lambda h, w: 2)
  np.testing.assert_array_equal(image, np.repeat(IMAGES[3][::2, ::2], 3, -1))
  assert label == LABELS[3]
  whole, _ = reduce.reader(parts.Part(sources.ArraySource(IMAGES, LABELS, 5), [3]))(
    0, lambda h, w: 2
  )
  np.testing.assert_array_equal(whole, reduce.averaged(IMAGES[3], 2))


def test_the_last_images_are_held_out():
  fit, held_out = parts.fit_and_held_out(25, None)
  np.testing.assert_array_equal(fit, np.arange(23))
  np.testing.assert_array_equal(held_out, [23, 24])
  fit, held_out = parts.fit_and_held_out(25, 20)
  assert (len(fit), held_out[0]) == (5, 5)
  assert len(parts.fit_and_held_out(5, None)[1]) == 2


@pytest.mark.parametrize("count", [0, 1, 24, 25, -1])
def test_two_are_left_on_both_sides(count):
  with pytest.raises(UserError, match=r"data\.held_out is .* of 25 .*give 2 to 23"):
    parts.fit_and_held_out(25, count)


@pytest.mark.parametrize("images", [1, 2, 3])
def test_of_too_few_none_can_be_held_out(images):
  with pytest.raises(UserError, match=rf"^{images} images .* too few .* 4 or more$"):
    parts.fit_and_held_out(images, None)
