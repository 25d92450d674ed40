"""Small data sets as tensorflow-datasets prepares them, written without TensorFlow."""

import io
import itertools
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorboardX.crc32c import crc32c  # independent of the one under test
from tensorflow_datasets.proto import tf_example_pb2

Example = Mapping[str, bytes | int | Sequence[int]]

CIFAR10_VERSION = Path("cifar10", "3.0.2")
CIFAR10_SHARDS = {"train": [5, 3, 4], "test": [4, 2]}
CLASSES = [f"class{label}" for label in range(10)]


class Cifar10(NamedTuple):
  """Where a small set in the form of CIFAR-10 lies, and what is in it."""

  data_dir: Path
  images: dict[str, np.ndarray]
  labels: dict[str, list[int]]


def write_cifar10(data_dir: Path, file_format: str = "array_record") -> Cifar10:
  """Writes noise with random labels, the same at every call."""
  rng = np.random.default_rng(0)
  images, labels, splits = {}, {}, {}
  for split, lengths in CIFAR10_SHARDS.items():
    count = sum(lengths)
    images[split] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels[split] = rng.integers(0, len(CLASSES), count).tolist()
    examples = (
      {"id": f"{split}_{i:05d}".encode(), "image": encode(image), "label": label}
      for i, (image, label) in enumerate(zip(images[split], labels[split], strict=True))
    )
    splits[split] = [list(itertools.islice(examples, length)) for length in lengths]
  features = {
    "id": tfds.features.Text(),
    "image": tfds.features.Image(shape=(32, 32, 3)),
    "label": tfds.features.ClassLabel(names=CLASSES),
  }
  write(data_dir / CIFAR10_VERSION, features, splits, file_format)
  return Cifar10(data_dir, images, labels)


def write(
  folder: Path,
  features: Mapping[str, tfds.features.FeatureConnector],
  splits: Mapping[str, Sequence[Sequence[Example]]],
  file_format: str = "array_record",
  supervised: Sequence[str] = ("image", "label"),
) -> None:
  """Writes a prepared set.

  Args:
    folder: DATA_DIR/NAME/VERSION.
    features: what an example consists of.
    splits: name -> shards of examples.
    file_format: "array_record" or "tfrecord".
    supervised: the features that the set declares as input and label; () for none.
  """
  folder.mkdir(parents=True)
  infos = []
  for split, shards in splits.items():
    payloads = [[_serialise(example) for example in shard] for shard in shards]
    for i, shard in enumerate(payloads):
      end = f"{file_format}-{i:05d}-of-{len(shards):05d}"
      WRITERS[file_format](folder / f"{folder.parent.name}-{split}.{end}", shard)
    infos.append(
      {
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "name": split,
        "numBytes": str(sum(map(len, itertools.chain(*payloads)))),
        "shardLengths": [str(len(shard)) for shard in shards],
      }
    )
  info = {
    "fileFormat": file_format,
    "moduleName": "somewhere.else",
    "name": folder.parent.name,
    "splits": infos,
    "version": folder.name,
  }
  if supervised:
    keys = [{"featureKey": key} for key in supervised]
    info["supervisedKeys"] = {"tuple": {"items": keys}}
  (folder / "dataset_info.json").write_text(json.dumps(info))
  tfds.features.FeaturesDict(features).save_config(folder)


def encode(image: np.ndarray, kind: str = "PNG", **options) -> bytes:
  """An image file by Pillow, while the library decodes with OpenCV."""
  buffer = io.BytesIO()
  PIL.Image.fromarray(image).save(buffer, kind, **options)
  return buffer.getvalue()


def frame(payload: bytes) -> bytes:
  """A TFRecord record, by the description in TensorFlow's record_writer.h."""

  def masked(data):
    crc = crc32c(data)
    rotated = (crc >> 15) | (crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)

  length = struct.pack("<Q", len(payload))
  return length + masked(length) + payload + masked(payload)


def _write_array_record(path: Path, payloads: Iterable[bytes]) -> None:
  writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
  for payload in payloads:
    writer.write(payload)
  writer.close()


def _write_tfrecord(path: Path, payloads: Iterable[bytes]) -> None:
  path.write_bytes(b"".join(map(frame, payloads)))


WRITERS = {"array_record": _write_array_record, "tfrecord": _write_tfrecord}


def _serialise(example: Example) -> bytes:
  proto = tf_example_pb2.Example()
  for name, value in example.items():
    feature = proto.features.feature[name]
    if isinstance(value, bytes):
      feature.bytes_list.value.append(value)
    else:
      feature.int64_list.value.extend([value] if isinstance(value, int) else value)
  return proto.SerializeToString()
