"""Mutated data sets: each has the images that it had, or is refused in one line.

Sets are of images of one size, which are decoded into memory, and of any, which are
decoded as they are read; in array_record files, and in tfrecord files, which are
converted first. What is changed is a byte of a shard, a record whose file then has
the right checksums again, a value of a description, or a file as a whole.

What nobody can see counts as read: another image or label in a record that is whole
by all checksums; a description by which images are grey, or have no label. Nor can it
be seen where whole files of equally many records are exchanged: here there are none.
"""

import contextlib
import functools
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from byol_jax.data import datasets, images, prepare
from byol_jax.errors import UserError
from tests import prepared
from tests.faults import mutate, tamper, trial
from tests.faults.child import Child
from tests.faults.trial import Trial

SECONDS = 10.0
MIB = 256.0  # a set of 20 kB, of which nothing may claim more than there is
NAME = "small"
SHARDS = {"train": [5, 3, 4], "test": [6, 2]}  # no two of a length: see above
CLASSES = ["cat", "dog", "owl"]
SIDES = {"fixed": (6, 7, 3), "free": (None, None, 3)}


def trials(count: int, seed: int, folder: Path) -> Iterator[Trial]:
  """Mutates one set after another."""
  rng = random.Random(seed)
  outside, data_dir = folder / "outside", folder / "sets"
  with Child(read, SECONDS, MIB) as child:
    for number in range(count):
      sides, file_format = rng.choice(sorted(SIDES)), rng.choice(_FORMATS)
      _lay_out(data_dir, sides, file_format)
      _lay_outside(outside)
      change = rng.choice(_CHANGES)
      done = change(rng, data_dir / NAME / "1.0.0", outside)
      name = f"{number} {sides} {file_format} {done}"
      yield _judged(child, name, data_dir, outside, change)


def _judged(
  child: Child, name: str, data_dir: Path, outside: Path, change: Any
) -> Trial:
  """Reads a set, and looks at what has become of the files."""
  whole, elsewhere = trial.contents(data_dir), trial.contents(outside)
  result = child.ask(name, str(data_dir), str(outside), change is _record)
  lost = [
    *(name for name in trial.lost(whole, data_dir) if not name.endswith(_INFO)),
    *trial.lost(elsewhere, outside),
    *(trial.contents(outside).keys() - elsewhere.keys()),
  ]
  if lost and not result.wrong:
    return result._replace(wrong=f"it has changed {', '.join(lost)}")
  return result


# What is changed.

_INFO = "dataset_info.json"
_FORMATS = ("array_record", "tfrecord")


def _shard(rng: random.Random, folder: Path, outside: Path) -> str:
  path = rng.choice(sorted(folder.glob("*record*")))
  path.write_bytes(mutate.mutated(rng, path.read_bytes()))
  return f"bytes of {path.name}"


def _record(rng: random.Random, folder: Path, outside: Path) -> str:
  """One record is another, and all checksums of the file are right."""
  path = rng.choice(sorted(folder.glob("*record*")))
  file_format = path.suffix[1:].partition("-")[0]
  if file_format == "array_record":
    reader = array_record_module.ArrayRecordReader(str(path))
    payloads = reader.read_all()
    reader.close()
  else:
    payloads = list(prepare.read_tfrecord(path))
  index = rng.randrange(len(payloads))
  payloads[index] = mutate.mutated(rng, payloads[index], SIDES["fixed"][:2])
  prepared.WRITERS[file_format](path, payloads)
  return f"record {index} of {path.name}"


def _description(rng: random.Random, folder: Path, outside: Path) -> str:
  path = rng.choice(sorted(folder.glob("*.json")))
  done = rng.choice((mutate.mutated, tamper.values))
  path.write_bytes(done(rng, path.read_bytes()))
  return f"{done.__name__} {path.name}"


def _file(rng: random.Random, folder: Path, outside: Path) -> str:
  path = rng.choice(sorted(folder.iterdir()))
  return f"{path.name} {tamper.file(rng, path, outside)}"


_CHANGES = (_shard, _record, _description, _file)


# What is laid out.


def _lay_out(data_dir: Path, sides: str, file_format: str) -> None:
  source = data_dir.with_name(f"{sides}-{file_format}")
  if not source.exists():
    features = {
      "id": tfds.features.Text(),
      "image": tfds.features.Image(shape=SIDES[sides]),
      "label": tfds.features.ClassLabel(names=CLASSES),
    }
    prepared.write(source / NAME / "1.0.0", features, _splits(), file_format)
  shutil.rmtree(data_dir, ignore_errors=True)
  shutil.copytree(source, data_dir)


def _lay_outside(outside: Path) -> None:
  """A file that links lead to, and code that must not be run."""
  shutil.rmtree(outside, ignore_errors=True)
  outside.mkdir()
  (outside / "whole").write_bytes(bytes(100))
  mark = outside / "has_run"
  (outside / "strangers.py").write_text(f"open({str(mark)!r}, 'w')\nKind = object\n")


@functools.cache
def _splits() -> dict[str, list[list[dict[str, Any]]]]:
  """Split -> shards of examples, with PNGs of noise."""
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (sum(map(sum, SHARDS.values())), *SIDES["fixed"]))
  examples = iter(
    {
      "id": f"{number:05d}".encode(),
      "image": prepared.encode(image.astype(np.uint8)),
      "label": number % len(CLASSES),
    }
    for number, image in enumerate(noise)
  )
  return {
    split: [[next(examples) for _ in range(length)] for length in lengths]
    for split, lengths in SHARDS.items()
  }


# How it is read, in the child.


def read(data_dir: str, outside: str, is_whole: bool) -> str:
  """Prepares and reads a set.

  Args:
    data_dir: where it lies.
    outside: a folder with code that must not be run.
    is_whole: whether one record may be another, unnoticed.

  Returns:
    What is wrong.
  """
  if outside not in sys.path:
    sys.path.insert(0, outside)
  try:
    prepare.prepare(NAME, data_dir)
    dataset = datasets.open_dataset(NAME, data_dir)
    others = sum(_others(dataset.split(split), split) for split in SHARDS)
  except UserError as error:
    line = str(error)
    return "" if line and "\n" not in line else f"no reason of one line: {line!r}"
  finally:
    with contextlib.suppress(KeyError):
      del sys.modules["strangers"]
  return "" if others <= is_whole else f"{others} images or labels are others"


def _others(source: Any, split: str) -> int:
  """How many images or labels are not those that were written."""
  examples = [example for shard in _splits()[split] for example in shard]
  if len(source) != len(examples):
    return abs(len(source) - len(examples)) * len(examples)
  others = 0
  for (image, label), example in zip(source, examples, strict=True):
    assert image.dtype == np.uint8, image.dtype
    assert image.ndim == 3, image.shape
    wanted = images.decode(example["image"], source.channels)
    is_same = np.array_equal(image, wanted)
    labels = (
      (example["label"], -1) if source.num_classes is None else (example["label"],)
    )
    others += not is_same or label not in labels
  return others
