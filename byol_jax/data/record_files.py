"""Writes a set as tensorflow-datasets does, in array_record files, without TensorFlow.

`tfds_sets` reads such sets. A set lies in DATA_DIR/NAME/VERSION, and is there once its
dataset_info.json is, which is written last.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.proto import tf_example_pb2

from byol_jax import disk
from byol_jax.data.tfds_files import ARRAY_RECORD, INFO

Features = Mapping[str, tfds.features.FeatureConnector]


def serialise(example: Mapping[str, bytes | int]) -> bytes:
  """A record: a TensorFlow Example, with one value for each feature."""
  proto = tf_example_pb2.Example()
  for name, value in example.items():
    feature = proto.features.feature[name]
    if isinstance(value, bytes):
      feature.bytes_list.value.append(value)
    else:
      feature.int64_list.value.append(value)
  # Else the order of the features would be another in each process.
  return proto.SerializeToString(deterministic=True)


def shard_name(name: str, split: str, index: int, count: int) -> str:
  """The name of one of a split's files."""
  return f"{name}-{split}.{ARRAY_RECORD}-{index:05d}-of-{count:05d}"


def write_shard(path: Path, records: Iterable[bytes]) -> None:
  """Writes a file of records under another name, which it loses once it is whole.

  Raises:
    OSError: it cannot be written.
  """
  partial = disk.cleared(path.with_name(f"incomplete.{path.name}"))
  writer = array_record_module.ArrayRecordWriter(str(partial), "group_size:1")
  try:
    for record in records:
      writer.write(record)
    writer.close()
    partial.replace(path)
  except RuntimeError as error:  # What it makes of a disk that is full.
    raise OSError(str(error).partition(";")[0]) from error
  finally:
    partial.unlink(missing_ok=True)


def write_info(
  folder: Path,
  features: Features,
  lengths: Mapping[str, Sequence[int]],
  sizes: Mapping[str, int],
) -> None:
  """Writes what makes files of records a set.

  Args:
    folder: DATA_DIR/NAME/VERSION.
    features: what a record consists of, "image" and perhaps "label" among it.
    lengths: split -> number of the records in each of its files.
    sizes: split -> bytes of all its records.
  """
  identity = tfds.core.dataset_info.DatasetIdentity(
    name=folder.parent.name,
    version=tfds.core.Version(folder.name),
    data_dir=str(folder),
    module_name="",
  )
  template = tfds.core.ShardedFileTemplate(
    data_dir=folder, dataset_name=folder.parent.name, filetype_suffix=ARRAY_RECORD
  )
  info = tfds.core.DatasetInfo(
    builder=identity,
    features=tfds.features.FeaturesDict(features),
    supervised_keys=("image", "label") if "label" in features else None,
  )
  info.set_file_format(ARRAY_RECORD)
  info.set_splits(
    tfds.core.SplitDict(
      tfds.core.SplitInfo(
        name=split,
        shard_lengths=list(lengths[split]),
        num_bytes=sizes[split],
        filename_template=template,
      )
      for split in lengths
    )
  )
  written = folder / "incomplete.info"
  if written.is_symlink():
    written.unlink()
  shutil.rmtree(written, ignore_errors=True)
  written.mkdir()
  info.write_to_directory(written)
  for path in sorted(written.iterdir(), key=lambda path: path.name == INFO):
    path.replace(folder / path.name)
  written.rmdir()
