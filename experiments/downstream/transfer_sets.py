"""The twelve data sets that BYOL is transferred to: its tables 3 and 10, App. D.1.

A further set is a line of `SETS`:

  SETS["flowers17"] = Set("my_flowers", "train", "validation", "test", "top_1")
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from byol_jax import progress
from byol_jax.data import tfds_files
from byol_jax.errors import UserError, no_such
from byol_jax.run.folder import RunDir


class Set(NamedTuple):
  """A data set, its splits, and how an accuracy on it is counted.

  Attributes:
    name: of tensorflow-datasets, with config where wanted.
    train: the split to train on.
    valid: the split to choose settings by; None where part of `train` is held out.
    test: the split to report on.
    metric: a key of `probes.METRICS`.
    held_out: number of the last images of `train` to choose settings by.
    folder: why tensorflow-datasets cannot prepare it, so that it needs a folder.
  """

  name: str
  train: str
  valid: str | None
  test: str
  metric: str
  held_out: int | None = None
  folder: str | None = None


_ABSENT = "tensorflow-datasets 4.9.10 has no such set"
_GONE = "the address that tensorflow-datasets 4.9.10 downloads it from is gone"

# Number held out: the images in the column "validation" of table 10, where the set has
# no such split.
# Gone: issues 5053 and 5656 of tensorflow/datasets, 9348 of pytorch/vision.
SETS: dict[str, Set] = {
  "food101": Set("food101", "train", None, "validation", "top_1", 7575),
  "cifar10": Set("cifar10", "train", None, "test", "top_1", 5000),
  "cifar100": Set("cifar100", "train", None, "test", "top_1", 5067),
  "birdsnap": Set("birdsnap", "train", None, "test", "top_1", 4981, _ABSENT),
  "sun397": Set(
    "sun397/standard-part1-120k",
    "train",
    None,
    "test",
    "top_1",
    3970,
    _GONE,
  ),
  "cars": Set("cars196", "train", None, "test", "top_1", 1650, _GONE),
  "aircraft": Set(
    "fgvc_aircraft",
    "train",
    "val",
    "test",
    "mean_per_class",
    None,
    _ABSENT,
  ),
  "voc07": Set("voc/2007", "train", "validation", "test", "average_precision_11"),
  "dtd": Set("dtd", "train", "validation", "test", "top_1", None),
  "pets": Set("oxford_iiit_pet", "train", None, "test", "mean_per_class", 740),
  "caltech101": Set("caltech101", "train", None, "test", "mean_per_class", 510),
  "flowers": Set("oxford_flowers102", "train", "validation", "test", "mean_per_class"),
}


_OF_ONE_SET = ("name", "train", "valid", "test", "held_out")


def each_set(config: ConfigDict) -> dict[str, ConfigDict]:
  """The config of each set that a config names, with `data` and `metric` filled in.

  Args:
    config: its `set` is a key of `SETS`, several with commas, or "all"; or None, and
      what `data` says is the only set.

  Returns:
    Key -> config. What a single set's config does not leave open is kept.

  Raises:
    UserError: there is no such set, it needs a folder, or settings contradict it.
  """
  if config.set is None:
    if None in (config.data.name, config.metric):
      raise UserError(
        f"name a set, as in --config=configs/{config.experiment}.py:dtd; or give"
        " data.name and metric"
      )
    return {config.data.name: config}
  keys = list(SETS) if config.set == "all" else config.set.split(",")
  given = {k: config.data[k] for k in _OF_ONE_SET if config.data[k] is not None}
  if "name" in given:
    raise UserError(
      f"the config has the set {config.set!r} and data.name {config.data.name!r}: leave"
      f" one of them out, as --config=configs/{config.experiment}.py:{config.set} does"
    )
  if given and len(keys) > 1:
    name, value = next(iter(given.items()))
    raise UserError(
      f"data.{name} is {value!r}, and the sets {config.set!r} are several: leave it"
      " out, or name one set"
    )
  return {key: _filled(config, key) for key in keys}


def evaluate_each(
  config: ConfigDict,
  run_dir: RunDir,
  evaluate: Callable[[ConfigDict, RunDir], dict[str, Any]],
) -> dict[str, Any]:
  """Evaluates one encoder: on a single set in the run's folder, of several within it.

  Returns:
    The summary, or that of each set by its key.
  """
  configs = each_set(config)
  if len(configs) == 1:
    return evaluate(next(iter(configs.values())), run_dir)
  found = {}
  with progress.shown("sets", len(configs), "sets", lines=False) as bar:
    for key, one in configs.items():
      found[key] = evaluate(one, run_dir.inside(key))
      bar.add()
  return found


def _filled(config: ConfigDict, key: str) -> ConfigDict:
  name, data_dir = located(key, config.data.data_dir)
  found, one = SETS[key], config.copy_and_resolve_references()
  wanted: dict[str, Any] = {"name": name, "train": found.train, "test": found.test}
  if one.data.valid is None and one.data.held_out is None:
    wanted |= {"valid": found.valid, "held_out": found.held_out}
  with one.unlocked(), one.ignore_type():
    one.set, one.data.data_dir = key, data_dir
    one.data.update({k: v for k, v in wanted.items() if one.data[k] is None})
    if one.metric is None:
      one.metric = found.metric
  return one


def located(key: str, data_dir: str | None) -> tuple[str, str | None]:
  """The `data.name` and `data.data_dir` with which a set is opened.

  A set that tensorflow-datasets cannot prepare is DATA_DIR/KEY or else DATA_DIR, a
  folder with train/, test/ and, where the table says so, val/; or it was prepared
  before, and lies in DATA_DIR.

  Args:
    key: of `SETS`.
    data_dir: folder of the prepared sets; None for tensorflow-datasets' own default.

  Raises:
    UserError: there is no such set, or it needs a folder.
  """
  if key not in SETS:
    raise no_such("set", key, SETS)
  found = SETS[key]
  if found.folder is None:
    return found.name, data_dir
  if data_dir:
    root = Path(os.path.expanduser(data_dir))
    for folder in (root / key, root):
      if (folder / found.train).is_dir():
        return "folder", str(folder)
  if found.folder == _GONE and tfds_files.find_builder(found.name, data_dir):
    return found.name, data_dir
  splits = ", ".join(f"{s}/" for s in (found.train, found.valid, found.test) if s)
  raise UserError(
    f"{key} needs a folder, as {found.folder}: give --config.data.data_dir=FOLDER with"
    f" {splits} and in each a folder for each class"
  )
