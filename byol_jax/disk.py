"""Paths, locks and files that are replaced in one go."""

import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from absl import logging

from byol_jax.errors import UserError

LOCK = ".lock"  # in a folder that one process alone may work in
_MOST_OF_A_TEXT = 2**30  # bytes, of a file with a line a step or an image
_MOST_OF_AN_OBJECT = 2**24  # of what describes a run or an encoder


def absolute(path: str | os.PathLike[str]) -> Path:
  """A path without "~" and "..", the latter of which TensorStore refuses."""
  return Path(os.path.abspath(os.path.expanduser(path)))


def check_utf8(path: Path) -> None:
  """Raises UserError for a folder of checkpoints that TensorStore cannot find."""
  try:
    str(path).encode()
  except UnicodeEncodeError as error:
    raise UserError(
      f"{path} is no text in UTF-8, and checkpoints cannot lie there: give the folder"
      " another name"
    ) from error


def lock(folder: Path, way_out: str, who: str = "run") -> Callable[[], None]:
  """Locks a folder until what is returned is called, or the process ends.

  That is by a file in it: NFS and Lustre lock files for all machines, and folders for
  each by itself.

  Args:
    folder: it must be there.
    way_out: what the user can do if it is locked already.
    who: what works in such folders.

  Raises:
    UserError: it is locked already, or cannot be written.
  """
  path = folder / LOCK
  while True:
    try:
      descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
      raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      os.close(descriptor)
      raise UserError(f"another {who} is at work in {folder}; {way_out}") from error
    except OSError:
      logging.warning("%s has no locks: let one process alone work in it", folder)
      break
    if _is_at(path, descriptor):  # else its owner has just removed it
      break
    os.close(descriptor)

  def release() -> None:
    if _is_at(path, descriptor):  # another process may have made the folder anew
      with contextlib.suppress(OSError):  # of a disk that is read-only by now
        path.unlink()
    os.close(descriptor)

  return release


@contextlib.contextmanager
def alone(folder: Path, way_out: str, who: str = "run") -> Iterator[None]:
  """Makes a folder, and holds its lock; see `lock`."""
  folder.mkdir(parents=True, exist_ok=True)
  release = lock(folder, way_out, who)
  try:
    yield
  finally:
    release()


def _is_at(path: Path, descriptor: int) -> bool:
  """Whether the file that is open is still the one that a path names."""
  try:
    return os.path.samestat(path.stat(), os.fstat(descriptor))
  except OSError:
    return False


def wait_for(file: IO[bytes] | IO[str]) -> None:
  """Locks a file until it is closed, once no other process has locked it."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX)
  except OSError:
    logging.warning("%s has no lock: let one process alone write to it", file.name)


@contextlib.contextmanager
def in_turn(path: Path) -> Iterator[None]:
  """Holds a file that is there for that alone, once no other process does."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("a") as file:  # which leaves alone what a link may lead to
    wait_for(file)
    yield


def read(path: Path, most: int = _MOST_OF_A_TEXT) -> bytes:
  """Reads a file as a whole.

  Args:
    path: of the file.
    most: bytes that it may have.

  Raises:
    OSError: it cannot be read, is larger, or is none: a pipe would be waited for, and
      a device be read, without end.
  """
  if check_regular(path) > most:
    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
  return path.read_bytes()


def check_regular(path: Path) -> int:
  """The bytes of a file, or of a folder.

  Raises:
    OSError: there is none, or a pipe or a device.
  """
  about = path.stat()
  if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
    raise OSError(errno.EOPNOTSUPP, "it is a pipe or a device", str(path))
  return about.st_size


def read_json(path: Path, way_out: str = "delete it or restore it") -> dict[str, Any]:
  """Reads a JSON object.

  Args:
    path: of the file.
    way_out: what the user can do if it is damaged.

  Raises:
    UserError: it is missing, cannot be read or holds something else.
  """
  try:
    found = json.loads(read(path, _MOST_OF_AN_OBJECT).decode())
    if not isinstance(found, dict):
      raise ValueError("no JSON object")
    return found
  except FileNotFoundError as error:
    raise UserError(
      f"{path} does not exist; is {path.parent} the folder of a run?"
    ) from error
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror}; restore it") from error
  except (ValueError, RecursionError) as error:  # the latter of too deep a one
    raise UserError(f"{path} is damaged ({error}): {way_out}") from error


def write_json(path: Path, value: Mapping[str, Any]) -> None:
  """Writes a JSON object, replacing the file in one go."""
  replace(path, json.dumps(value, indent=2) + "\n")


def replace(path: Path, content: str | bytes, *, alone: bool = True) -> None:
  """Writes a file under another name first, so that it is there as a whole or not.

  Args:
    path: of the file.
    content: what it is to hold.
    alone: whether no other process can be writing it. One that can has a name of its
      own for what it writes, which stays there if it is killed.

  Raises:
    UserError: a folder is in its place.
    OSError: it cannot be written.
  """
  ending = ".tmp" if alone else f".{os.getpid()}.tmp"
  temporary = cleared(path.with_name(f"{path.name}{ending}"))
  try:
    with temporary.open("xb") as file:
      if isinstance(content, str):  # in which names of files have any bytes
        content = content.encode(errors="surrogateescape")
      file.write(content)
      file.flush()
      os.fsync(file.fileno())  # or the name could survive a power failure without it
    temporary.replace(path)
  except IsADirectoryError as error:
    raise UserError(
      f"{path} is a folder, where a file is to be written: move it away"
    ) from error
  finally:
    temporary.unlink(missing_ok=True)


def cleared(path: Path) -> Path:
  """A path, once what a killed process left there is gone.

  Of a link it is the link that goes, not what it points to: whoever can write to a
  folder shall not have others' files overwritten.
  """
  path.unlink(missing_ok=True)
  return path
