"""Sets that are decoded as a whole, and batches that say what to crop of them."""

import chex
import cv2
import numpy as np
import pytest

from byol_jax.data import batches, decoded, reduce, sources
from byol_jax.data.sources import ArraySource
from byol_jax.data.views import View
from byol_jax.errors import UserError

GIB = 2**30
VIEWS = [View(), View(flip=0.0)]


def _array(count=21):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (count, 12, 15, 3), dtype=np.uint8)
  return ArraySource(images, np.arange(count), count)


class _Files:
  """Decodes as it is read; some of its images are torn, one may have another size."""

  num_classes, channels = 21, 3

  def __init__(self, torn=(), odd=None):
    self._images = _array()
    self._torn, self._odd = torn, odd

  def __len__(self):
    return len(self._images)

  def __getitem__(self, index):
    if index in self._torn:
      raise sources.Unreadable("torn")
    image, label = self._images[index]
    return (image[:, 1:] if index == self._odd else image), label

  def name(self, index):
    return f"{index}.png"


def _boxes(source, steps=range(6), batch_size=8, **hosts):
  found = decoded.decode(source, GIB)
  settings = {"batch_size": batch_size, "size": 6, "seed": 3, "steps": steps}
  return list(decoded.box_batches(found, VIEWS, **settings, **hosts))


def test_images_in_memory_are_not_copied():
  source = _array()
  found = decoded.decode(source, GIB)
  assert np.shares_memory(found.images, source.images)
  assert found.labels.dtype == found.shown.dtype == np.int32
  np.testing.assert_array_equal(found.shown, np.arange(21))


def test_files_are_decoded_once_and_the_next_is_shown_for_a_torn_one():
  found = decoded.decode(_Files(torn={0, 3, 4, 20}), GIB)
  there = np.setdiff1d(np.arange(21), [0, 3, 4, 20])
  np.testing.assert_array_equal(found.images[there], _array().images[there])
  expected = np.arange(21)
  expected[[0, 3, 4, 20]] = 1, 5, 5, 1
  np.testing.assert_array_equal(found.shown, expected)
  with pytest.raises(UserError, match=r"none of 21 images can be read, .* torn: mend"):
    decoded.decode(_Files(torn=set(range(21))), GIB)


@pytest.mark.parametrize("source", [_array(), _Files(torn={0, 3, 4, 20})])
def test_batches_show_what_those_of_the_host_show(source):
  settings = {"size": 6, "batch_size": 8, "seed": 3, "steps": range(6)}
  theirs = batches.train_batches(source, VIEWS, **settings)
  for ours, expected in zip(_boxes(source), theirs, strict=True):
    for key in ("label", "position", "unreadable"):
      np.testing.assert_array_equal(ours[key], expected[key])
      assert ours[key].dtype == np.int32
    for view in (0, 1):
      boxes, pixels = ours["boxes"][:, view], expected[f"view{view + 1}"]
      for index, box, theirs_cropped in zip(ours["index"], boxes, pixels, strict=True):
        np.testing.assert_array_equal(_cropped(index, box), theirs_cropped)


def _cropped(index, box):
  top, left, rows, columns, scale, flip = box
  image = reduce.averaged(_array().images[index], scale)
  patch = image[top : top + rows, left : left + columns]
  crop = cv2.resize(patch, (6, 6), interpolation=cv2.INTER_CUBIC)
  return crop[:, ::-1] if flip else crop


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_split_the_same_batches_and_a_restart_continues(hosts):
  whole = _boxes(_array())
  parts = [_boxes(_array(), host=host, hosts=hosts) for host in range(hosts)]
  joined = [
    {key: np.concatenate([part[key] for part in step]) for key in step[0]}
    for step in zip(*parts, strict=True)
  ]
  chex.assert_trees_all_equal(joined, whole)
  chex.assert_trees_all_equal(_boxes(_array(), range(4, 6)), whole[4:])


def test_images_of_several_sizes_are_refused_by_name():
  message = (
    r"one size; image 1.png has 12 x 15 pixels, 9.png has 12 x 14: set data.on_device="
  )
  with pytest.raises(UserError, match=message):
    decoded.decode(_Files(torn={0}, odd=9), GIB)


def test_what_would_not_fit_is_refused_before_it_is_decoded():
  size = 21 * 12 * 15 * 3
  decoded.decode(_array(), 4 * size)
  message = r"21 images of 12 x 15 x 3 take 0.0 GiB, more than 25% of the 0.0 GiB of a"
  with pytest.raises(UserError, match=message):
    decoded.decode(_Files(odd=1), 4 * size - 4)
