"""Data sets by name, and the names that a user can get wrong."""

import numpy as np
import pytest

from byol_jax.data import datasets, photos, sources, tfds_sets
from byol_jax.errors import UserError


def test_photos_need_no_folder():
  images, labels = photos.load()["test"]
  dataset = datasets.open_dataset("photos", None)
  assert dataset.sizes["test"] == len(labels)
  source = dataset.split("test[7:]")
  np.testing.assert_array_equal(source.images, images[7:])
  np.testing.assert_array_equal(source.labels, labels[7:])
  assert source.num_classes == len(photos.PICTURES)


def test_another_set_is_one_more_line(monkeypatch):
  folders = []

  def open_tiny(data_dir):
    folders.append(data_dir)
    arrays = {"all_of_it": (np.zeros((6, 5, 7, 3), np.uint8), np.arange(6))}
    return sources.ArrayDataset("tiny", arrays)

  monkeypatch.setitem(datasets.DATASETS, "tiny", open_tiny)
  source = datasets.open_dataset("tiny", "somewhere").split("all_of_it[2:]")
  assert source.labels.tolist() == [2, 3, 4, 5]
  assert folders == ["somewhere"]
  with pytest.raises(UserError, match="no data set tyny: did you mean tiny"):
    datasets.open_dataset("tyny", None)


def test_any_other_name_is_that_of_a_prepared_set(cifar10):
  dataset = datasets.open_dataset("cifar10", str(cifar10.data_dir))
  assert isinstance(dataset, tfds_sets.RecordDataset)
  assert dataset.name == "cifar10"


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("photoz", "no data set photoz: did you mean photos"),
    ("cifar1O", "no data set cifar1O: did you mean cifar10"),
    ("imagnet2012/x:1.0.0", "did you mean imagenet2012"),
    ("qqqqqq", "no data set qqqqqq: check its name, and /"),
    ("two words", r"write name\[/config\]\[:version\]"),
    ("cifar100", "cifar100 is not prepared in .*prepare --name=cifar100 --data"),
    ("cifar10:1.0.0", "prepare --name=cifar10:1.0.0"),
  ],
)
def test_names_that_cannot_be_opened(tmp_path, name, message):
  with pytest.raises(UserError, match=message):
    datasets.open_dataset(name, str(tmp_path))


@pytest.mark.parametrize("name", ["cifar10", "qqqqqq"])
def test_a_folder_of_sets_that_is_not_there_is_said_to_be(tmp_path, name):
  nowhere = str(tmp_path / "nowhere")
  with pytest.raises(UserError, match=f"{nowhere}, which does not exist"):
    datasets.open_dataset(name, nowhere)


def test_a_file_is_no_folder_of_sets(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(UserError, match="file is no folder: name that of the data sets"):
    datasets.open_dataset("cifar10", str(tmp_path / "file"))
