"""Labels of sources, and balanced shares of them."""

import numpy as np
import pytest

from byol_jax.data import images, records, sources, tfds_sets
from byol_jax.data.labelled import balanced, labels_of
from byol_jax.data.parts import InColour, Part, WithParts
from tests import prepared


class Decoding:
  """A source that knows a label once it has decoded the image; one is damaged."""

  num_classes, channels = 3, 3

  def __len__(self):
    return 4

  def __getitem__(self, index):
    if index == 2:
      raise sources.Unreadable("damaged")
    return np.zeros((2, 2, 3), np.uint8), index % 3


def test_of_any_source():
  np.testing.assert_array_equal(labels_of(Decoding()), [0, 1, -1, 0])


def test_of_records_no_image_is_decoded(tmp_path, monkeypatch):
  cifar10 = prepared.write_cifar10(tmp_path)
  monkeypatch.setattr(tfds_sets, "_MEMORY_LIMIT", 0)  # so that images stay encoded
  monkeypatch.setattr(records, "BLOCK", 5)
  source = tfds_sets.open_dataset("cifar10", str(cifar10.data_dir)).split("train[2:]")
  monkeypatch.setattr(images, "decode", None)
  np.testing.assert_array_equal(labels_of(source), cifar10.labels["train"][2:])


def test_of_parts_and_of_grey_images_shown_in_colour():
  grey = sources.ArraySource(np.zeros((5, 2, 2, 1), np.uint8), np.arange(5), 5)
  part = Part(InColour(grey), np.array([4, 0, 2]))
  np.testing.assert_array_equal(labels_of(part), [4, 0, 2])


@pytest.mark.parametrize("seed", range(20))
def test_shares_are_as_equal_as_can_be(seed):
  rng = np.random.default_rng(seed)
  sizes, keep = rng.integers(1, 12, size=5), seed % 2
  labels = rng.permutation(np.repeat(rng.permutation(50)[:5], sizes))
  most = sum(sizes - keep)
  count = rng.integers(0, most + 1)
  places = balanced(labels, count, seed, keep)
  assert len(set(places)) == count
  assert (np.diff(places) > 0).all()
  classes = np.unique(labels)
  drawn = np.array([np.sum(labels[places] == each) for each in classes])
  there = np.array([np.sum(labels == each) for each in classes]) - keep
  assert (drawn <= there).all()
  # Whoever has two fewer than another, or more, has no further one to give.
  assert (drawn == there)[drawn < drawn.max() - 1].all()


def test_the_seed_decides():
  labels = np.arange(300) % 10
  one, again, other = (balanced(labels, 50, seed) for seed in (0, 0, 1))
  np.testing.assert_array_equal(one, again)
  assert len(np.intersect1d(one, other)) < 30
  # Within a class no place is preferred.
  assert 100 < one.mean() < 200


def test_a_larger_share_has_the_smaller_one():
  labels = np.random.default_rng(0).integers(0, 7, 200)
  assert set(balanced(labels, 20, 0)) < set(balanced(labels, 90, 0))


class Counted(sources.ArrayDataset):
  """Counts how often a split is opened."""

  opened = 0

  def split(self, spec):
    type(self).opened += 1
    return super().split(spec)


def test_parts_of_a_split_open_it_once():
  arrays = {"train": (np.zeros((9, 2, 2, 1), np.uint8), np.arange(9))}
  parts = {"odd": ("train", np.arange(1, 9, 2)), "first": ("train", np.arange(3))}
  dataset = WithParts(Counted("own", arrays), parts, channels=3)
  found = [dataset.split(name) for name in ("odd", "first", "train", "odd")]
  assert [labels_of(source).tolist() for source in found[:2]] == [
    [1, 3, 5, 7],
    [0, 1, 2],
  ]
  assert [source[0][0].shape for source in found] == [(2, 2, 3)] * 4
  assert Counted.opened == 1


def test_numbered_images_say_their_place_in_a_part():
  arrays = {
    "train": (np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1), np.zeros(9, int))
  }
  parts = {"some": ("train", np.array([7, 2]))}
  source = WithParts(sources.ArrayDataset("own", arrays), parts, numbered=True).split(
    "some"
  )
  assert [(int(source[i][0].squeeze()), source[i][1]) for i in range(2)] == [
    (7, 0),
    (2, 1),
  ]
  assert (len(source), source.name(1), source.num_classes) == (2, "2", None)
  image, place = source.reduced(1, lambda height, width: 1)
  assert (int(image.squeeze()), place) == (2, 1)
