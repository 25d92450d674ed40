"""Data sets: folders of images and prepared sets that are not as they should be."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tests import prepared
from tests.faults.inputs.bad import Bad, instead
from tests.faults.inputs.place import Place

_VERSION = prepared.CIFAR10_VERSION


def rows(place: Place) -> Iterator[Bad]:
  """All of them."""
  yield from _folders(place)
  yield from _names(place)
  yield from _damaged(place)
  yield from _features(place)


def _folders(place: Place) -> Iterator[Bad]:
  for name, (files, says) in _FOLDERS.items():
    folder = place.new()
    for path in files:
      _image(folder / path)
    yield Bad(
      f"a folder with {name}",
      place.views("--config.data.name=folder", f"--config.data.data_dir={folder}"),
      says,
    )
  for name, (files, says) in _UNLABELLED.items():
    folder = place.new()
    for path in files:
      _image(folder / path)
    data = ("--config.data.name=folder", f"--config.data.data_dir={folder}")
    for config in ("knn", "linear_cached", "linear_eval", "semi_supervised"):
      yield Bad(f"{config} of {name}", place.evaluate(config, *data, *_ALL), says)


_ALL = ("--config.data.train=train", "--config.data.test=train")
_FOLDERS = {
  "one image": (
    ["a.png"],
    "the split .* has one image: give two|nothing for the split",
  ),
  "a text for an image": (["a.txt", "b.txt"], "no image that can be read"),
  "images in and beside a split": (["train/a.png", "b/c.png"], "outside of it: move"),
}
_UNLABELLED = {
  "no labels": (["a.png", "b.png", "c.png", "d.png"], "has no labels|no class"),
  "one class": ([f"train/a/{n}.png" for n in range(4)], "no labels|no class|one class"),
  "a flat train/": ([f"train/{n}.png" for n in range(4)], "no labels|no class"),
}


def _image(path: Path) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = np.random.default_rng(len(path.name)).integers(0, 256, (32, 32, 3))
  path.write_bytes(
    prepared.encode(pixels.astype(np.uint8)) if path.suffix == ".png" else b"text"
  )


def _names(place: Place) -> Iterator[Bad]:
  """Names of sets that are not there: what is there is said."""
  for name in ("cifar10:9.9.9", "cifar10:3.0.*x", "cifar10/big", "cifar10/big:1.0.0"):
    yield Bad(
      f"data.name={name}",
      place.views(*_of_set(place.sets, name)),
      "cifar10:3.0.2|no data set's name",
    )
  for name in ("cifra10", "photo", "fodler", "", "a b", "../cifar10"):
    yield Bad(
      f"data.name={name!r}",
      place.views(*_of_set(place.sets, name)),
      "did you mean|check its name|no data set's name|name ",
    )
  yield Bad(
    "another version",
    place.views(*_of_set(place.sets, "cifar10:9.9.9"), *_SPLITS),
    "name what is there, cifar10:3.0.2",
    lambda line: place.views(
      *_of_set(place.sets, line.partition("is there, ")[2].split(";")[0]), *_SPLITS
    ),
  )
  yield Bad(
    "photos somewhere",
    place.views(f"--config.data.data_dir={place.photos}"),
    "leave out data.data_dir, or name",
    instead(place.views()),
  )


_SPLITS = (
  "--config.data.train=train",
  *(f"--config.probe.{name}=train" for name in ("train", "valid_train")),
  *(f"--config.probe.{name}=test" for name in ("test", "valid_test")),
  "--config.train.batch_size=4",
)


def _of_set(data_dir: Path, name: str = "cifar10") -> tuple[str, str]:
  return f"--config.data.name={name}", f"--config.data.data_dir={data_dir}"


def _damaged(place: Place) -> Iterator[Bad]:
  for name, (damage, says) in _DAMAGE.items():
    sets = place.copy(place.sets)
    damage(sets / _VERSION)

    def way_out(line: str, sets: Path = sets) -> Any:
      del line  # it says to restore or prepare it
      shutil.rmtree(sets)
      shutil.copytree(place.sets, sets)
      return place.views(*_of_set(sets), *_SPLITS)

    yield Bad(name, place.views(*_of_set(sets), *_SPLITS), says, way_out)


def _text(name: str, content: str | bytes) -> Callable[[Path], None]:
  data = content if isinstance(content, bytes) else content.encode()
  return lambda folder: (folder / name).write_bytes(data) and None


def _changed_info(**values: Any) -> Callable[[Path], None]:
  def change(folder: Path) -> None:
    path = folder / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))

  return change


def _shard(change: Callable[[Path], object]) -> Callable[[Path], None]:
  return lambda folder: [*map(change, sorted(folder.glob("*train*")))] and None


_PREPARE = "move it away, and fetch or prepare it again"
_DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
  "info that is no JSON": (_text("dataset_info.json", "{"), _PREPARE),
  "info that is a list": (_text("dataset_info.json", "[]"), _PREPARE),
  "info in UTF-16": (_text("dataset_info.json", "{}".encode("utf-16")), _PREPARE),
  "empty info": (_text("dataset_info.json", ""), _PREPARE),
  "info of no splits": (_changed_info(splits=[]), "nothing for the split|no splits"),
  "info of no version": (_changed_info(version=""), _PREPARE),
  "no info": (lambda folder: (folder / "dataset_info.json").unlink(), _PREPARE),
  "features that are no JSON": (_text("features.json", "{"), _PREPARE),
  "features that are null": (_text("features.json", "null"), _PREPARE),
  "no features": (lambda folder: (folder / "features.json").unlink(), _PREPARE),
  "absent shards": (_shard(Path.unlink), _PREPARE),
  "empty shards": (_shard(lambda path: path.write_bytes(b"")), _PREPARE),
  "shards of zeros": (_shard(lambda path: path.write_bytes(bytes(9000))), _PREPARE),
  "half of each shard": (
    _shard(lambda path: path.write_bytes(path.read_bytes()[:5000])),
    _PREPARE,
  ),
}


def _features(place: Place) -> Iterator[Bad]:
  """Sets whose features are others than those that are wanted."""
  pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
  image, label = tfds.features.Image(shape=(32, 32, 3)), tfds.features.ClassLabel
  for name, (features, example, says) in {
    "no image": ({"text": tfds.features.Text()}, {"text": b"x"}, "no 8-bit image"),
    "an image of another name": ({"picture": image}, {"picture": None}, "picture"),
    "no label": ({"image": image}, {"image": None}, "no labels"),
    "a label that is a number": (
      {"image": image, "label": tfds.features.Scalar(np.int64)},
      {"image": None, "label": 1},
      "no labels",
    ),
    "labels of -1": (
      {"image": image, "label": label(num_classes=3)},
      {"image": None, "label": -1},
      "no labels",
    ),
    "one class": (
      {"image": image, "label": label(num_classes=3)},
      {"image": None, "label": 1},
      "one class",
    ),
    "an image that is none": (
      {"image": image, "label": label(num_classes=3)},
      {"image": b"no image", "label": 1},
      "image 0 of 'train' of .*leave it out, as train.:0.[+]train.1:.",
    ),
    "an image of another size": (
      {"image": image, "label": label(num_classes=3)},
      {"image": prepared.encode(pixels[0, :4]), "label": 1},
      "image 0 of 'train' of .*leave it out, as train.:0.[+]train.1:.",
    ),
  }.items():
    sets = place.new()
    examples = [
      {k: prepared.encode(one) if v is None else v for k, v in example.items()}
      for one in pixels
    ]
    splits = {"train": [examples[:4]], "test": [examples[4:]]}
    prepared.write(sets / "strange" / "1.0.0", features, splits, supervised=())
    data = (*_of_set(sets, "strange"), *_ALL)
    # Labels are looked at once features are there, in the folder of the evaluation.
    late = name in ("labels of -1", "one class")
    yield Bad(f"a set with {name}", place.evaluate("knn", *data), says, writes=late)
  empty = place.new()
  splits = {"train": [[]], "test": [[]]}
  prepared.write(empty / "strange" / "1.0.0", {"image": image}, splits, supervised=())
  data = (*_of_set(empty, "strange"), *_SPLITS)
  yield Bad("a set with no records", place.views(*data), "nothing for the split")
