"""Prepared sets, read back as they were written."""

import json
import os
import pathlib
import pickle
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from byol_jax.data import images, photos, records, sources, tfds_sets
from byol_jax.data.parts import WithParts
from byol_jax.errors import UserError
from tests import prepared

# Written by tensorflow-datasets itself, where it happens to lie beside the clone.
REAL = pathlib.Path(__file__).parents[3] / "shared" / "tfds"

TEXT = tfds.features.Text()
LABEL = tfds.features.ClassLabel(names=["cat", "dog", "owl"])


def _open(data_dir, name="cifar10"):
  return tfds_sets.open_dataset(name, str(data_dir))


def _noise(*shape):
  return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("block", [1, 5, 512])
def test_images_and_labels_are_those_that_were_written(cifar10, block, monkeypatch):
  monkeypatch.setattr(records, "BLOCK", block)
  dataset = _open(cifar10.data_dir)
  assert dataset.sizes == {"train": 12, "test": 6}
  for split in dataset.sizes:
    source = dataset.split(split)
    np.testing.assert_array_equal(source.images, cifar10.images[split])
    assert source.labels.tolist() == cifar10.labels[split]
    assert (source.num_classes, source.channels) == (10, 3)


@pytest.mark.parametrize(
  ("spec", "parts"),
  [
    ("train[4:9]", [("train", 4, 9)]),  # from the first shard to the third
    ("train[-25%:]", [("train", 9, 12)]),
    ("train[11:]+test[3:5]", [("train", 11, 12), ("test", 3, 5)]),
    ("all", [("train", 0, 12), ("test", 0, 6)]),
  ],
)
def test_slices_run_over_shards_and_splits(cifar10, spec, parts):
  source = _open(cifar10.data_dir).split(spec)
  for found, written in (
    (source.images, cifar10.images),
    (source.labels, cifar10.labels),
  ):
    expected = [written[split][first:last] for split, first, last in parts]
    np.testing.assert_array_equal(found, np.concatenate(expected))


@pytest.mark.parametrize("name", ["cifar10:3.0.2", "cifar10:3.*.*"])
def test_a_version_may_be_named(cifar10, name):
  assert len(_open(cifar10.data_dir, name).split("test")) == 6


if REAL.is_dir():

  def test_what_tensorflow_datasets_itself_wrote_is_read():
    split = "train[49900:]+test[5:10]"
    source = _open(REAL).split(split)
    examples = tfds.data_source("cifar10", split=split, data_dir=REAL, download=False)
    expected = np.stack([example["image"] for example in examples])
    np.testing.assert_array_equal(source.images, expected)
    assert source.labels.tolist() == [example["label"] for example in examples]


def test_streaming_gives_the_same_images_also_once_pickled(cifar10, monkeypatch):
  in_memory = _open(cifar10.data_dir).split("train[:11]")
  assert isinstance(in_memory, sources.ArraySource)
  monkeypatch.setattr(tfds_sets, "_MEMORY_LIMIT", 11 * 32 * 32 * 3 - 1)
  streaming = _open(cifar10.data_dir).split("train[:11]")
  assert isinstance(streaming, records.RecordSource)
  for source in (streaming, pickle.loads(pickle.dumps(streaming))):
    assert (len(source), source.channels, source.num_classes) == (11, 3, 10)
    for i in range(11):
      np.testing.assert_array_equal(source[i][0], in_memory[i][0])
      assert source[i][1] == in_memory[i][1]
      assert type(source[i][1]) is int


# A user's own sets: known by their files alone, without a builder.


def _write_own(data_dir, features, examples, **options):
  prepared.write(
    data_dir / "own_set" / "1.0.0", features, {"train": examples}, **options
  )
  return _open(data_dir, "own_set")


def test_labels_are_read_once(cifar10, monkeypatch):
  monkeypatch.setattr(tfds_sets, "_MEMORY_LIMIT", 0)
  read = []
  label = records.RecordSource._label
  monkeypatch.setattr(
    records.RecordSource, "_label", lambda *args: read.append(1) or label(*args)
  )
  dataset = _open(cifar10.data_dir)
  for _ in range(2):
    np.testing.assert_array_equal(
      dataset.split("train").labels, cifar10.labels["train"]
    )
  assert len(read) == 12
  assert len(dataset.split("train[:5]").labels) == 5


