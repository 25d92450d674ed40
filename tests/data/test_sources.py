"""What every data set shares, on one in memory."""

import numpy as np
import pytest

from byol_jax.data import sources
from byol_jax.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 5, 7, 3), dtype=np.uint8)
LABELS = np.array([0, 3, 1, 2, 3, 0, 4, 1])


@pytest.fixture
def dataset():
  arrays = {"train": (IMAGES[:6], LABELS[:6]), "test": (IMAGES[6:], LABELS[6:])}
  return sources.ArrayDataset("tiny", arrays)


def test_an_image_comes_with_its_label(dataset):
  image, label = dataset.split("train")[1]
  np.testing.assert_array_equal(image, IMAGES[1])
  assert type(label) is int
  assert label == 3


@pytest.mark.parametrize(
  ("spec", "indices"),
  [
    ("train", [0, 1, 2, 3, 4, 5]),
    ("train[-2:]", [4, 5]),
    ("train[:50%]", [0, 1, 2]),
    ("train[2:4]+test", [2, 3, 6, 7]),
    ("test+train[:1]", [6, 7, 0]),
    ("all", range(8)),
  ],
)
def test_a_slice_holds_its_images_and_labels_in_order(dataset, spec, indices):
  source = dataset.split(spec)
  assert len(source) == len(indices)
  for i, index in enumerate(indices):
    np.testing.assert_array_equal(source[i][0], IMAGES[index])
    assert source[i][1] == LABELS[index]


def test_sizes_channels_and_classes(dataset):
  assert dataset.sizes == {"train": 6, "test": 2}
  source = dataset.split("train")
  assert source.channels == 3
  assert source.num_classes == 5  # class 4 is in the other split


def test_a_split_that_is_not_there(dataset):
  dataset.check("train[:3]")
  for read in (dataset.check, dataset.split):
    with pytest.raises(
      UserError, match=r"tiny has nothing .*'valid': it has train \(6 "
    ):
      read("valid")


@pytest.mark.parametrize(
  ("labels", "classes"), [([-1, -1], None), ([-1, 0], 1), ([2, -1], 3)]
)
def test_no_label_is_no_class(labels, classes):
  nothing = (IMAGES[:0], LABELS[:0])
  arrays = {"train": (IMAGES[:2], np.array(labels)), "empty": nothing}
  assert sources.ArrayDataset("tiny", arrays).split("train").num_classes == classes


@pytest.mark.parametrize(
  ("images", "labels", "message"),
  [
    (IMAGES / 255, LABELS, r"images of tiny, train, are float64\[8, 5, 7, 3\]: give u"),
    (IMAGES[..., 0], LABELS, r"uint8\[8, 5, 7\]: give uint8 \[N, H, W, C\]"),
    (IMAGES[:, :0], LABELS, r"uint8\[8, 0, 7, 3\]"),
    (IMAGES, LABELS + 0.5, r"labels of tiny, train, are float64\[8\]: give 8 whole"),
    (IMAGES, LABELS[:7], r"int64\[7\]: give 8 whole numbers"),
    (IMAGES, LABELS - 2, r"-1 for no label"),
  ],
)
def test_arrays_of_another_form_are_refused(images, labels, message):
  with pytest.raises(UserError, match=message):
    sources.ArrayDataset("tiny", {"train": (images, labels)})


def test_images_are_counted(dataset):
  assert dataset.check("train[1:]+test") == 7
