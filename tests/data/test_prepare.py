"""Conversion of tfrecord to array_record, on files written by hand."""

import importlib.util
import json
import pathlib
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorboardX.crc32c import crc32c  # independent of the one under test

from byol_jax.data import prepare, sources
from byol_jax.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
CIFAR10 = ROOT.parent / "shared" / "tfds"
VERSION = pathlib.Path("cifar10", "3.0.2")
SHARDS = {"train": [5, 3], "test": [4]}

needs_cifar10 = pytest.mark.skipif(
  not CIFAR10.is_dir(), reason=f"no prepared CIFAR-10 in {CIFAR10}"
)


def _frame(payload):
  """A TFRecord record, by the description in TensorFlow's record_writer.h."""

  def masked(data):
    crc = crc32c(data)
    rotated = (crc >> 15) | (crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)

  length = struct.pack("<Q", len(payload))
  return length + masked(length) + payload + masked(payload)


@pytest.fixture
def records(tmp_path):
  path = tmp_path / "some.tfrecord"
  path.write_bytes(b"".join(map(_frame, [b"first", b"", b"third" * 100])))
  return path


@pytest.fixture
def tfrecord_dir(tmp_path):
  """A data_dir that holds the first CIFAR-10 images as tfrecord alone."""
  folder = tmp_path / VERSION
  folder.mkdir(parents=True)
  builder = tfds.builder_from_directory(CIFAR10 / VERSION)
  info = json.loads((CIFAR10 / VERSION / "dataset_info.json").read_text())
  info["fileFormat"] = "tfrecord"
  raw = tfds.decode.DeserializeMethod.RAW_BYTES
  for split in info["splits"]:
    name, lengths = split["name"], SHARDS[split["name"]]
    payloads = iter(builder.as_data_source(name, deserialize_method=raw))
    split["shardLengths"] = [str(length) for length in lengths]
    for i, length in enumerate(lengths):
      shard = f"cifar10-{name}.tfrecord-{i:05d}-of-{len(lengths):05d}"
      frames = [_frame(next(payloads)) for _ in range(length)]
      (folder / shard).write_bytes(b"".join(frames))
  (folder / "dataset_info.json").write_text(json.dumps(info))
  for name in ("features.json", "label.labels.txt"):
    shutil.copyfile(CIFAR10 / VERSION / name, folder / name)
  return tmp_path


def _files(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_crc32c_has_its_published_value():
  assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's polynomial


def test_tfrecord_gives_its_payloads(records):
  expected = [b"first", b"", b"third" * 100]
  assert list(prepare.read_tfrecord(records)) == expected


@pytest.mark.parametrize("kept", [1, 11, 12, 15, 19, 22, -1])
def test_a_truncated_tfrecord_is_refused(records, kept):
  records.write_bytes(records.read_bytes()[:kept])
  with pytest.raises(UserError, match=r"some\.tfrecord is truncated or damaged"):
    list(prepare.read_tfrecord(records))


@pytest.mark.parametrize("position", [0, 7, 9, 14, 18, 30])
def test_a_flipped_bit_is_found(records, position):
  content = bytearray(records.read_bytes())
  content[position] ^= 0x10
  records.write_bytes(content)
  with pytest.raises(UserError, match=r"some\.tfrecord is truncated or damaged"):
    list(prepare.read_tfrecord(records))


@needs_cifar10
def test_tfrecord_is_refused_then_converted_then_read(tfrecord_dir):
  command = f"prepare --name=cifar10 --data_dir={tfrecord_dir}"
  with pytest.raises(UserError, match=f"tfrecord only.*{command}$"):
    sources.open_source("cifar10", "train", str(tfrecord_dir))
  before = _files(tfrecord_dir / VERSION)

  message = prepare.prepare("cifar10", str(tfrecord_dir))

  assert message.startswith("Converted 12 examples")
  after = _files(tfrecord_dir / VERSION)
  old_info = json.loads(before.pop("dataset_info.json"))
  new_info = json.loads(after["dataset_info.json"])
  assert new_info == old_info | {"alternativeFileFormats": ["array_record"]}
  assert before.items() <= after.items()  # nothing else changed
  assert sorted(after.keys() - before.keys() - {"dataset_info.json"}) == [
    "cifar10-test.array_record-00000-of-00001",
    "cifar10-train.array_record-00000-of-00002",
    "cifar10-train.array_record-00001-of-00002",
  ]
  for split, lengths in SHARDS.items():
    got = sources.open_source("cifar10", split, str(tfrecord_dir))
    slice_ = f"{split}[:{sum(lengths)}]"
    expected = sources.open_source("cifar10", slice_, str(CIFAR10))
    np.testing.assert_array_equal(got.images, expected.images)
    np.testing.assert_array_equal(got.labels, expected.labels)


@needs_cifar10
def test_tfds_itself_reads_what_was_converted(tfrecord_dir):
  prepare.prepare("cifar10", str(tfrecord_dir))
  name, folder = "cifar10:3.0.2", str(tfrecord_dir)
  read = tfds.data_source(name, split="train", data_dir=folder, download=False)
  assert [example["id"] for example in read] == [
    f"train_{i:05d}".encode() for i in _original_ids(8)
  ]


def _original_ids(count):
  first = tfds.data_source(
    "cifar10", split=f"train[:{count}]", data_dir=CIFAR10, download=False
  )
  return [int(example["id"].decode().removeprefix("train_")) for example in first]


@needs_cifar10
@pytest.mark.parametrize("cut", ["inside a record", "between records"])
def test_a_damaged_set_is_left_as_it_was(tfrecord_dir, cut):
  shard = tfrecord_dir / VERSION / "cifar10-train.tfrecord-00001-of-00002"
  (length,) = struct.unpack("<Q", shard.read_bytes()[:8])
  kept = length + 16 + (20 if cut == "inside a record" else 0)
  shard.write_bytes(shard.read_bytes()[:kept])
  reason = "truncated" if cut == "inside a record" else "has 1 records.*says 3"

  with pytest.raises(UserError, match=f"{shard.name} .*{reason}"):
    prepare.prepare("cifar10", str(tfrecord_dir))

  assert not list(shard.parent.glob("incomplete.*"))
  with pytest.raises(UserError, match="tfrecord only"):
    sources.open_source("cifar10", "train", str(tfrecord_dir))


@needs_cifar10
def test_a_folder_that_cannot_be_written_to(tfrecord_dir, monkeypatch):
  monkeypatch.setattr(prepare.os, "access", lambda path, mode: False)
  with pytest.raises(UserError, match="cannot be written to"):
    prepare.prepare("cifar10", str(tfrecord_dir))


@needs_cifar10
def test_array_record_needs_no_conversion():
  assert "ready to be read" in prepare.prepare("cifar10", str(CIFAR10))


def test_embedded_sets_need_no_preparation():
  assert "nothing to prepare" in prepare.prepare("photos", None)


def test_a_download_without_tensorflow_names_the_way_out(tmp_path, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"pip install -e '\.\[prepare\]'$"):
    prepare.prepare("cifar10", str(tmp_path))


def test_the_command_prints_one_line_and_fails(tmp_path):
  command = [sys.executable, "-m", "byol_jax.data.prepare", "--name=cifra10"]
  command.append(f"--data_dir={tmp_path}")
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 1
  assert done.stderr.startswith("There is no data set cifra10: did you mean")
  assert done.stderr.count("\n") == 1