def test_images_of_many_sizes_are_decoded_as_they_are_read(tmp_path):
  written = [_noise(9, 14, 3), _noise(20, 6, 3)]
  examples = [[{"image": prepared.encode(image), "label": 2}] for image in written]
  features = {"image": tfds.features.Image(), "label": LABEL}
  source = _write_own(tmp_path, features, examples).split("train")
  assert isinstance(source, records.RecordSource)
  assert (len(source), source.channels, source.num_classes) == (2, 3, 3)
  for i, image in enumerate(written):
    np.testing.assert_array_equal(source[i][0], image)
    assert source[i][1] == 2


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_images_and_those_with_alpha(tmp_path, channels):
  image = _noise(6, 6, channels)
  example = {"image": prepared.encode(image.squeeze()), "label": 0}
  features = {"image": tfds.features.Image(shape=(6, 6, channels)), "label": LABEL}
  source = _write_own(tmp_path, features, [[example]]).split("train")
  np.testing.assert_array_equal(source.images, image[None])
  assert source.channels == channels


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (5, 6), (6, 12)])
def test_an_image_of_another_size_than_declared_is_named(tmp_path, shape):
  images = [_noise(6, 6, 3), _noise(*shape, 3)]
  features = {"image": tfds.features.Image(shape=(6, 6, 3)), "label": LABEL}
  examples = [{"image": prepared.encode(image), "label": 0} for image in images]
  with pytest.raises(
    UserError, match=r"image 1 of 'train' .*it is \(.*\), and all are to be \(6, 6, 3"
  ):
    _write_own(tmp_path, features, [examples]).split("train")


def test_features_of_other_names_are_those_that_the_set_declares(tmp_path):
  image = _noise(6, 6, 3)
  features = {
    "first": tfds.features.Image(shape=(6, 6, 3)),
    "picture": tfds.features.Image(shape=(6, 6, 3)),
    "animal": LABEL,
  }
  png = prepared.encode(image)
  example = {"first": prepared.encode(0 * image), "picture": png, "animal": 1}
  dataset = _write_own(
    tmp_path, features, [[example]], supervised=("picture", "animal")
  )
  found, label = dataset.split("train")[0]
  np.testing.assert_array_equal(found, image)
  assert label == 1


def test_a_set_without_labels(tmp_path):
  features = {"image": tfds.features.Image(shape=(6, 6, 3)), "label": TEXT}
  png = prepared.encode(_noise(6, 6, 3))
  examples = [[{"image": png, "label": b"a cat"}] * 2]
  source = _write_own(tmp_path, features, examples).split("train")
  assert source.num_classes is None
  assert source.labels.tolist() == [-1, -1]


def test_images_of_several_classes(tmp_path, monkeypatch):
  """As voc/2007 has them, in "labels"."""
  monkeypatch.setattr(records, "BLOCK", 2)
  png = prepared.encode(_noise(9, 14, 3))
  classes = [[0, 2], [], [1], [0, 1, 2]]
  features = {"image": tfds.features.Image(), "labels": tfds.features.Sequence(LABEL)}
  examples = [[{"image": png, "labels": each} for each in classes]]
  dataset = _write_own(tmp_path, features, examples, supervised=())
  expected = [[c in each for c in range(3)] for each in classes]
  np.testing.assert_array_equal(dataset.truth("train"), expected)
  np.testing.assert_array_equal(dataset.truth("train[1:]"), expected[1:])
  assert [dataset.split("train")[i][1] for i in range(4)] == [-1] * 4
  with pytest.raises(UserError, match="it has train"):
    dataset.truth("validation")
  parts = WithParts(dataset, {"some": ("train", np.array([3, 1]))})
  np.testing.assert_array_equal(parts.truth("some"), [expected[3], expected[1]])
  np.testing.assert_array_equal(parts.truth("train[:2]"), expected[:2])


