"""Prepared sets of tensorflow-datasets, read without TensorFlow.

They are read at random by index from their array_record files, and OpenCV decodes
the images. What this project needs of TFDS's insides is in this file alone.
"""

import concurrent.futures
import contextlib
import difflib
import errno
import functools
import hashlib
import json
import math
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from array_record.python import array_record_module

# `tfds.builder` would import the code of a set that is registered, and with it
# TensorFlow or worse; this reads the files alone, registered or not.
from tensorflow_datasets.core.read_only_builder import builder_from_files
from tensorflow_datasets.core.utils import file_utils

from byol_jax import disk
from byol_jax.data import images, records, splits
from byol_jax.data.records import Place, RecordSource, decode_all
from byol_jax.data.sources import NO_LABEL, Source
from byol_jax.errors import UserError

ARRAY_RECORD = "array_record"
_INFO, _FEATURES = "dataset_info.json", "features.json"

_NAME = re.compile(r"\w+(/[\w.-]+)?(:[\d.*]+)?")
_THREADS = 16  # that wait for disks and networks
_MOST_OF_A_DESCRIPTION = 2**28  # bytes, names of a million classes among them
_MOST_FILES = 2**16
_MOST_CLASSES = 2**20  # classifiers have weights for each
_MEMORY_LIMIT = 2**30  # bytes of decoded pixels that are kept in memory


