"""Files that are replaced in one go, and links among them."""

import os
import subprocess
import sys

import pytest

from byol_jax import disk
from byol_jax.errors import UserError


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
  path = tmp_path / "config.json"
  disk.write_json(path, {"seed": 1})
  assert disk.read_json(path) == {"seed": 1}

  def full(descriptor):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "fsync", full)
  with pytest.raises(OSError, match="No space"):
    disk.write_json(path, {"seed": 2})
  assert disk.read_json(path) == {"seed": 1}
  assert [p.name for p in tmp_path.iterdir()] == ["config.json"]
  monkeypatch.undo()
  disk.write_json(path, {"seed": 3})
  assert disk.read_json(path) == {"seed": 3}
  assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_two_processes_that_replace_a_file_leave_a_whole_one(tmp_path):
  path = tmp_path / "report.html"
  code = (
    "import pathlib, sys; from byol_jax import disk\n"
    "for _ in range(100): disk.replace(pathlib.Path(sys.argv[1]),"
    " sys.argv[2] * 10**6, alone=False)"
  )
  writers = [subprocess.Popen([sys.executable, "-c", code, path, c]) for c in "ab"]
  while any(writer.poll() is None for writer in writers):
    found = path.read_text() if path.exists() else "a" * 10**6
    assert found in ("a" * 10**6, "b" * 10**6)
  assert [writer.returncode for writer in writers] == [0, 0]
  assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_link_is_never_written_through(tmp_path):
  theirs = tmp_path / "theirs"
  theirs.write_text("precious")
  path = tmp_path / "config.json"
  (tmp_path / "config.json.tmp").symlink_to(theirs)
  disk.write_json(path, {"seed": 1})
  assert theirs.read_text() == "precious"
  assert not path.is_symlink()
  link = tmp_path / "link"
  link.symlink_to(theirs)
  assert disk.cleared(link) == link
  assert not link.is_symlink()
  assert theirs.read_text() == "precious"
  assert disk.cleared(tmp_path / "nothing") == tmp_path / "nothing"


def test_a_folder_is_locked_once(tmp_path):
  release = disk.lock(tmp_path, "wait")
  with pytest.raises(UserError, match=r"another run is at work in .*; wait"):
    disk.lock(tmp_path, "wait")
  release()
  disk.lock(tmp_path, "wait")()


def test_a_folder_in_place_of_a_json_file_is_one_line(tmp_path):
  with pytest.raises(UserError, match=r"cannot read .*: Is a directory; restore it$"):
    disk.read_json(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "config.json")
  with pytest.raises(
    UserError, match=r"cannot read .*: it is a pipe or a device; rest"
  ):
    disk.read_json(tmp_path / "config.json")


def test_a_device_is_not_read_without_end(tmp_path):
  (tmp_path / "config.json").symlink_to("/dev/zero")
  with pytest.raises(
    UserError, match=r"cannot read .*: it is a pipe or a device; rest"
  ):
    disk.read_json(tmp_path / "config.json")


def test_no_more_is_read_than_there_is_room_for(tmp_path):
  with (tmp_path / "config.json").open("wb") as file:
    file.truncate(2**40)
  for read in (disk.read_json, disk.read):
    with pytest.raises((UserError, OSError), match="File too large"):
      read(tmp_path / "config.json")


def test_a_folder_in_place_of_a_file_stays(tmp_path):
  (tmp_path / "encoder.json").mkdir()
  with pytest.raises(UserError, match=r"encoder\.json is a folder, where a file is"):
    disk.write_json(tmp_path / "encoder.json", {})
  assert [path.name for path in tmp_path.iterdir()] == ["encoder.json"]


def test_a_text_is_utf_8_whatever_the_locale(tmp_path):
  code = (
    "import pathlib, sys; from byol_jax import disk;"
    "disk.replace(pathlib.Path(sys.argv[1]), chr(177) + chr(0xdcff))"
  )
  ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
  command = [sys.executable, "-c", code, str(tmp_path / "file")]
  subprocess.run(command, env={**os.environ, **ascii_only}, check=True)
  assert (tmp_path / "file").read_bytes() == "\xb1".encode() + b"\xff"


HOLD = (
  "import pathlib, sys; from byol_jax import disk;"
  " free = disk.lock(pathlib.Path(sys.argv[1]), 'wait'); print(flush=True);"
  " sys.stdin.read(); free()"
)


def test_a_folder_is_locked_by_a_file_that_goes_with_its_owner(tmp_path):
  command = [sys.executable, "-c", HOLD, str(tmp_path)]
  with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
    other.stdout.readline()
    assert [each.name for each in tmp_path.iterdir()] == [disk.LOCK]
    with pytest.raises(UserError, match=r"another run is at work in .*; wait"):
      disk.lock(tmp_path, "wait")
    other.stdin.close()
  assert list(tmp_path.iterdir()) == []
  disk.lock(tmp_path, "wait")()
  (tmp_path / disk.LOCK).touch()  # of a process that was killed
  disk.lock(tmp_path, "wait")()
  assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_folder_that_was_made_anew_is_another_ones(tmp_path):
  first = disk.lock(tmp_path, "wait")
  (tmp_path / disk.LOCK).unlink()
  second = disk.lock(tmp_path, "wait")
  first()
  with pytest.raises(UserError, match="at work"):
    disk.lock(tmp_path, "wait")
  second()


def test_a_lock_that_cannot_be_removed_is_let_go(tmp_path, monkeypatch):
  release = disk.lock(tmp_path, "wait")

  def read_only(path):
    raise OSError(30, "Read-only file system")

  with monkeypatch.context() as patch:
    patch.setattr(disk.Path, "unlink", read_only)
    release()
  disk.lock(tmp_path, "wait")()


def test_where_there_are_no_locks_a_warning_says_so(tmp_path, monkeypatch, caplog):
  def no_locks(*_):
    raise OSError(38, "Function not implemented")

  monkeypatch.setattr(disk.fcntl, "flock", no_locks)
  disk.lock(tmp_path, "wait")()
  assert "has no locks" in caplog.text
  with (tmp_path / "file").open("ab") as file:
    disk.wait_for(file)
  assert "has no lock: let one process alone write to it" in caplog.text


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  with pytest.raises(UserError, match=r"cannot write .*gone: No such file"):
    disk.lock(tmp_path / "gone", "wait")


def test_processes_that_hold_a_file_take_turns(tmp_path):
  path = tmp_path / "folder" / "lock"
  code = f"""
import fcntl
with open({str(path)!r}, "w") as file:
  fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
  command = [sys.executable, "-c", code]
  with disk.in_turn(path):
    second = subprocess.run(command, capture_output=True, check=False)
  assert b"BlockingIOError" in second.stderr
  subprocess.run(command, check=True)
