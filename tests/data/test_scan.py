"""A scan finds the images in a folder, and nothing that lies there harms it."""

import gzip
import os
import time

import numpy as np
import pytest
from PIL import Image

from byol_jax import cache
from byol_jax.data import formats
from byol_jax.data.scan import quoted, scan, unquoted
from byol_jax.data.sources import Unreadable


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(path, size=(8, 6)):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.zeros((*size[::-1], 3), np.uint8)).save(path, "PNG")


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "images").mkdir()
  return tmp_path / "images"


NAMES = [
  "plain.png",
  "with space.png",
  'qu\'ote "double".png',
  "smile \U0001f600.png",
  "tab\tand\nline.png",
  "percent%20.png",
  os.fsdecode(b"latin-\xe9.png"),
  "-dash.png",
  "<script>.png",
  "deep/er/folder/a.png",
]


def test_names_of_all_kinds(folder):
  for name in NAMES:
    write(folder / name)
  for _ in range(2):  # from the files, then from the cache
    found = scan(str(folder))
    assert sorted(found.images) == sorted(NAMES)
    assert set(found.images.values()) == {formats.Header("PNG", 6, 8, 3, False)}
    assert found.sizes == {n: (folder / n).stat().st_size for n in NAMES}
    assert not found.unreadable
    assert not found.others


@pytest.mark.parametrize("name", NAMES)
def test_quoting_keeps_every_name(name):
  assert quoted(name).isascii()
  assert not set(quoted(name)) & set("\t\n ")
  assert unquoted(quoted(name)) == name


def test_what_is_no_image_of_the_users(folder):
  write(folder / "a.png")
  for name in (
    ".hidden.png",
    ".git/b.png",
    "__MACOSX/c.png",
    "@eaDir/d.png",
    "Thumbs.db",
  ):
    write(folder / name)
  (folder / "notes.txt").write_text("notes")
  (folder / "empty class").mkdir()
  os.mkfifo(folder / "pipe.png")
  found = scan(str(folder))
  assert list(found.images) == ["a.png"]
  assert found.others == ["notes.txt"]
  assert not found.unreadable


def test_links(folder, tmp_path):
  write(folder / "a" / "1.png")
  write(tmp_path / "elsewhere" / "2.png")
  (folder / "outside").symlink_to(tmp_path / "elsewhere")
  (folder / "a" / "up").symlink_to(folder)
  (folder / "a" / "above").symlink_to(tmp_path)
  (folder / "0 again").symlink_to(folder / "a")  # comes before "a", and is a link
  (folder / "3.png").symlink_to(tmp_path / "elsewhere" / "2.png")
  (folder / "4.png").symlink_to(tmp_path / "nothing.png")
  (folder / "5.png").symlink_to(folder / "5.png")
  found = scan(str(folder))
  assert sorted(found.images) == ["3.png", "a/1.png", "outside/2.png"]
  assert sorted(found.unreadable) == ["4.png", "5.png"]
  assert all(r.startswith("a link to nothing") for r in found.unreadable.values())


def test_a_folder_that_is_linked_twice_counts_once_and_is_named(folder, caplog):
  write(folder.parent / "cats" / "1.png")
  for split in ("train", "test"):
    (folder / split).mkdir()
    (folder / split / "cats").symlink_to(folder.parent / "cats")
  assert list(scan(str(folder)).images) == ["train/cats/1.png"]
  (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
  assert warning == (
    f"{folder}/test/cats leads to the same folder as {folder}/train/cats: its images"
    " count once"
  )


def test_files_that_cannot_be_read_are_named_with_the_reason(folder):
  write(folder / "a.png")
  (folder / "b.jpg").write_bytes(b"")
  (folder / "c.heic").write_bytes(b"\0\0\0\x18ftypheic")
  for _ in range(2):
    found = scan(str(folder))
    assert list(found.images) == ["a.png"]
    assert found.unreadable["b.jpg"] == "the file is empty"
    assert found.unreadable["c.heic"].startswith(".heic is damaged, or no format")


def test_the_second_scan_opens_changed_files_alone(folder, monkeypatch):
  for name in "abc":
    write(folder / f"{name}.png")
  scan(str(folder))
  opened = []
  inspect = formats.inspect
  monkeypatch.setattr(
    formats,
    "inspect",
    lambda path: opened.append(os.path.basename(path)) or inspect(path),
  )
  scan(str(folder))
  assert opened == []
  write(folder / "b.png", size=(9, 9))
  write(folder / "d.png")
  (folder / "a.png").unlink()
  found = scan(str(folder))
  assert sorted(opened) == ["b.png", "d.png"]
  assert sorted(found.images) == ["b.png", "c.png", "d.png"]
  assert found.images["b.png"].height == 9


_OF_ANOTHER_KIND = gzip.compress(b"one\ttwo\n", mtime=0)


@pytest.mark.parametrize("damage", [b"", b"no gzip", _OF_ANOTHER_KIND])
def test_a_damaged_cache_is_made_again(folder, damage):
  write(folder / "a.png")
  scan(str(folder))
  (path,) = (cache.folder() / "folders").iterdir()
  path.write_bytes(damage)
  assert list(scan(str(folder)).images) == ["a.png"]
  assert b"a.png" in gzip.decompress(path.read_bytes())


def test_a_cache_that_cannot_be_written_does_no_harm(folder, tmp_path, monkeypatch):
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  write(folder / "a.png")
  assert list(scan(str(folder)).images) == ["a.png"]


def test_many_files_take_seconds(folder):
  write(folder / "0.png")
  for number in range(1, 5000):
    os.link(folder / "0.png", folder / f"{number}.png")
  start = time.process_time()
  assert len(scan(str(folder)).images) == 5000
  assert time.process_time() - start < 5  # 100 000 in 100 s at the very worst


def test_a_file_that_could_not_be_read_once_is_looked_at_again(folder, monkeypatch):
  write(folder / "a.png")
  write(folder / "b.png")
  opened = []

  def denied(path):
    opened.append(os.path.basename(path))
    raise Unreadable("Permission denied")

  with monkeypatch.context() as patch:
    patch.setattr(formats, "inspect", denied)
    assert set(scan(str(folder)).unreadable) == {"a.png", "b.png"}
  assert sorted(opened) == ["a.png", "b.png"]
  assert sorted(scan(str(folder)).images) == ["a.png", "b.png"]
