"""The files of prepared sets of tensorflow-datasets: where they lie, and how sound.

No code of a set is run, and TensorFlow is not imported. What this project needs of
TFDS's insides is here, in `tfds_sets` and in `record_files`.
"""

import concurrent.futures
import contextlib
import difflib
import errno
import json
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_module

# `tfds.builder` would import the code of a set that is registered, and with it
# TensorFlow or worse; this reads the files alone, registered or not.
from tensorflow_datasets.core.read_only_builder import builder_from_files
from tensorflow_datasets.core.utils import file_utils

from byol_jax import disk
from byol_jax.data.records import Place
from byol_jax.errors import UserError

ARRAY_RECORD = "array_record"
INFO = "dataset_info.json"

_FEATURES = "features.json"
_NAME = re.compile(r"\w+(/[\w.-]+)?(:[\d.*]+)?")
_THREADS = 16  # that wait for disks and networks
_MOST_OF_A_DESCRIPTION = 2**28  # bytes, names of a million classes among them
_MOST_FILES = 2**16


def find_builder(
  name: str, data_dir: str | None, known: Sequence[str] = ()
) -> tfds.core.DatasetBuilder | None:
  """Finds a prepared set by its files, whether registered or not.

  Returns:
    A builder that reads, or None if `name` is registered but not prepared.

  Raises:
    UserError: it is no folder, or there is no such data set.
  """
  data_dir = data_dir and os.path.expanduser(data_dir)
  if data_dir and os.path.exists(data_dir) and not os.path.isdir(data_dir):
    raise UserError(f"data_dir {data_dir} is no folder: name that of the data sets")
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
  base_name = _base(name)
  there = prepared(name, data_dir)
  if not there and _folders(name, data_dir):
    raise _damaged(name, data_dir, FileNotFoundError(f"no {_FEATURES}"))
  if base_name in registered:
    return None
  if there:
    raise UserError(
      f"there is no {name} in {where(data_dir)}: name what is there, {', '.join(there)}"
    )
  close = difflib.get_close_matches(base_name, [*known, *registered])
  advice = f"check its name, and {where(data_dir)}"
  if close:
    advice = f"did you mean {' or '.join(close)}?"
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
  base_name = _base(name)
  found = {}
  for root in file_utils.list_data_dirs(given_data_dir=data_dir):
    folder = pathlib.Path(root, base_name)
    for info in sorted([*folder.glob(f"*/{INFO}"), *folder.glob(f"*/*/{INFO}")]):
      *config, version = info.parent.relative_to(folder).parts
      found[f"{'/'.join([base_name, *config])}:{version}"] = info.parent
  return found


def _base(name: str) -> str:
  """A set's name without config and version."""
  return re.split("[/:]", name)[0]


def where(data_dir: str | None) -> str:
  """The folder of prepared sets, in words."""
  if not data_dir:
    return "the default data_dir"
  there = os.path.isdir(os.path.expanduser(data_dir))
  return data_dir if there else f"{data_dir}, which does not exist"


def _damaged(name: str, data_dir: str | None, error: Exception) -> UserError:
  return Place(f"data set {name} in {where(data_dir)}", ()).damaged(error)


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


def check_shards(instructions: Sequence[Any]) -> None:
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
  path = pathlib.Path(builder.data_dir) / INFO
  info = json.loads(path.read_text())
  formats = info.setdefault("alternativeFileFormats", [])
  if ARRAY_RECORD not in formats:  # another command may just have been here
    disk.write_json(path, info | {"alternativeFileFormats": [*formats, ARRAY_RECORD]})


def prepare_command(name: str, data_dir: str | None) -> str:
  """The command line that prepares or converts a data set."""
  where = f" --data_dir={data_dir}" if data_dir else ""
  return f"python -m byol_jax.data.prepare --name={name}{where}"