def test_an_unknown_class_of_several_is_none(tmp_path):
  """-1 is no label, and no place counted from the last one."""
  png = prepared.encode(_noise(9, 14, 3))
  features = {"image": tfds.features.Image(), "labels": tfds.features.Sequence(LABEL)}
  classes = [[-1], [0, -1], [1], [-1, 1]]
  examples = [[{"image": png, "labels": each} for each in classes]]
  dataset = _write_own(tmp_path, features, examples, supervised=())
  expected = [[False] * 3, [True, False, False], *[[False, True, False]] * 2]
  np.testing.assert_array_equal(dataset.truth("train"), expected)


@pytest.mark.parametrize("label", [3, -2])
def test_a_class_that_is_not_declared_is_damage(tmp_path, label):
  png = prepared.encode(_noise(9, 14, 3))
  features = {"image": tfds.features.Image(), "labels": tfds.features.Sequence(LABEL)}
  examples = [[{"image": png, "labels": [0, label]}] * 2]
  dataset = _write_own(tmp_path, features, examples, supervised=())
  with pytest.raises(UserError, match=rf"damaged .*labels are \[0, {label}\], .* 3 cl"):
    dataset.truth("train")


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("classes", [-1, 2**20 + 1, 10**12])
def test_more_classes_than_memory_has_room_for(tmp_path, classes, several):
  label = tfds.features.ClassLabel(num_classes=classes)
  labels = {"labels": tfds.features.Sequence(label)} if several else {"label": label}
  features = {"image": tfds.features.Image(), **labels}
  example = {"image": prepared.encode(_noise(9, 14, 3)), next(iter(labels)): 0}
  with pytest.raises(UserError, match=f"declares {classes} classes, and 1048576 "):
    _write_own(tmp_path, features, [[example]], supervised=())


@pytest.mark.parametrize("channels", [2, 7])
def test_images_of_channels_that_are_not_read(tmp_path, channels):
  _write_own(tmp_path, {"image": tfds.features.Image(shape=(6, 6, 3))}, [[{}]])
  path = next(tmp_path.rglob("features.json"))
  found = json.loads(path.read_text())
  image = found["featuresDict"]["features"]["image"]["image"]
  image["shape"]["dimensions"][-1] = str(channels)
  path.write_text(json.dumps(found))
  with pytest.raises(
    UserError, match=f"declares images of {channels} channels: .*1, 3"
  ):
    _open(tmp_path, "own_set")


def test_images_of_one_class_have_no_others(cifar10):
  assert _open(cifar10.data_dir).truth("train") is None
  assert WithParts(_open(cifar10.data_dir)).truth("train") is None
  assert WithParts(photos.open_dataset()).truth("train") is None


@pytest.mark.parametrize(
  "features",
  [
    {"label": LABEL},
    {"image": TEXT, "label": LABEL},
    {"image": tfds.features.Image(shape=(6, 6, 3), dtype=np.uint16), "label": LABEL},
  ],
  ids=["no image", "text", "16 bits"],
)
def test_a_set_without_8_bit_images(tmp_path, features):
  with pytest.raises(UserError, match=r"own_set has no 8-bit image .*: it has .*: "):
    _write_own(tmp_path, features, [[{"label": 0}]])


def test_an_image_of_another_kind_than_declared_is_named_as_it_is_read(tmp_path):
  features = {"image": tfds.features.Image(shape=(6, 6, 4)), "label": LABEL}
  examples = [[{"image": prepared.encode(_noise(6, 6, 3)), "label": 0}]]
  with pytest.raises(UserError, match=r"has 3 channels of uint8, .* says 4"):
    _write_own(tmp_path, features, examples).split("train")


# Errors


@pytest.mark.parametrize("key", ["pythonClassName", "type"])
def test_a_sets_own_code_is_not_run(tmp_path, monkeypatch, key):
  (tmp_path / "evil.py").write_text("raise SystemExit('run')")
  monkeypatch.syspath_prepend(tmp_path)
  features = {"image": tfds.features.Image(shape=(6, 6, 3))}
  _write_own(tmp_path, features, [[{"image": prepared.encode(_noise(6, 6, 3))}]])
  path = tmp_path / "own_set" / "1.0.0" / "features.json"
  found = json.loads(path.read_text())
  (image,) = found["featuresDict"]["features"].values()
  if key == "type":  # as older versions wrote it
    found = {"type": "evil.Image", "content": {}}
  else:
    image[key] = "evil.Image"
  path.write_text(json.dumps(found))
  with pytest.raises(UserError, match=r"names .evil\.Image., which is no feature of"):
    _open(tmp_path, "own_set")
  assert "evil" not in sys.modules
  # What TFDS does by itself is as it was.
  assert tfds.features.FeatureConnector.cls_from_name(
    "tensorflow_datasets.core.features.image_feature.Image"
  )