class RecordDataset:
  """A prepared set, by the builder that reads its files."""

  def __init__(self, name: str, builder: tfds.core.DatasetBuilder):
    """Finds the images and the labels among its features.

    Raises:
      UserError: it has no 8-bit image.
    """
    self.name = name
    self._builder = builder
    self._features = builder.info.features
    image_key = self._find("image", place=0, kind=tfds.features.Image)
    if image_key is None or self._features[image_key].np_dtype != np.uint8:
      raise UserError(
        f"{name} has no 8-bit image feature called image, or declared as its input: it"
        f" has {self._kinds()}; choose another set, or write it so"
      )
    channels = self._features[image_key].shape[-1]
    if channels not in (None, *images.CHANNELS):
      raise UserError(
        f"{name} declares images of {channels} channels: those of 1, 3 or 4 can be read"
      )
    self._image_key = image_key
    self._label_key = self._find("label", place=1, kind=tfds.features.ClassLabel)
    if self._label_key is None and "label" in self._features:
      logging.warning(
        "%s has %s: a label that is no ClassLabel is passed over", name, self._kinds()
      )
    self._path_key = self._find("path", place=None, kind=tfds.features.Text)
    self._classes_key = None if self._label_key else self._several_classes()
    self._check_classes()

  @functools.cached_property
  def sizes(self) -> dict[str, int]:
    """Name of each split -> number of its images."""
    return {split: sum(lengths) for split, lengths in self._shards.items()}

  @functools.cached_property
  def _shards(self) -> dict[str, list[int]]:
    infos = self._builder.info.splits.items()
    return {split: list(info.shard_lengths) for split, info in infos}

  @property
  def unreadable(self) -> dict[str, str]:
    """Nothing: a damaged set is refused; see `Dataset.unreadable`."""
    return {}

  def listing(self) -> list[str]:
    """Its splits, its version and its files; see `Dataset.listing`."""
    info = self._builder.info
    files = sorted(
      f"{split} {self._shards[split]} {info.splits[split].num_bytes}"
      for split in self._shards
    )
    digest = hashlib.sha256("\n".join(files).encode()).hexdigest()
    facts = [f"/version\t{info.version}", f"/files\t{digest[:16]}"]
    return [*splits.listing(self.sizes), *facts]

  def check(self, spec: str) -> int:
    """Counts the images of a split; see `Dataset.check`."""
    return splits.count(self.name, spec, self._shards)

  def split(self, spec: str) -> Source:
    """Opens a split; see `Dataset.split`.

    Images of one size that decode to at most 1 GiB are decoded once, into memory;
    others as they are read.
    """
    label_key = self._label_key
    shape = self._features[self._image_key].shape
    source = RecordSource(
      self._records(spec),
      self._image_key,
      label_key,
      num_classes=self._features[label_key].num_classes if label_key else None,
      channels=shape[-1] or 3,
      path_key=self._path_key,
      place=self._place(spec),
    )
    if None in shape or len(source) * math.prod(shape) > _MEMORY_LIMIT:
      return source
    return decode_all(source, shape)

  def truth(self, spec: str) -> np.ndarray | None:
    """Of which classes each image of a split is; see `sources.SeveralClasses`."""
    if (key := self._classes_key) is None:
      return None
    examples_of = self._records(spec)
    found = np.zeros((len(examples_of), self._features[key].feature.num_classes), bool)
    for start in range(0, len(examples_of), records.BLOCK):
      rows = range(start, min(start + records.BLOCK, len(examples_of)))
      with self._place(spec).reading():
        examples = examples_of.__getitems__(rows)
      for row, example in zip(rows, examples, strict=True):
        labels = np.asarray(example[key], int)
        if not np.isin(labels, range(NO_LABEL, found.shape[1])).all():
          raise self._place(spec).damaged(
            f"labels are {labels.tolist()}, and there are {found.shape[1]} classes"
          )
        found[row, labels[labels != NO_LABEL]] = True  # or numpy would count from last
    return found

  def _records(self, spec: str) -> Any:
    """The examples of a split, with images as they lie in the files."""
    self.check(spec)
    decoders = {self._image_key: tfds.decode.SkipDecoding()}
    with self._place(spec).reading():
      found = self._builder.as_data_source(spec, decoders=decoders)
      _check_shards(self._builder.info.splits[spec].file_instructions)
    return found

  def _place(self, spec: str) -> Place:
    parts = splits.resolve(self.name, spec, self._shards)
    bounds = [(s, *part.indices(self.sizes[s])[:2]) for s, part in parts]
    return Place(f"data set {self.name} in {self._builder.data_dir}", tuple(bounds))

  def _kinds(self) -> str:
    """All features with their kinds."""
    return ", ".join(f"{key}: {type(f).__name__}" for key, f in self._features.items())

  def _check_classes(self) -> None:
    """Refuses more classes than memory has room for; none at all are no labels."""
    label = self._label_key and self._features[self._label_key]
    label = self._features[self._classes_key].feature if self._classes_key else label
    if label and not 0 <= (label.num_classes or 0) <= _MOST_CLASSES:
      raise UserError(
        f"{self.name} declares {label.num_classes} classes, and {_MOST_CLASSES} are"
        f" possible: correct {_FEATURES} in {self._builder.data_dir}"
      )

  def _several_classes(self) -> str | None:
    """Name of the feature that has the classes of an image, where it may be several."""
    key = self._find("labels", place=None, kind=tfds.features.Sequence)
    feature = self._features[key].feature if key else None
    is_one = isinstance(feature, tfds.features.ClassLabel) and feature.num_classes
    return key if is_one else None

  def _find(self, key: str, *, place: int | None, kind: type) -> str | None:
    """Name of a feature of this kind: `key`, or else what the set declares there."""
    features = dict(self._features.items())
    declared = self._builder.info.supervised_keys or ()
    names = (key,) if place is None else (key, *declared[place : place + 1])
    for name in names:
      if isinstance(name, str) and isinstance(features.get(name), kind):
        return name
    return None


def open_dataset(
  name: str, data_dir: str | None, known: Sequence[str] = ()
) -> RecordDataset:
  """Opens a prepared set by its name; see `datasets.open_dataset`.

  Args:
    name: with config and version where wanted.
    data_dir: folder of the prepared sets; None for TFDS's own default.
    known: names of other sets, for the hint at a misspelt one.
  """
  builder = find_builder(name, data_dir, known)
  if builder is None:
    there = prepared(name, data_dir)
    beside = f" name what is there, {', '.join(there)}; or" if there else ""
    raise UserError(
      f"{name} is not prepared in {_where(data_dir)}:{beside} run"
      f" {prepare_command(name, data_dir)}"
    )
  if not has_array_record(builder):
    there = builder.info.file_format
    remedy = (
      f"convert it with {prepare_command(name, data_dir)}"
      if there == tfds.core.FileFormat.TFRECORD
      else f"prepare it as {ARRAY_RECORD} in another folder"
    )
    raise UserError(f"{name} in {builder.data_dir} is {there.value} only: {remedy}")
  return RecordDataset(name, builder)


