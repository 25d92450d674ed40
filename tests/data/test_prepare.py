"""Conversion of tfrecord to array_record, on files written by hand."""

import importlib.util
import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorboardX.crc32c import crc32c  # independent of the one under test

from byol_jax.data import prepare, tfds_sets
from byol_jax.errors import UserError
from tests import prepared

ROOT = pathlib.Path(__file__).parents[2]
VERSION = prepared.CIFAR10_VERSION


@pytest.fixture
def records(tmp_path):
  path = tmp_path / "some.tfrecord"
  path.write_bytes(b"".join(map(prepared.frame, [b"first", b"", b"third" * 100])))
  return path


@pytest.fixture
def tfrecords(tmp_path):
  """A small set as tfrecord alone."""
  return prepared.write_cifar10(tmp_path, "tfrecord")


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


def test_no_memory_is_taken_for_what_a_record_claims(tmp_path):
  header = struct.pack("<Q", 2**40)
  path = tmp_path / "some.tfrecord"
  crc = crc32c(header)
  masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
  path.write_bytes(header + struct.pack("<I", masked) + bytes(20))
  with pytest.raises(UserError, match=r"some\.tfrecord is truncated or damaged"):
    list(prepare.read_tfrecord(path))


@pytest.mark.parametrize("position", [0, 7, 9, 14, 18, 30])
def test_a_flipped_bit_is_found(records, position):
  content = bytearray(records.read_bytes())
  content[position] ^= 0x10
  records.write_bytes(content)
  with pytest.raises(UserError, match=r"some\.tfrecord is truncated or damaged"):
    list(prepare.read_tfrecord(records))


def test_tfrecord_is_converted_then_read(tfrecords):
  folder = tfrecords.data_dir / VERSION
  before = _files(folder)

  message = prepare.prepare("cifar10", str(tfrecords.data_dir))

  assert message.startswith(f"Converted 18 examples in {folder} ")
  after = _files(folder)
  old_info = json.loads(before.pop("dataset_info.json"))
  new_info = json.loads(after["dataset_info.json"])
  assert new_info == old_info | {"alternativeFileFormats": ["array_record"]}
  assert before.items() <= after.items()  # nothing else changed
  assert sorted(after.keys() - before.keys() - {"dataset_info.json"}) == [
    "cifar10-test.array_record-00000-of-00002",
    "cifar10-test.array_record-00001-of-00002",
    "cifar10-train.array_record-00000-of-00003",
    "cifar10-train.array_record-00001-of-00003",
    "cifar10-train.array_record-00002-of-00003",
  ]
  dataset = tfds_sets.open_dataset("cifar10", str(tfrecords.data_dir))
  for split, images in tfrecords.images.items():
    source = dataset.split(split)
    np.testing.assert_array_equal(source.images, images)
    assert source.labels.tolist() == tfrecords.labels[split]


def test_a_link_in_the_folder_is_not_written_through(tfrecords):
  theirs = tfrecords.data_dir / "theirs"
  theirs.write_text("precious")
  folder = tfrecords.data_dir / prepared.CIFAR10_VERSION
  for path in list(folder.iterdir()):
    name = path.name.replace("tfrecord", "array_record")
    (folder / f"incomplete.{name}").symlink_to(theirs)
  (folder / "dataset_info.json.tmp").symlink_to(theirs)
  assert prepare.prepare("cifar10", str(tfrecords.data_dir)).startswith("Converted 18")
  assert theirs.read_text() == "precious"


def test_tfds_itself_reads_what_was_converted(tfrecords):
  prepare.prepare("cifar10", str(tfrecords.data_dir))
  read = tfds.data_source(
    "cifar10:3.0.2", split="train", data_dir=tfrecords.data_dir, download=False
  )
  assert [example["id"] for example in read] == [b"train_%05d" % i for i in range(12)]


@pytest.mark.parametrize("cut", ["inside a record", "between records"])
def test_a_damaged_set_is_left_as_it_was(tfrecords, cut):
  shard = tfrecords.data_dir / VERSION / "cifar10-train.tfrecord-00001-of-00003"
  (length,) = struct.unpack("<Q", shard.read_bytes()[:8])
  kept = length + 16 + (20 if cut == "inside a record" else 0)
  shard.write_bytes(shard.read_bytes()[:kept])
  reason = "truncated" if cut == "inside a record" else "has 1 records.*says 3"

  with pytest.raises(UserError, match=f"{shard.name} .*{reason}"):
    prepare.prepare("cifar10", str(tfrecords.data_dir))

  assert not list(shard.parent.glob("incomplete.*"))
  with pytest.raises(UserError, match="tfrecord only"):
    tfds_sets.open_dataset("cifar10", str(tfrecords.data_dir))


def test_a_folder_in_place_of_a_shard_is_one_line(tfrecords):
  shard = tfrecords.data_dir / VERSION / "cifar10-train.tfrecord-00001-of-00003"
  shard.unlink()
  shard.mkdir()
  with pytest.raises(UserError, match=f"{shard.name} is missing, or no file: fetch it"):
    prepare.prepare("cifar10", str(tfrecords.data_dir))


def test_a_folder_that_cannot_be_written_to(tfrecords, monkeypatch):
  monkeypatch.setattr(prepare.os, "access", lambda path, mode: False)
  with pytest.raises(UserError, match="cannot be written to"):
    prepare.prepare("cifar10", str(tfrecords.data_dir))


def test_other_formats_cannot_be_converted(tfrecords):
  path = tfrecords.data_dir / VERSION / "dataset_info.json"
  info = json.loads(path.read_text()) | {"fileFormat": "riegeli"}
  path.write_text(json.dumps(info))
  with pytest.raises(UserError, match="holds riegeli files: only tfrecord"):
    prepare.prepare("cifar10", str(tfrecords.data_dir))


def test_array_record_needs_no_conversion(cifar10):
  before = _files(cifar10.data_dir / VERSION)
  assert "ready to be read" in prepare.prepare("cifar10", str(cifar10.data_dir))
  assert _files(cifar10.data_dir / VERSION) == before


def test_other_sets_need_no_preparation():
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
  assert done.stderr.startswith("byol_jax: there is no data set cifra10: did you mean")
  assert done.stderr.count("\n") == 1