@pytest.mark.parametrize("folder", ["../..", "/tmp", ".."])
def test_files_lie_beside_their_description(tmp_path, folder):
  features = {"image": tfds.features.Image(shape=(6, 6, 3))}
  _write_own(tmp_path, features, [[{"image": prepared.encode(_noise(6, 6, 3))}]])
  path = tmp_path / "own_set" / "1.0.0" / "dataset_info.json"
  info = json.loads(path.read_text())
  template = info["splits"][0].get(
    "filepathTemplate", "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
  )
  info["splits"][0]["filepathTemplate"] = f"{folder}/{template}"
  path.write_text(json.dumps(info))
  with pytest.raises(UserError, match="has a file of 'train' in another folder, "):
    _open(tmp_path, "own_set")


def test_a_file_is_of_one_split(tmp_path):
  cifar10 = prepared.write_cifar10(tmp_path)
  info = _info_of(cifar10)
  info["splits"][1]["filepathTemplate"] = "cifar10-train.{FILEFORMAT}-{SHARD_X_OF_Y}"
  info["splits"][1]["shardLengths"] = info["splits"][0]["shardLengths"]
  _rewrite(cifar10, info)
  with pytest.raises(
    UserError, match=r"has .*/cifar10-\S* in '\w+' and in '\w+': corr"
  ):
    _open(cifar10.data_dir)


def test_a_link_to_another_splits_file_is_one(tmp_path):
  cifar10 = prepared.write_cifar10(tmp_path)
  folder = cifar10.data_dir / prepared.CIFAR10_VERSION
  (test,) = folder.glob("*test*-00000-of-*")
  test.unlink()
  test.symlink_to(next(folder.glob("*train*-00000-of-*")))
  with pytest.raises(
    UserError, match=r" in 'train' and in 'test'| in 'test' and in 'tr"
  ):
    _open(cifar10.data_dir)


def test_files_without_end_are_not_looked_for(tmp_path):
  cifar10 = prepared.write_cifar10(tmp_path)
  info = _info_of(cifar10)
  info["splits"][0]["shardLengths"] = ["0"] * 2**16
  _rewrite(cifar10, info)
  with pytest.raises(
    UserError, match=r"names 65538 files, and 65536 are possible: wri"
  ):
    _open(cifar10.data_dir)


@pytest.mark.parametrize(
  "name", ["dataset_info.json", "features.json", "label.labels.txt", "metadata.json"]
)
def test_a_pipe_is_not_waited_for(tmp_path, name):
  cifar10 = prepared.write_cifar10(tmp_path)
  path = cifar10.data_dir / prepared.CIFAR10_VERSION / name
  path.unlink(missing_ok=True)
  os.mkfifo(path)
  with pytest.raises(UserError, match=r"damaged .*it is a pipe or a device"):
    _open(cifar10.data_dir)


def test_a_description_without_end_is_not_read(tmp_path):
  cifar10 = prepared.write_cifar10(tmp_path)
  path = cifar10.data_dir / prepared.CIFAR10_VERSION / "dataset_info.json"
  with path.open("ab") as file:
    file.truncate(2**40)
  with pytest.raises(UserError, match=r"damaged .*File too large"):
    _open(cifar10.data_dir)


def test_a_size_that_overflows_is_large(tmp_path):
  """Its images are decoded one by one, not into memory."""
  features = {"image": tfds.features.Image(shape=(6, 6, 3))}
  _write_own(tmp_path, features, [[{"image": prepared.encode(_noise(6, 6, 3))}]])
  path = next(tmp_path.rglob("features.json"))
  found = json.loads(path.read_text())
  image = found["featuresDict"]["features"]["image"]["image"]
  image["shape"]["dimensions"] = [str(2**32), str(2**32), "3"]
  path.write_text(json.dumps(found))
  assert isinstance(_open(tmp_path, "own_set").split("train"), records.RecordSource)


