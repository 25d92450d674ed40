"""Folders of images become prepared sets: what is in them, stops, mistakes."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tensorflow_datasets as tfds
from PIL import Image

from byol_jax.data import (
  batches,
  datasets,
  folder,
  formats,
  images,
  prepare_folder,
  record_files,
)
from byol_jax.data.views import BYOL_VIEW1
from byol_jax.errors import UserError

ROOT = Path(__file__).parents[2]
SET = Path("photographs_32", "1.0.0")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def out(tmp_path):
  return tmp_path / "out"


@pytest.fixture
def root(tmp_path):
  """Ten JPEGs of two classes, 60 x 90 pixels, all different."""
  root = tmp_path / "Photographs"
  for number in range(10):
    path = root / ("cat" if number % 2 else "dog") / f"{number}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    photograph(60 + number, 90).save(path, quality=90)
  return root


def photograph(height, width):
  cat = Image.fromarray(skimage.data.cat()).crop((100, 50, 400, 250))
  return cat.resize((width, height), Image.Resampling.LANCZOS)


def compressed(image):
  """What a JPEG of quality 95 leaves of an image, by Pillow."""
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "JPEG", quality=95)
  return np.asarray(Image.open(buffer))


def prepare(root, out, side=32, name=None):
  return prepare_folder.prepare(str(root), str(out), side, name)


def opened(out, name="photographs_32"):
  return datasets.open_dataset(name, str(out))


def encoded(out, name="photographs_32", split="train"):
  """{path: content of the image}, by tensorflow-datasets alone."""
  decoders = {"image": tfds.decode.SkipDecoding()}
  read = tfds.data_source(name, data_dir=out, split=split, decoders=decoders)
  return {os.fsdecode(example["path"]): example["image"] for example in read}


def files(out, path=SET):
  """{name: content}; which file was written is all that a stop may change."""
  return {file.name: file.read_bytes() for file in (out / path).iterdir()}


def test_images_labels_and_paths(root, out):
  message = prepare(root, out)

  assert message.startswith(f"Prepared 10 images of {root} in {out / SET}. Train on ")
  found = opened(out)
  source, plain = found.split("train"), folder.open_dataset(str(root)).split("train")
  assert found.sizes == {"train": 10}
  assert source.num_classes == 2
  for index in range(10):
    assert source.name(index) == plain.name(index)
    image, label = source[index]
    whole, wanted_label = plain[index]
    assert label == wanted_label
    assert min(image.shape[:2]) == 32
    np.testing.assert_array_equal(image, compressed(images.shrunk(whole, 32)))


def test_tensorflow_datasets_reads_it_without_tensorflow(root, out):
  prepare(root, out)
  (read,) = tfds.data_source("photographs_32", data_dir=out).values()
  assert {example["path"].split(b"/")[0] for example in read} == {b"cat", b"dog"}
  info = tfds.builder("photographs_32", data_dir=out).info
  assert info.features["label"].names == ["cat", "dog"]
  example = read[0]
  label = info.features["label"].int2str(example["label"])
  assert example["path"].startswith(label.encode())
  assert example["image"].shape[0] == 32
  assert example["image"].dtype == np.uint8
  assert "tensorflow" not in sys.modules


def test_large_jpegs_are_averages_of_all_their_pixels(tmp_path, out):
  """They are decoded at a part of their size first."""
  root = tmp_path / "large"
  root.mkdir()
  photograph(1201, 1603).save(root / "a.jpg", quality=95)
  prepare(root, out, 100, "large")
  image, _ = opened(out, "large").split("train")[0]
  path = root / "a.jpg"
  # A quarter of 1201 pixels is more than twice 100.
  quarter = images.shrunk(formats.decode(path, formats.inspect(path), 3, 4), 100)
  np.testing.assert_array_equal(image, compressed(quarter))
  whole = images.shrunk(np.asarray(Image.open(path)), 100)
  assert np.abs(quarter.astype(int) - whole).mean() < 2


def test_small_images_lose_nothing(tmp_path, out):
  root = tmp_path / "small"
  root.mkdir()
  image = photograph(32, 48)
  turned = Image.Exif()
  turned[0x0112] = 6
  image.save(root / "same.jpg", quality=50)
  image.convert("L").save(root / "grey.jpg")
  image.save(root / "same.png")
  image.save(root / "other.bmp")
  image.save(root / "turned.jpg", exif=turned)
  image.convert("CMYK").save(root / "ink.jpg")
  image.convert("RGBA").save(root / "clear.png")
  Image.fromarray(np.full((20, 30), 40_000, np.uint16)).save(root / "deep.png")
  prepare(root, out, name="small")

  stored = encoded(out, "small")
  for name in ("same.jpg", "grey.jpg", "same.png", "clear.png"):
    assert stored[name] == (root / name).read_bytes()
  for name in ("other.bmp", "turned.jpg", "ink.jpg", "deep.png"):
    assert stored[name].startswith(b"\x89PNG")
  plain = folder.open_dataset(str(root)).split("train")
  found = opened(out, "small").split("train")
  for index in range(len(plain)):
    np.testing.assert_array_equal(found[index][0], plain[index][0])


def test_transparent_images_lie_on_white(tmp_path, out):
  root = tmp_path / "clear"
  root.mkdir()
  pixels = np.zeros((10, 12, 4), np.uint8)
  Image.fromarray(pixels).save(root / "a.png")
  prepare(root, out, name="clear")
  assert (opened(out, "clear").split("train")[0][0] == 255).all()


def test_grey_images_stay_so(tmp_path, out):
  root = tmp_path / "grey"
  root.mkdir()
  for height in (20, 64):
    photograph(height, 90).convert("L").save(root / f"{height}.png")
  prepare(root, out, name="grey")
  source = opened(out, "grey").split("train")
  assert source.channels == 1
  assert sorted(source[i][0].shape for i in range(2)) == [(20, 90, 1), (32, 45, 1)]


def test_splits_and_missing_labels(tmp_path, out):
  root = tmp_path / "split"
  for name in ("train/cat/1", "train/dog/2", "test/cat/3", "unlabelled/4"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    photograph(20, 30).save(root / f"{name}.png")
  prepare(root, out, name="split")
  found = opened(out, "split")
  assert found.sizes == {"train": 2, "test": 1, "unlabelled": 1}
  labels = {
    source.name(i): source[i][1]
    for source in map(found.split, found.sizes)
    for i in range(len(source))
  }
  assert labels == {
    "train/cat/1.png": 0,
    "train/dog/2.png": 1,
    "test/cat/3.png": 0,
    "unlabelled/4.png": -1,
  }


def test_without_labels(tmp_path, out):
  root = tmp_path / "flat"
  root.mkdir()
  photograph(20, 30).save(root / "1.png")
  prepare(root, out, name="flat")
  source = opened(out, "flat").split("train")
  assert source.num_classes is None
  assert source[0][1] == -1


@pytest.mark.parametrize("strange", [b"caf\xe9", b"a\nb", b" blank", b"10%"])
def test_strange_names(tmp_path, out, strange):
  root = tmp_path / "strange"
  for name in (b"plain", strange):
    (root / os.fsdecode(name)).mkdir(parents=True)
    photograph(20, 30).save(root / os.fsdecode(name) / "a\n\t1.png")
  prepare(root, out, name="strange")
  source = opened(out, "strange").split("train")
  assert source.num_classes == 2
  plain = folder.open_dataset(str(root)).split("train")
  for index in range(2):
    assert source.name(index) == plain.name(index)
    assert source[index][1] == plain[index][1]
  names = tfds.builder("strange", data_dir=out).info.features["label"].names
  assert len(set(names)) == 2


def test_it_feeds_a_run(root, out):
  prepare(root, out)
  source = opened(out).split("train[:80%]")
  batch = batches.train_chunk(
    *(0, np.arange(4)),
    **{"batch_size": 4, "source": source, "views": (BYOL_VIEW1,), "size": 16},
    seed=0,
  )
  assert batch["view1"].shape == (4, 16, 16, 3)


def test_unreadable_images_are_left_out_and_listed(root, out):
  (root / "cat" / "empty.jpg").touch()
  whole = (root / "dog" / "4.jpg").read_bytes()
  # With an end, so that it is found when its pixels are wanted.
  (root / "dog" / "4.jpg").write_bytes(whole[: len(whole) // 2] + b"\0" * 100)
  with (root / "dog" / "4.jpg").open("ab") as file:
    file.write(b"\xff\xd8\xff\xd9")
  message = prepare(root, out)
  listed = json.loads((out / SET / "prepared.json").read_text())["unreadable"]
  found = opened(out).split("train")
  names = {found.name(i) for i in range(len(found))}
  assert listed.keys() | names == {
    str(path.relative_to(root)) for path in root.glob("*/*.jpg")
  }
  assert not listed.keys() & names
  assert listed["cat/empty.jpg"] == "the file is empty"
  assert f"({len(listed)} unreadable: see " in message


# Stops.


@pytest.fixture
def small_files(monkeypatch):
  """Three images a file: four files."""
  monkeypatch.setattr(prepare_folder, "_IMAGES", 3)


def undisturbed(root, tmp_path):
  prepare(root, tmp_path / "undisturbed")
  return files(tmp_path / "undisturbed")


def written(monkeypatch):
  """Names of the files that are written from now on."""
  names, write = [], record_files.write_shard
  monkeypatch.setattr(
    record_files,
    "write_shard",
    lambda path, records: (names.append(path.name), write(path, records)),
  )
  return names


def fail_at(monkeypatch, image):
  """The image of this place kills the command."""
  seen, record = [], prepare_folder._record

  def dying(source, side, index):
    seen.append(index)
    if index == image:
      raise KeyboardInterrupt
    return record(source, side, index)

  monkeypatch.setattr(prepare_folder, "_record", dying)


@pytest.mark.parametrize("image", [0, 4, 9])
def test_a_stopped_command_goes_on_with_the_same_bytes(
  root, out, tmp_path, small_files, monkeypatch, image
):
  wanted = undisturbed(root, tmp_path)
  assert len([name for name in wanted if "-of-00004" in name]) == 4
  with monkeypatch.context() as patched:
    fail_at(patched, image)
    with pytest.raises(KeyboardInterrupt):
      prepare(root, out)
  with pytest.raises(UserError, match=r"not prepared|there is no data set"):
    opened(out)
  names = written(monkeypatch)
  prepare(root, out)
  assert len(names) == 4 - image // 3
  assert files(out) == wanted


def test_a_command_killed_before_its_first_file_is_listed_goes_on(
  root, out, tmp_path, small_files, monkeypatch
):
  wanted, write = undisturbed(root, tmp_path), record_files.write_shard

  def dying(path, records):
    write(path, records)
    raise KeyboardInterrupt

  with monkeypatch.context() as patched:
    patched.setattr(record_files, "write_shard", dying)
    with pytest.raises(KeyboardInterrupt):
      prepare(root, out)
  prepare(root, out)
  assert files(out) == wanted


@pytest.mark.parametrize("name", ["incomplete.a-train", "prepared.json.tmp"])
def test_what_a_killed_command_leaves_is_no_other_set(root, out, name):
  (out / SET).mkdir(parents=True)
  (out / SET / name).write_text("half")
  assert prepare(root, out).startswith("Prepared 10 images")


def test_a_complete_set_is_ready_and_a_lost_file_comes_back(
  root, out, small_files, monkeypatch
):
  prepare(root, out)
  before, names = files(out), written(monkeypatch)
  message = prepare(root, out)
  assert message.startswith(f"photographs_32 in {out} is ready to be read already. ")
  assert names == []
  lost = out / SET / record_files.shard_name("photographs_32", "train", 1, 4)
  lost.unlink()
  prepare(root, out)
  assert names == [lost.name]
  lost.write_bytes(before[lost.name][:-1])
  prepare(root, out)
  assert names == 2 * [lost.name]
  assert files(out) == before


def test_a_file_without_any_readable_image(root, out, small_files, monkeypatch):
  record = prepare_folder._record
  monkeypatch.setattr(
    prepare_folder,
    "_record",
    lambda source, side, index: (
      prepare_folder.Unreadable("gone")
      if 3 <= index < 6
      else record(source, side, index)
    ),
  )
  prepare(root, out)
  source = opened(out).split("train")
  plain = folder.open_dataset(str(root)).split("train")
  assert [source.name(i) for i in range(7)] == [
    plain.name(i) for i in range(10) if not 3 <= i < 6
  ]


def test_no_readable_image_at_all(root, out, monkeypatch):
  gone = prepare_folder.Unreadable("gone")
  monkeypatch.setattr(prepare_folder, "_record", lambda *arguments: gone)
  with pytest.raises(UserError, match=r"no image of .*Photographs could be read"):
    prepare(root, out)


def test_files_are_few_however_many_the_images():
  found = prepare_folder._files("a", "train", 1_281_167)
  assert len(found) <= 256
  assert [i for _, part in found for i in (part[0], part[-1] + 1)][1:-1:2] == [
    part[0] for _, part in found[1:]
  ]
  assert found[-1][1][-1] == 1_281_166


# Mistakes.


def _add(root):
  photograph(20, 30).save(root / "cat" / "new.png")


def _remove(root):
  (root / "cat" / "1.jpg").unlink()


@pytest.mark.parametrize(
  ("change", "side", "differs"),
  [(_add, 32, "images"), (_remove, 32, "images"), (lambda root: None, 16, "side")],
)
@pytest.mark.parametrize("complete", [True, False])
def test_it_does_not_go_on_with_something_else(
  root, out, small_files, monkeypatch, change, side, differs, complete
):
  with monkeypatch.context() as patched:
    if not complete:
      fail_at(patched, 5)
      with pytest.raises(KeyboardInterrupt):
        prepare(root, out, name="mine")
    else:
      prepare(root, out, name="mine")
  before = files(out, "mine/1.0.0")
  change(root)
  with pytest.raises(
    UserError, match=rf"mine.* differs in {differs}\): choose another"
  ):
    prepare(root, out, side, "mine")
  assert files(out, "mine/1.0.0") == before


def test_it_goes_on_in_another_place(root, out, tmp_path, small_files, monkeypatch):
  """What the files are called counts, and not where they lie."""
  prepare(root, out)
  root.rename(tmp_path / "moved")
  assert "ready" in prepare(tmp_path / "moved", out, name="photographs_32")


def test_another_set_is_left_alone(root, out):
  (out / SET).mkdir(parents=True)
  (out / SET / "dataset_info.json").write_text("{}")
  with pytest.raises(UserError, match="holds another set: choose another --name"):
    prepare(root, out)
  assert files(out) == {"dataset_info.json": b"{}"}


def test_a_damaged_list_of_files(root, out):
  prepare(root, out)
  path = out / SET / "prepared.json"
  whole = json.loads(path.read_text())
  damaged = [
    *("", "[]", "{}", '{"a":' * 100_000),
    *(json.dumps(whole | {name: []}) for name in whole),
    *(json.dumps(whole | {"files": {"x": each}}) for each in ("y", {"size": 3})),
  ]
  for text in damaged:
    path.write_text(text)
    with pytest.raises(
      UserError, match=r"json is damaged.*: delete .*/1\.0\.0, and the"
    ):
      prepare(root, out)


@pytest.mark.parametrize("name", ["dataset_info.json", "{shard}"])
def test_a_folder_in_place_of_a_file_is_named(root, out, name):
  prepare(root, out)
  shard = next((out / SET).glob("*array_record*")).name
  path = out / SET / name.format(shard=shard)
  path.unlink()
  path.mkdir()
  with pytest.raises(UserError, match=f"cannot write {path}: Is a directory; once it "):
    prepare(root, out)
  path.rmdir()
  assert prepare(root, out).startswith("Prepared ")


def test_one_command_at_a_time(root, out):
  with (
    prepare_folder.only_one(out / SET),
    pytest.raises(UserError, match="another command is at work in"),
  ):
    prepare(root, out)
  prepare(root, out)


@pytest.mark.parametrize(
  ("side", "name", "message"),
  [
    (0, None, "side is 0: give 1 or more"),
    (-5, None, "side is -5"),
    (32, "cifar10", "cifar10 is another data set's name"),
    (32, "folder", "folder is another data set's name"),
    (32, "My Photos", "'My Photos' cannot be the name of a set"),
    (32, "mine/64x64", "cannot be the name of a set"),
    (32, "mine:1.0.0", "cannot be the name of a set"),
    (32, "../mine", "cannot be the name of a set"),
    (32, "", "cannot be the name of a set"),
  ],
)
def test_settings_that_cannot_be(root, out, side, name, message):
  with pytest.raises(UserError, match=message):
    prepare(root, out, side, name)
  assert not out.exists()


def test_folders_that_cannot_be(root, out, tmp_path):
  empty = tmp_path / "empty"
  empty.mkdir()
  for place, message in (
    (tmp_path / "nowhere", "does not exist: name a folder of images"),
    (empty, "holds no image that can be read: it is empty"),
  ):
    with pytest.raises(UserError, match=message):
      prepare(place, out)
  for inside in (root, root / "out"):
    with pytest.raises(UserError, match="lies among the images of"):
      prepare(root, inside)
  np.save(empty / "a.npy", np.zeros((8, 8, 5), np.uint8))
  with pytest.raises(UserError, match="have 5 channels, and those of 1 or 3"):
    prepare(empty, out)
  for place in (None, ""):
    with pytest.raises(UserError, match="say where to write the set: --data_dir=OUT"):
      prepare_folder.prepare(str(root), place, 32)
  with pytest.raises(UserError, match="name the folder of images: --folder=PHOTOS"):
    prepare_folder.prepare("", str(out), 32)
  assert not out.exists()


def test_places_that_cannot_be_written_to(root, out, monkeypatch):
  out.write_text("a file")
  with pytest.raises(
    UserError, match=r"cannot write .*out/photographs_32/1\.0\.0: Not a"
  ):
    prepare(root, out)
  out.unlink()

  def full(self, record):
    raise RuntimeError("write() failed: No space left on device; writing; and so on")

  with monkeypatch.context() as patched:
    writer = record_files.array_record_module.ArrayRecordWriter
    patched.setattr(writer, "write", full)
    with pytest.raises(UserError, match=r"No space left on device; once it can be"):
      prepare(root, out)
  assert "Prepared 10" in prepare(root, out)


@pytest.mark.parametrize(
  ("path", "name"),
  [
    ("/data/Photos", "photos_320"),
    ("/data/My Photos (2024)/", "my_photos_2024_320"),
    ("/data/2024-05", "images_320"),
    ("/data/Müller", "m_ller_320"),
    ("/", "images_320"),
  ],
)
def test_default_names(path, name):
  assert prepare_folder._default_name(path, 320) == name


def command(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "byol_jax.data.prepare", *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


def test_the_command(root, out):
  done = command(f"--folder={root}", "--side=32", f"--data_dir={out}")
  assert done.returncode == 0, done.stderr
  said, line = done.stdout.splitlines()
  assert said.startswith(f"Prepared 10 images of {root} in {out / SET}.")
  assert line == (
    "python -m byol_jax.main --config=configs/byol_gn_ws.py:folder"
    f" --config.data.name=photographs_32 --config.data.data_dir={out}"
  )


def test_a_disk_that_is_gone_for_a_while_costs_no_image(root, out, monkeypatch):
  monkeypatch.setattr(prepare_folder, "_IMAGES", 4)
  write = record_files.write_shard
  away = root.with_name("away")

  def write_and_go(path, records):
    write(path, records)
    root.rename(away)

  with monkeypatch.context() as patch:
    patch.setattr(record_files, "write_shard", write_and_go)
    with pytest.raises(UserError, match=r"cannot read .*: No such .* the same command"):
      prepare(root, out)
  away.rename(root)
  assert "Prepared 10 images" in prepare(root, out)
  assert opened(out).sizes == {"train": 10}
