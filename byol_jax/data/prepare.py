"""Brings a data set of tensorflow-datasets, or a folder, into array_record files.

  python -m byol_jax.data.prepare --name=cifar10 --data_dir=~/tensorflow_datasets
  python -m byol_jax.data.prepare --folder=PHOTOS --side=320 --data_dir=OUT

A set that is there as tfrecord, TFDS's default, is converted beside it and
needs no TensorFlow; one that is absent is downloaded, which needs TensorFlow.
The images of a folder are reduced once: see `prepare_folder`.
"""

from byol_jax import interrupts

if __name__ == "__main__":
  interrupts.importing()

import importlib.util
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import google_crc32c
import tensorflow_datasets as tfds
from absl import flags

from byol_jax import commands, progress
from byol_jax.data import datasets, prepare_folder, record_files, tfds_files
from byol_jax.errors import UserError
from byol_jax.progress import Bar


def prepare(name: str, data_dir: str | None) -> str:
  """Makes a data set readable by `datasets.open_dataset`.

  Args:
    name: tensorflow-datasets name, with config and version where wanted.
    data_dir: folder of the prepared data sets; None for TFDS's own default.

  Returns:
    One line that says what was done.

  Raises:
    UserError: no such data set or folder; a tfrecord file is damaged; the set
      has to be downloaded and TensorFlow is missing.
  """
  if name in datasets.DATASETS:
    return f"{name} is no set of tensorflow-datasets: there is nothing to prepare."
  builder = tfds_files.find_builder(name, data_dir, tuple(datasets.DATASETS))
  if builder is None:
    return _download(name, data_dir)
  if tfds_files.has_array_record(builder):
    return f"{name} in {builder.data_dir} is ready to be read already."
  return _convert(builder)


def read_tfrecord(path: str | os.PathLike[str]) -> Iterator[bytes]:
  """Yields the records of an uncompressed TFRecord file.

  Each is a little-endian uint64 length, its masked CRC-32C as uint32, the
  payload, and the payload's masked CRC-32C (TensorFlow's record_writer.h).

  Raises:
    UserError: the file is not there, ends inside a record, or a checksum is wrong.
  """
  if not os.path.isfile(path):
    raise UserError(f"{path} is missing, or no file: fetch it again")
  left = os.path.getsize(path)
  with open(path, "rb") as file:
    while header := file.read(12):
      _check(header[:8], header[8:], 8, path)
      (length,) = struct.unpack("<Q", header[:8])
      if (left := left - 16) < length:  # memory is taken for no more than is there
        raise _damaged(path)
      left -= length
      payload = file.read(length)
      _check(payload, file.read(4), length, path)
      yield payload


def _check(
  data: bytes, checksum: bytes, length: int, path: str | os.PathLike[str]
) -> None:
  crc = google_crc32c.value(data)
  masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
  if len(data) != length or checksum != struct.pack("<I", masked):
    raise _damaged(path)


def _damaged(path: str | os.PathLike[str]) -> UserError:
  return UserError(f"{path} is truncated or damaged: fetch this file again")


def _convert(builder: tfds.core.DatasetBuilder) -> str:
  """Writes array_record shards beside the tfrecord shards, same payloads.

  The set is readable once its dataset_info.json lists the second format, which
  is the last thing written: an interrupted conversion leaves the set as it was.
  TensorFlow's readers of the folder keep to the tfrecord files.
  """
  if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
    raise UserError(
      f"{builder.data_dir} holds {builder.info.file_format.value} files: only"
      " tfrecord can be converted"
    )
  if not os.access(builder.data_dir, os.W_OK):
    raise UserError(f"{builder.data_dir} cannot be written to: copy the data set first")
  shards = list(tfds_files.shards(builder))
  total = sum(length for _, _, length in shards)
  with (
    prepare_folder.only_one(Path(builder.data_dir)),
    progress.shown(f"converting {builder.name}", total, "examples") as bar,
  ):
    for path, target, length in shards:
      record_files.write_shard(target, _payloads(path, length, bar))
    tfds_files.list_array_record(builder)
  return f"Converted {total} examples in {builder.data_dir} to array_record."


def _payloads(path: os.PathLike[str], length: int, bar: Bar) -> Iterator[bytes]:
  """The records of a tfrecord file, which has to have so many."""
  count = 0
  for payload in read_tfrecord(path):
    yield payload
    count += 1
    bar.add()
  if count != length:
    raise UserError(
      f"{path} has {count} records, dataset_info.json says {length}: fetch"
      " this file again"
    )


def _download(name: str, data_dir: str | None) -> str:
  if importlib.util.find_spec("tensorflow") is None:
    there = tfds_files.prepared(name, data_dir)
    beside = f"there is {', '.join(there)}, and " if there else ""
    raise UserError(
      f"{beside}downloading {name} needs TensorFlow: run pip install -e '.[prepare]'"
    )
  builder = tfds.builder(name, data_dir=data_dir)
  if not progress.can_draw():  # its own bars are drawn into files too
    tfds.disable_progress_bar()
  try:
    builder.download_and_prepare(file_format=tfds_files.ARRAY_RECORD)
  # What TFDS raises where files that must be fetched by hand are not there.
  except (AssertionError, OSError, tfds.download.DownloadError) as error:
    raise UserError(
      f"{name} cannot be prepared: {' '.join(str(error).split())}"
    ) from error
  return f"Prepared {name} in {builder.data_dir}."


def _main() -> None:
  commands.set_up_logging(flags.FLAGS.quiet)
  commands.say(_prepare(flags.FLAGS), "the folder of the data sets")


def _prepare(given: flags.FlagValues) -> str:
  """Does what the command line asks for."""
  if given.folder is not None:
    cv2.setNumThreads(0)  # there is a thread for each core already
    if given.side is None:
      raise UserError("say how many pixels the shorter side is to have: --side=320")
    return prepare_folder.prepare(given.folder, given.data_dir, given.side, given.name)
  if given.side is not None:
    raise UserError("--side is for a folder of images: name it with --folder")
  if given.name is None:
    raise UserError(
      "name a data set, as in --name=cifar10, or a folder of images, as in"
      " --folder=PHOTOS"
    )
  return prepare(given.name, given.data_dir)


if __name__ == "__main__":
  commands.define_flags()
  flags.DEFINE_string("name", None, "Name of the data set; new, for a folder.")
  flags.DEFINE_string("data_dir", None, "Folder of the prepared data sets.")
  flags.DEFINE_string("folder", None, "Folder of images to make a data set of.")
  flags.DEFINE_integer("side", None, "Pixels of the shorter side, for a folder.")
  commands.run(_main, sys.argv)
