"""Splits, classes and order of a folder of images."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from byol_jax.data import batches, datasets, folder
from byol_jax.data.sources import Dataset, OutOfReach, Reducible, Unreadable
from byol_jax.data.views import View
from byol_jax.errors import UserError
from tests.data.test_batches import WHOLE


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
  (tmp_path / "images").mkdir()
  return tmp_path / "images"


def write(root, *names, channels=3, value=None):
  """Images of one value each, by default its number."""
  for number, name in enumerate(names):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (6, 5, channels)[: 3 if channels == 3 else 2]
    pixels = np.full(shape, number if value is None else value, np.uint8)
    Image.fromarray(pixels).save(path, "PNG")


def opened(root, name="folder"):
  dataset: Dataset = datasets.open_dataset(name, str(root))
  return dataset


def by_name(source):
  return {source.name(i): source[i][1] for i in range(len(source))}


def test_classes(root):
  write(root, "cat/1.png", "dog/1.png", "dog/2.png")
  dataset = opened(root)
  assert dataset.sizes == {"train": 3}
  assert dataset.class_names == ("cat", "dog")
  source = dataset.split("train")
  assert source.num_classes == 2
  assert by_name(source) == {"cat/1.png": 0, "dog/1.png": 1, "dog/2.png": 1}


@pytest.mark.parametrize(
  "names",
  [
    ["1.png", "2.png"],
    ["2023/may/1.png", "2024/june/2.png"],
    ["one/1.png", "one/2.png"],
    ["cat/1.png", "2.png", "dog/3.png"],
  ],
)
def test_flat_nested_and_mixed_folders_have_no_labels(root, names):
  write(root, *names)
  source = opened(root).split("train")
  assert source.num_classes is None
  assert by_name(source) == dict.fromkeys(names, -1)


def test_folders_that_are_no_classes(root):
  write(root, "monday/1.png", "friday/2.png")
  source = opened(root, "unlabelled_folder").split("train")
  assert source.num_classes is None
  assert set(by_name(source).values()) == {-1}


def test_splits_share_their_classes(root):
  write(root, "train/b/1.png", "train/a/2.png", "val/c/3.png", "test/b/4.png")
  write(root, "unlabelled/5.png")
  dataset = opened(root)
  assert dataset.sizes == {"train": 2, "val": 1, "test": 1, "unlabelled": 1}
  assert dataset.class_names == ("a", "b", "c")
  assert by_name(dataset.split("train")) == {"train/b/1.png": 1, "train/a/2.png": 0}
  assert by_name(dataset.split("val+test")) == {"val/c/3.png": 2, "test/b/4.png": 1}
  assert by_name(dataset.split("unlabelled")) == {"unlabelled/5.png": -1}
  assert dataset.split("unlabelled").num_classes == 3


@pytest.mark.parametrize("name", ["unlabelled", "unlabeled"])
def test_folders_of_what_is_unlabelled_are_no_classes(root, name):
  write(root, "train/b/1.png", "train/a/2.png", f"{name}/part0/3.png")
  write(root, f"{name}/part1/4.png", f"{name}/a/5.png")
  dataset = opened(root)
  assert dataset.class_names == ("a", "b")
  assert set(by_name(dataset.split(name)).values()) == {-1}


def test_an_image_that_is_gone_is_told_from_a_disk_that_is(root):
  write(root, *(f"{n}.png" for n in range(30)))
  source = opened(root).split("train")
  os.unlink(root / source.name(4))
  with pytest.raises(Unreadable, match="No such file") as gone:
    source[4]
  assert not isinstance(gone.value, OutOfReach)
  root.rename(root.with_name("elsewhere"))
  with pytest.raises(OutOfReach, match="No such file"):
    source[5]
  root.with_name("elsewhere").rename(root)
  assert source[5][0].shape == (6, 5, 3)


@pytest.mark.parametrize(
  ("train", "test"),
  [("Train", "Test"), ("TRAIN", "test"), ("Training", "Testing"), ("train", "TESTING")],
)
def test_splits_by_other_names(root, train, test):
  write(root, f"{train}/a/1.png", f"{train}/b/2.png", f"{test}/b/3.png")
  dataset = opened(root)
  assert dataset.sizes == {"train": 2, "test": 1}
  assert by_name(dataset.split("train")) == {
    f"{train}/a/1.png": 0,
    f"{train}/b/2.png": 1,
  }
  assert by_name(dataset.split("test")) == {f"{test}/b/3.png": 1}


def test_classes_that_are_called_like_splits(root):
  write(root, "Training/1.png", "running/2.png", "Test/3.png", "Train/4.png")
  dataset = opened(root)
  assert dataset.sizes == {"train": 4}
  assert dataset.class_names == ("Test", "Train", "Training", "running")


def test_two_folders_that_are_one_split_are_refused(root):
  write(root, "train/1.png", "training/2.png", "test/3.png")
  with pytest.raises(UserError, match="test, train, training on top, of which some"):
    opened(root)


def test_an_image_beside_the_splits_is_refused(root):
  write(root, "train/1.png", "val/2.png", "3.png")
  with pytest.raises(UserError, match=r"the split train/, and 3.png outside of it"):
    opened(root)


def test_order_is_a_fair_draw_that_depends_on_names_below_the_folder_alone(root):
  names = [f"{c}/{i:03d}.png" for c in "ab" for i in range(100)]
  write(root, *names[::-1], value=0)
  order = list(opened(root).split("train").paths)
  assert sorted(order) == names
  first = order[:50]
  assert 10 < sum(name.startswith("a") for name in first) < 40
  assert opened(root).split("train[:25%]").paths == first

  moved = root.rename(root.with_name("moved elsewhere"))
  assert list(opened(moved).split("train").paths) == order
  # An image more leaves the others in their order.
  write(moved, "a/new.png")
  assert [n for n in opened(moved).split("train").paths if n != "a/new.png"] == order


def test_accents_have_one_place_in_all_their_forms():
  assert folder._hash("caf\u00e9.png") == folder._hash("cafe\u0301.png")


def test_accents_have_one_class_in_all_their_forms(root):
  write(root, "train/caf\u00e9/1.png", "train/zoo/2.png")
  write(root, "val/cafe\u0301/3.png", "val/zoo/4.png")
  dataset = opened(root)
  assert dataset.class_names == ("caf\u00e9", "zoo")
  for split in ("train", "val"):
    assert sorted(dataset.split(split).labels) == [0, 1]


def test_slices_add_up(root):
  write(root, *[f"{i}.png" for i in range(10)])
  dataset = opened(root)
  parts = [
    dataset.split(s).paths for s in ("train[:30%]", "train[30%:90%]", "train[90%:]")
  ]
  assert [*parts[0], *parts[1], *parts[2]] == list(dataset.split("train").paths)
  assert dataset.check("train[:30%]") == 3
  with pytest.raises(UserError, match=r"has nothing for the split 'test'"):
    dataset.split("test")


@pytest.mark.parametrize(("kinds", "channels"), [([1], 1), ([3], 3), ([1, 3], 3)])
def test_channels(root, kinds, channels):
  for kind in kinds:
    write(root, f"{kind}.png", channels=kind, value=7)
  source = opened(root).split("train")
  assert source.channels == channels
  for index in range(len(source)):
    np.testing.assert_array_equal(source[index][0], np.full((6, 5, channels), 7))


def test_bands(root):
  image = np.arange(4 * 4 * 6, dtype=np.uint8).reshape(4, 4, 6)
  np.save(root / "a.npy", image)
  source = opened(root).split("train")
  assert source.channels == 6
  np.testing.assert_array_equal(source[0][0], image)
  write(root, "b.png")
  with pytest.raises(UserError, match=r"channels \(b.png 3, a.npy 6\)"):
    opened(root)


def test_a_source_can_be_sent_to_other_processes(root):
  write(root, "a/1.png", "b/2.png")
  source = opened(root).split("train")
  assert isinstance(source, Reducible)
  assert by_name(pickle.loads(pickle.dumps(source))) == by_name(source)


def test_large_photographs_are_read_at_the_size_that_is_needed(root, monkeypatch):
  rows = np.linspace(0, 255, 1600)[:, None, None]
  photograph = np.broadcast_to(rows, (1600, 2000, 3)).astype(np.uint8)
  Image.fromarray(photograph).save(root / "a.jpg", quality=95)
  source = opened(root).split("train")
  scales = []
  decode = folder.formats.decode
  monkeypatch.setattr(
    folder.formats, "decode", lambda *a: scales.append(a[-1]) or decode(*a)
  )
  settings = {"size": 200, "batch_size": 1, "seed": 0, "steps": range(1)}
  for view, scale in ((WHOLE, 8), (View(crop_area=(0.04, 0.04)), 1)):
    (batch,) = batches.train_batches(source, [view], **settings)
    assert scales.pop() == scale
    assert batch["view1"].shape == (1, 200, 200, 3)
  (batch,) = batches.eval_batches(source, size=200, crop=1.0, batch_size=1)
  assert scales == [8]
  wanted = np.linspace(0, 255, 200)[:, None, None]
  np.testing.assert_allclose(
    batch["image"][0], wanted + np.zeros((200, 200, 3)), atol=3
  )


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda root: root.rmdir(), "does not exist: name a folder of images"),
    (lambda root: (root.rmdir(), root.write_text("")), "is a file: name a folder"),
    (lambda root: None, "holds no image that can be read: it is empty"),
    (lambda root: (root / "a.txt").write_text("a"), "0 unreadable and 1 other files"),
    (lambda root: (root / "a.jpg").write_text(""), "1 unreadable .* the file is empty"),
  ],
)
def test_folders_without_images(root, make, message):
  make(root)
  with pytest.raises(UserError, match=message):
    opened(root)


def test_a_folder_that_cannot_be_read_is_named(root, monkeypatch):
  def denied(path):
    raise PermissionError(13, "Permission denied", path)

  monkeypatch.setattr("os.scandir", denied)  # who tests may be allowed everything
  message = f"^{root} is a folder that cannot be read: Permission denied; change its"
  with pytest.raises(UserError, match=message):
    opened(root)


def test_a_subfolder_that_cannot_be_read_is_named(root, monkeypatch, caplog):
  write(root, "a/1.png", "b/2.png", "c/3.png")
  scandir = os.scandir

  def denied(path):
    if path.endswith("/b"):
      raise PermissionError(13, "Permission denied", path)
    return scandir(path)

  monkeypatch.setattr("os.scandir", denied)
  assert opened(root).sizes == {"train": 2}
  (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
  assert warning == (
    f"{root}/b is a folder that cannot be read: Permission denied; nothing in it is"
    " used"
  )


@pytest.mark.parametrize("data_dir", [None, ""])
def test_a_folder_must_be_named(data_dir):
  with pytest.raises(UserError, match=r"--config.data.data_dir=FOLDER"):
    datasets.open_dataset("folder", data_dir)


def test_what_was_found_in_one_line(root):
  write(root, "a/1.png", "a/2.png", "b/3.png")
  (root / "torn.jpg").write_bytes(b"")
  (root / "notes.txt").write_text("")
  assert opened(root).describe() == (
    f"{root}: train 3 images of 3 channels, 2 classes, 1 unreadable, 1 other files"
  )


def test_the_listing_names_each_image_and_its_size(root):
  write(root, "a b.png", "c.png")
  sizes = [(root / name).stat().st_size for name in ("a b.png", "c.png")]
  assert sorted(opened(root).listing()) == [
    f"a%20b.png\t{sizes[0]}",
    f"c.png\t{sizes[1]}",
  ]