def find_builder(
  name: str, data_dir: str | None, known: Sequence[str] = ()
) -> tfds.core.DatasetBuilder | None:
  """Finds a prepared set by its files, whether registered or not.

  Returns:
    A builder that reads, or None if `name` is registered but not prepared.

  Raises:
    UserError: there is no such folder, or no such data set.
  """
  data_dir = data_dir and os.path.expanduser(data_dir)
  if data_dir and not os.path.isdir(data_dir):
    raise UserError(f"data_dir {data_dir} does not exist: create it first")
  try:
    _check_descriptions(name, data_dir)
    with _own_features_alone():
      builder = builder_from_files(name, data_dir=data_dir)
    _check_files(builder)
    return builder
  except (tfds.core.DatasetNotFoundError, FileNotFoundError):
    registered = tfds.list_builders(with_community_datasets=False)
  except UserError:
    raise
  except Exception as error:  # damaged files fail in many ways
    if isinstance(error, ValueError) and not _NAME.fullmatch(name):
      raise UserError(
        f"{name!r} is no data set's name: write name[/config][:version]"
      ) from error
    raise _damaged(name, data_dir, error) from error
  base_name = name.split("/")[0].split(":")[0]
  there = prepared(name, data_dir)
  if not there and _folders(name, data_dir):
    raise _damaged(name, data_dir, FileNotFoundError(f"no {_FEATURES}"))
  if base_name in registered:
    return None
  if there:
    raise UserError(
      f"there is no {name} in {_where(data_dir)}: name what is there,"
      f" {', '.join(there)}"
    )
  close = difflib.get_close_matches(base_name, [*known, *registered])
  advice = f"did you mean {' or '.join(close)}?" if close else "check its name"
  raise UserError(f"there is no data set {name}: {advice}")


def prepared(name: str, data_dir: str | None) -> list[str]:
  """Names of the configs and versions of a set that are prepared, as far as is seen.

  Args:
    name: of the set; a config and a version in it are passed over.
    data_dir: folder of the prepared sets; None for TFDS's own default.
  """
  folders = _folders(name, data_dir)
  return [known for known, path in folders.items() if (path / _FEATURES).exists()]


def _folders(name: str, data_dir: str | None) -> dict[str, pathlib.Path]:
  """Name -> folder of each config and version of a set."""
  base_name = re.split("[/:]", name)[0]
  found = {}
  for root in file_utils.list_data_dirs(given_data_dir=data_dir):
    folder = pathlib.Path(root, base_name)
    for info in sorted([*folder.glob(f"*/{_INFO}"), *folder.glob(f"*/*/{_INFO}")]):
      *config, version = info.parent.relative_to(folder).parts
      found[f"{'/'.join([base_name, *config])}:{version}"] = info.parent
  return found


def _where(data_dir: str | None) -> str:
  return data_dir or "the default data_dir"


def _damaged(name: str, data_dir: str | None, error: Exception) -> UserError:
  return Place(f"data set {name} in {_where(data_dir)}", ()).damaged(error)


@contextlib.contextmanager
def _own_features_alone() -> Iterator[None]:
  """Refuses features of which the code is not loaded yet.

  TFDS imports whatever module a set's features.json names, from the working folder too.
  """
  kind = tfds.features.FeatureConnector
  before = kind.__dict__["cls_from_name"]

  def of_name(cls: Any, name: str) -> Any:
    if name not in cls._registered_features:
      raise UserError(
        f"features.json names {name!r}, which is no feature of tensorflow-datasets: its"
        " code is not run; write the set with features of tfds.features"
      )
    return before.__get__(None, cls)(name)

  kind.cls_from_name = classmethod(of_name)
  try:
    yield
  finally:
    kind.cls_from_name = before


