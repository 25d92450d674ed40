"""What is said of broken records."""

import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

from byol_jax.data import records, tfds_sets
from byol_jax.errors import UserError
from tests import prepared


@pytest.fixture
def opened(tmp_path):
  """A set whose images number 3 of train and 1 of test are none."""
  rng = np.random.default_rng(0)

  def examples(count, broken):
    images = [rng.integers(0, 256, (6, 6, 3), np.uint8) for _ in range(count)]
    return [
      {"image": b"none" if i == broken else prepared.encode(image), "label": i}
      for i, image in enumerate(images)
    ]

  splits = {"train": [examples(2, None), examples(4, 1)], "test": [examples(3, 1)]}
  features = {
    "image": tfds.features.Image(shape=(6, 6, 3)),
    "label": tfds.features.ClassLabel(num_classes=4),
  }
  prepared.write(tmp_path / "own" / "1.0.0", features, splits)
  return tfds_sets.open_dataset("own", str(tmp_path))


@pytest.fixture(params=["in memory", "as they are read"])
def read(request, opened, monkeypatch):
  """Opens a split and reads all of it."""
  if request.param != "in memory":
    monkeypatch.setattr(tfds_sets, "_MEMORY_LIMIT", 0)

  def read(spec):
    source = opened.split(spec)
    return [source[i] for i in range(len(source))]

  return read


@pytest.mark.parametrize(
  ("spec", "split", "number"),
  [
    ("train", "train", 3),
    ("train[2:]", "train", 3),
    ("train[:1]+train[2:5]", "train", 3),
    ("test[1:2]", "test", 1),
    ("train[4:]+test", "test", 1),
  ],
)
def test_a_broken_image_is_named_by_its_place(read, spec, split, number):
  with pytest.raises(UserError) as error:
    read(spec)
  message = str(error.value)
  assert message.startswith(f"image {number} of {split!r} of data set own in /")
  assert "its 4 bytes cannot be decoded" in message


@pytest.mark.parametrize("split", ["train", "test"])
def test_what_is_said_to_leave_it_out_does(read, opened, split):
  with pytest.raises(UserError) as error:
    read(split)
  (others,) = re.findall("leave it out, as ([^ ]+),", str(error.value))
  assert len(read(others)) == opened.sizes[split] - 1


@pytest.mark.parametrize("lost", ["image", "label"])
def test_what_a_record_lacks_is_said(lost):
  whole = {"image": prepared.encode(np.zeros((6, 6, 3), np.uint8)), "label": 1}

  class Examples(list):
    def __getitems__(self, indices):
      return [self[i] for i in indices]

  examples = Examples([whole, whole | {lost: None}])  # as TFDS reads such a one
  source = records.RecordSource(examples, "image", "label", 4, 3)
  assert source[0][1] == 1
  with pytest.raises(UserError, match=f"is damaged or incomplete .*{lost} is missing"):
    source[1]
  if lost == "label":
    with pytest.raises(UserError, match="a label is missing"):
      assert source.labels.size