def _info_of(cifar10):
  path = cifar10.data_dir / prepared.CIFAR10_VERSION / "dataset_info.json"
  return json.loads(path.read_text())


def _rewrite(cifar10, info):
  path = cifar10.data_dir / prepared.CIFAR10_VERSION / "dataset_info.json"
  path.write_text(json.dumps(info))


def test_more_examples_than_a_file_can_hold_are_refused(tmp_path):
  features = {"image": tfds.features.Image(shape=(6, 6, 3))}
  _write_own(tmp_path, features, [[{"image": prepared.encode(_noise(6, 6, 3))}]])
  path = tmp_path / "own_set" / "1.0.0" / "dataset_info.json"
  info = json.loads(path.read_text())
  info["splits"][0]["shardLengths"] = ["1000000000"]
  path.write_text(json.dumps(info))
  with pytest.raises(UserError, match=r"damaged .*\(1000000000 examples in the"):
    _open(tmp_path, "own_set")


def test_the_listing_has_version_and_files(cifar10, tmp_path):
  listing = _open(cifar10.data_dir).listing()
  assert "/version\t3.0.2" in listing

  def files(folder, *sizes):
    """Of images of these heights, in one shard."""
    examples = [{"image": prepared.encode(_noise(n, 9, 3)), "label": 2} for n in sizes]
    features = {"image": tfds.features.Image(), "label": LABEL}
    listing = _write_own(tmp_path / folder, features, [examples]).listing()
    assert listing[:2] == ["train\t2", "/version\t1.0.0"]
    return listing[2:]

  assert files("a", 5, 6) == files("b", 5, 6) != files("c", 5, 60)


def test_a_split_that_is_not_there(cifar10):
  dataset = _open(cifar10.data_dir)
  for read in (dataset.split, dataset.check):
    with pytest.raises(UserError, match=r"it has train \(12 images\), test \(6 "):
      read("validation")


def test_checking_a_split_opens_no_image(cifar10, monkeypatch):
  monkeypatch.setattr(images, "decode", None)
  _open(cifar10.data_dir).check("train[:50%]")


def test_tfrecord_alone_is_refused(tmp_path):
  prepared.write_cifar10(tmp_path, "tfrecord")
  command = f"prepare --name=cifar10 --data_dir={tmp_path}"
  with pytest.raises(UserError, match=f"is tfrecord only.*{command}$"):
    _open(tmp_path)


def test_a_set_that_is_not_in_the_default_folder(tmp_path, monkeypatch):
  monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
  with pytest.raises(UserError, match=r"the default data_dir: .* --name=cifar100$"):
    tfds_sets.open_dataset("cifar100", None)


def test_the_folder_may_begin_with_the_users_home(cifar10, monkeypatch):
  monkeypatch.setenv("HOME", str(cifar10.data_dir))
  assert _open("~").sizes == {"train": 12, "test": 6}


def test_a_folder_that_does_not_exist(tmp_path):
  with pytest.raises(UserError, match=r"in .*nowhere, which does not exist: run "):
    _open(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["cifar10:9.9.9", "cifar10/large", "own:2.0.0"])
def test_what_is_there_of_a_set_is_said(tmp_path, name):
  prepared.write_cifar10(tmp_path)
  features = {"image": tfds.features.Image(shape=(6, 6, 3))}
  splits = {"train": [[{"image": prepared.encode(_noise(6, 6, 3))}]]}
  for place in ("own/1.0.0", "own/large/1.1.0"):
    prepared.write(tmp_path / place, features, splits, supervised=())
  there = "own:1.0.0, own/large:1.1.0" if name == "own:2.0.0" else "cifar10:3.0.2"
  with pytest.raises(UserError, match=f"name what is there, {there}(;|$)"):
    tfds_sets.open_dataset(name, str(tmp_path))
  for known in there.split(", "):
    assert tfds_sets.open_dataset(known, str(tmp_path)).sizes["train"]


