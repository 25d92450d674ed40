"""The data set of a run: its counts, and what both training and test have seen."""

import numpy as np
import pytest

from byol_jax.data import datasets
from byol_jax.data.sources import ArrayDataset
from byol_jax.report import data, runs
from tests.report import made_up


@pytest.fixture
def a_set(monkeypatch):
  images, labels = np.zeros((20, 8, 8, 3), np.uint8), np.arange(20) % 2
  arrays = {"train": (images, labels), "test": (images[:6], labels[:6])}
  opened = []

  def open_dataset(folder):
    opened.append(folder)
    return ArrayDataset("a_set", arrays)

  monkeypatch.setitem(datasets.DATASETS, "a_set", open_dataset)
  return opened


def a_run(tmp_path, **changes):
  folder = made_up.write(
    tmp_path / f"run{len(list(tmp_path.iterdir()))}", made_up.config(**changes)
  )
  return runs.read([folder])[0]


def test_counts_are_those_of_the_splits(tmp_path, a_set):
  run = a_run(tmp_path, data__name="a_set", probe__valid_test="no such split")
  dataset = data.open_dataset(run, None)
  counts = {"data.train": 20, "probe.train": 20, "probe.test": 6}
  counts |= {data.SEEN: 0, data.LEARNED: 0}
  assert data.counts(run, dataset) == counts


@pytest.mark.parametrize(
  ("train", "test", "seen"),
  [
    ("train[:15]", "train[10:]", 5),
    ("train[:10]+train[15:]", "test+train[8:16]", 3),
    ("train[:10]", "train[10:]", 0),
    ("train+test", "test", 6),
  ],
)
def test_images_of_both_splits_are_counted(tmp_path, a_set, train, test, seen):
  run = a_run(tmp_path, data__name="a_set", data__train=train, probe__test=test)
  assert data.counts(run, data.open_dataset(run, None))[data.SEEN] == seen
  run = a_run(tmp_path, data__name="a_set", probe__train=train, probe__test=test)
  assert data.counts(run, data.open_dataset(run, None))[data.LEARNED] == seen


def test_the_folder_is_the_runs_own_or_that_which_is_given(tmp_path, a_set):
  run = a_run(tmp_path, data__name="a_set", data__data_dir="photos")
  data.open_dataset(run, None)
  data.open_dataset(run, tmp_path)
  assert a_set == ["/somewhere/photos", str(tmp_path)]


def test_a_set_that_is_gone_is_a_reason(tmp_path):
  run = a_run(tmp_path, data__name="folder", data__data_dir="photos")
  why = data.open_dataset(run, None)
  assert "/somewhere/photos does not exist" in why
  assert data.counts(run, why) == {}
  assert "names no data set" in data.open_dataset(a_run(tmp_path, data=None), None)