def _check_descriptions(name: str, data_dir: str | None) -> None:
  """Raises OSError for what TFDS would read, and wait for, without end."""
  for folder in _folders(name, data_dir).values():
    for pattern in ("*.json", "*.txt"):
      for path in folder.glob(pattern):
        if disk.check_regular(path) > _MOST_OF_A_DESCRIPTION:
          raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))


def _check_files(builder: tfds.core.DatasetBuilder) -> None:
  """Refuses a description by which files lie elsewhere, or have more than they can.

  Or are those of two splits: tests on images that were trained on say nothing.
  """
  folder = os.path.abspath(builder.data_dir)
  files = sum(len(split.shard_lengths) for split in builder.info.splits.values())
  if files > _MOST_FILES:  # each is looked at, which takes time
    raise UserError(
      f"dataset_info.json in {folder} names {files} files, and {_MOST_FILES} are"
      " possible: write the set with fewer shards"
    )
  owners: dict[str, str] = {}
  for split in builder.info.splits.values():
    for path in split.filepaths:
      real = os.path.realpath(path)
      if real in owners:
        raise UserError(
          f"dataset_info.json in {folder} has {path} in {owners[real]!r} and in"
          f" {split.name!r}: correct it, as an image belongs to one split"
        )
      owners[real] = split.name
      if os.path.dirname(os.path.abspath(path)) != folder:
        raise UserError(
          f"dataset_info.json in {builder.data_dir} has a file of {split.name!r} in"
          f" another folder, {path}: a set's files lie beside it"
        )
    for path, length in zip(split.filepaths, split.shard_lengths, strict=True):
      if os.path.exists(path) and length > os.path.getsize(path):
        place = Place(f"data set in {folder}", ())
        raise place.damaged(
          f"{length} examples in the {os.path.getsize(path)} bytes of {path}"
        )


def _check_shards(instructions: Sequence[Any]) -> None:
  """Refuses files that have more or fewer examples than their description says.

  Of a file with more, TFDS reads the first, and says nothing.
  """

  def check(file: Any) -> None:
    reader = array_record_module.ArrayRecordReader(str(file.filename))
    try:
      count = reader.num_records()
    finally:
      reader.close()
    if count != file.examples_in_shard:
      raise ValueError(
        f"{file.filename} has {count} examples, and dataset_info.json says"
        f" {file.examples_in_shard}"
      )

  with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
    list(threads.map(check, instructions))


def has_array_record(builder: tfds.core.DatasetBuilder) -> bool:
  """Whether there are files that can be read by index, without TensorFlow."""
  return tfds.core.FileFormat.ARRAY_RECORD in builder.info.available_file_formats()


def shards(
  builder: tfds.core.DatasetBuilder,
) -> Iterator[tuple[os.PathLike[str], pathlib.Path, int]]:
  """Each shard's file, the array_record file that it would be, and its examples."""
  for split in builder.info.splits.values():
    template = split.filename_template.replace(filetype_suffix=ARRAY_RECORD)
    targets = template.sharded_filepaths(len(split.shard_lengths))
    for path, target, length in zip(
      split.filepaths, targets, split.shard_lengths, strict=True
    ):
      yield path, pathlib.Path(target), length


def list_array_record(builder: tfds.core.DatasetBuilder) -> None:
  """Notes array_record as a further format, as TFDS's own converter does."""
  path = pathlib.Path(builder.data_dir) / _INFO
  info = json.loads(path.read_text())
  info.setdefault("alternativeFileFormats", []).append(ARRAY_RECORD)
  partial = disk.cleared(path.with_name(f"incomplete.{path.name}"))
  partial.write_text(json.dumps(info, indent=2))
  partial.replace(path)


def prepare_command(name: str, data_dir: str | None) -> str:
  """The command line that prepares or converts a data set."""
  where = f" --data_dir={data_dir}" if data_dir else ""
  return f"python -m byol_jax.data.prepare --name={name}{where}"
