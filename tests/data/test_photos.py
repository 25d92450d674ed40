"""The embedded set: patches of photographs, split without overlap."""

import numpy as np
import pytest

from byol_jax.data import photos


@pytest.fixture(scope="module")
def splits():
  return photos.load()


@pytest.mark.parametrize(("split", "count"), [("train", 5769), ("test", 860)])
def test_shapes_and_classes(splits, split, count):
  images, labels = splits[split]
  assert images.shape == (len(labels), 32, 32, 3)
  assert images.dtype == np.uint8
  assert len(labels) == count
  counts = np.bincount(labels, minlength=len(photos.PICTURES))
  assert counts.min() > 10
  assert counts.max() < 0.1 * len(labels)  # no picture outweighs the others


def test_loading_twice_gives_the_same(splits):
  again = photos.load()
  for split, (images, labels) in splits.items():
    np.testing.assert_array_equal(images, again[split][0])
    np.testing.assert_array_equal(labels, again[split][1])


def test_no_pixel_is_in_both_splits():
  # A picture whose pixels are all different tells where each patch is from.
  picture = np.arange(512 * 512, dtype=np.uint32).reshape(512, 512, 1)
  train, test = (
    {int(pixel) for patch in patches for pixel in patch.ravel()}
    for patches in photos._cut(picture)
  )
  assert not train & test
  assert len(train | test) == 512 * 512
  assert len(test) == 512 * 512 // 4


def test_patches_are_cut_from_the_pictures(splits):
  images, labels = splits["test"]
  picture = photos._picture("astronaut")
  first = images[labels == photos.PICTURES.index("astronaut")][0]
  np.testing.assert_array_equal(first, picture[:32, :32])


def test_a_part_of_a_split_shows_every_picture(splits):
  _, labels = splits["train"]
  whole = np.bincount(labels, minlength=16) / len(labels)
  for part in (labels[: len(labels) // 4], labels[-len(labels) // 4 :]):
    share = np.bincount(part, minlength=16) / len(part)
    np.testing.assert_allclose(share, whole, atol=0.005)