def test_a_label_that_is_no_class_is_passed_over_and_said(tmp_path, caplog):
  features = {
    "image": tfds.features.Image(shape=(6, 6, 3)),
    "label": tfds.features.Scalar(np.int64),
  }
  example = {"image": prepared.encode(_noise(6, 6, 3)), "label": 1}
  source = _write_own(tmp_path, features, [[example]]).split("train")
  assert source.num_classes is None
  assert "label: Scalar" in caplog.text


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated"])
def test_a_damaged_shard_is_one_line(tmp_path, damage):
  prepared.write_cifar10(tmp_path)
  folder = tmp_path / prepared.CIFAR10_VERSION
  shard = min(folder.glob("*train.array_record*"))
  if damage == "missing":
    shard.unlink()
  else:
    content = shard.read_bytes()
    shard.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
  with pytest.raises(
    UserError, match=r"data set .*in /.* is damaged or incomplete \(.+\): move it"
  ):
    _open(tmp_path).split("train")


@pytest.mark.parametrize("length", [4, 6])
def test_a_shard_of_another_number_of_examples_is_one_line(tmp_path, length):
  """Of more than are told, TFDS reads the first: others than were written."""
  features = {"image": tfds.features.Image(shape=(6, 6, 3)), "label": LABEL}
  image = prepared.encode(_noise(6, 6, 3))
  examples = [[{"image": image, "label": 0}] * 5, [{"image": image, "label": 1}]]
  _write_own(tmp_path, features, examples)
  path = tmp_path / "own_set" / "1.0.0" / "dataset_info.json"
  info = json.loads(path.read_text())
  info["splits"][0]["shardLengths"] = [str(length), "1"]
  path.write_text(json.dumps(info))
  with pytest.raises(UserError, match=r"array_record-00000-of-00002 has 5 examples, "):
    _open(tmp_path, "own_set").split("train")
  _open(tmp_path, "own_set").split(f"train[{length}:]")  # the other one is whole


@pytest.mark.parametrize("label", [3, -2])
@pytest.mark.parametrize("side", [6, None])  # in memory, and as they are read
def test_a_label_of_no_class_is_one_line(tmp_path, label, side):
  features = {"image": tfds.features.Image(shape=(side, side, 3)), "label": LABEL}
  examples = [[{"image": prepared.encode(_noise(6, 6, 3)), "label": label}]]
  _write_own(tmp_path, features, examples)
  message = rf"damaged .*\(a label is {label}, and there are 3 classes\)"
  with pytest.raises(UserError, match=message):
    _open(tmp_path, "own_set").split("train")[0]


def test_what_is_no_example_is_one_line(tmp_path):
  """A record that is whole by its checksum, and holds something else."""
  prepared.write_cifar10(tmp_path)
  shard = min((tmp_path / prepared.CIFAR10_VERSION).glob("*train.array_record*"))
  prepared.WRITERS["array_record"](shard, [b"no example"] * 5)
  with pytest.raises(UserError, match=r"damaged or incomplete \(.+\): move"):
    _open(tmp_path).split("train")


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
def test_a_damaged_description_is_one_line(tmp_path, file):
  prepared.write_cifar10(tmp_path)
  (tmp_path / prepared.CIFAR10_VERSION / file).write_text("{")
  with pytest.raises(UserError, match=r"data set cifar10 in /.* is damaged or incom"):
    _open(tmp_path)


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
def test_an_absent_description_is_damage(tmp_path, file):
  prepared.write_cifar10(tmp_path)
  (tmp_path / prepared.CIFAR10_VERSION / file).unlink()
  with pytest.raises(UserError, match=r"is damaged or incomplete .*move it away"):
    _open(tmp_path)


@pytest.mark.parametrize("file_format", ["riegeli", "parquet"])
def test_formats_that_cannot_be_read_are_not_said_to_be_convertible(
  tmp_path, file_format
):
  prepared.write_cifar10(tmp_path)
  path = tmp_path / prepared.CIFAR10_VERSION / "dataset_info.json"
  path.write_text(path.read_text().replace("array_record", file_format))
  message = f"is {file_format} only: prepare it as array_record in another folder"
  with pytest.raises(UserError, match=message):
    _open(tmp_path)
