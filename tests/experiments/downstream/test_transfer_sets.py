"""The twelve sets: against BYOL's table 10, and the code of tensorflow-datasets."""

import pytest
import tensorflow_datasets as tfds

from byol_jax import probes
from byol_jax.errors import UserError
from configs import transfer
from experiments.downstream import transfer_sets
from experiments.downstream.transfer_sets import SETS
from tests import prepared

# Table 10: images to train on, to choose by, and to test on; metric.
TABLE_10 = """
food101 68175 7575 25250 top_1
cifar10 45000 5000 10000 top_1
cifar100 44933 5067 10000 top_1
birdsnap 42405 4981 2443 top_1
sun397 15880 3970 19850 top_1
cars 6494 1650 8041 top_1
aircraft 3334 3333 3333 mean_per_class
voc07 2501 2510 4952 average_precision_11
dtd 1880 1880 1880 top_1
pets 2940 740 3669 mean_per_class
caltech101 2550 510 6084 mean_per_class
flowers 1020 1020 6149 mean_per_class
"""


def test_the_table_is_that_of_the_paper():
  rows = [line.split() for line in TABLE_10.strip().splitlines()]
  assert list(SETS) == [row[0] for row in rows]
  for key, _, valid, _, metric in rows:
    found = SETS[key]
    assert found.metric == metric
    assert found.metric in probes.METRICS
    # A split of the set, or as many images of train.
    assert (found.valid is None) == (found.held_out == int(valid))


def test_tensorflow_datasets_has_those_that_need_no_folder():
  registered = tfds.list_builders(with_community_datasets=False)
  absent = {key for key, s in SETS.items() if s.name.split("/")[0] not in registered}
  assert absent == {"birdsnap", "aircraft"}
  assert {key for key, s in SETS.items() if s.folder} == absent | {"sun397", "cars"}


def test_a_set_is_found_as_tensorflow_datasets_or_as_a_folder(tmp_path):
  assert transfer_sets.located("voc07", None) == ("voc/2007", None)
  folder = tmp_path / "birdsnap"
  (folder / "train").mkdir(parents=True)
  for data_dir in (tmp_path, folder):
    found = transfer_sets.located("birdsnap", str(data_dir))
    assert found == ("folder", str(folder))


@pytest.mark.parametrize("key", ["sun397", "cars"])
def test_a_set_that_is_gone_needs_a_folder_unless_it_was_prepared(tmp_path, key):
  with pytest.raises(
    UserError, match=f"{key} needs a folder, as .* gone: .* train/, te"
  ):
    transfer_sets.located(key, str(tmp_path))


def test_cars_may_have_been_prepared_before(tmp_path):
  features = {
    "image": tfds.features.Image(),
    "label": tfds.features.ClassLabel(num_classes=2),
  }
  prepared.write(tmp_path / "cars196" / "2.1.0", features, {"train": [[]]})
  assert transfer_sets.located("cars", str(tmp_path)) == ("cars196", str(tmp_path))


def test_a_set_fills_in_what_is_open():
  (one,) = transfer_sets.each_set(transfer.get_config("voc07")).values()
  assert one.data.to_dict() == {
    "name": "voc/2007",
    "data_dir": None,
    "train": "train",
    "valid": "validation",
    "test": "test",
    "held_out": None,
    "max_unreadable": 0.01,
  }
  assert (one.set, one.metric) == ("voc07", "average_precision_11")
  config = transfer.get_config("pets")
  config.data.train, config.data.held_out, config.metric = "train[:100]", 10, "top_1"
  (one,) = transfer_sets.each_set(config).values()
  assert (one.data.train, one.data.held_out, one.metric) == ("train[:100]", 10, "top_1")
  assert one.data.test == "test"


def test_a_set_of_ones_own_is_what_data_says():
  config = transfer.get_config()
  assert transfer_sets.each_set(config) == {"photos": config}
