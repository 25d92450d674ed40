"""Features on their way to a file: blocks in a folder beside it.

Each block is there as a whole or not at all, so that a command that was killed goes on
after the last one. No more than a block is in memory.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from byol_jax import disk
from byol_jax.disk import lock, read_json, write_json
from byol_jax.embed import files
from byol_jax.errors import UserError

MOST_IMAGES = 4096  # in a block
MOST_SECONDS = 60.0  # of work in a block, which a command that is killed loses

_SETTINGS = "settings.json"
_BLOCK = re.compile(r"\d{12}-\d{12}\.npz")


class Blocks:
  """The blocks of one file, in the folder OUT.partial; locked until it is closed.

  Args:
    out: the file that they are to become.
    settings: what the features depend on, by the user's words for it ("encoder").

  Raises:
    UserError: the folder holds blocks of other settings, is in use, or cannot be
      written.
  """

  def __init__(self, out: Path, settings: Mapping[str, str]):
    self._out = out
    self._folder = _folder_of(out)
    self._waiting: list[dict[str, np.ndarray]] = []
    self._since = time.monotonic()
    with self._writing():
      self._folder.mkdir(exist_ok=True)
      self._unlock = lock(
        self._folder, "wait until it has ended, or choose another --out"
      )
      try:
        self._claim(settings)
        self.done = self._drop_after_hole()
      except BaseException:
        self.close()
        raise

  def __enter__(self) -> "Blocks":
    return self

  def __exit__(self, *error: object) -> None:
    self.close()

  def close(self) -> None:
    """Lets go of the folder; what is no block yet is lost."""
    self._unlock()

  def add(self, end: int, columns: Mapping[str, np.ndarray]) -> None:
    """Adds the features of images up to `end`; now and then they become a block.

    Args:
      end: place in the source behind the last image that was looked at.
      columns: `files.COLUMNS`, and "left_out", places of unreadable images.
    """
    self._waiting.append(dict(columns))
    images = sum(len(part["label"]) for part in self._waiting)
    late = time.monotonic() - self._since > MOST_SECONDS
    if images >= MOST_IMAGES or late:
      self.flush(end)

  def flush(self, end: int) -> None:
    """Writes the block of what was added, images up to `end`."""
    if end == self.done:
      return
    path = self._folder / f"{self.done:012d}-{end:012d}.npz"
    names = self._waiting[0]
    joined: dict[str, Any] = {
      name: np.concatenate([part[name] for part in self._waiting]) for name in names
    }
    with self._writing():
      temporary = disk.cleared(path.with_suffix(".tmp"))
      with temporary.open("wb") as file:
        np.savez(file, **joined)
        file.flush()
        os.fsync(file.fileno())
      temporary.replace(path)
    self._waiting, self.done, self._since = [], end, time.monotonic()

  def count(self) -> int:
    """Number of images that have features."""
    return self.done - len(self.left_out())

  def left_out(self) -> list[int]:
    """Places of the images that could not be read."""
    found = [files.read_column(block, "left_out") for block in self._blocks()]
    return np.concatenate([np.zeros(0, int), *found]).tolist()

  def join(self, class_names: Sequence[str], provenance: Mapping[str, Any]) -> None:
    """Makes the file of all blocks, and removes the folder."""
    with self._writing():
      unfinished = disk.cleared(self._folder / f"unfinished{self._out.suffix}")
      files.write(unfinished, self._blocks(), class_names, provenance)
      with unfinished.open("rb") as file:
        os.fsync(file.fileno())
      files.check_new(self._out)
      unfinished.replace(self._out)
    self.remove()

  def remove(self) -> None:
    """Removes the folder with all blocks, and last what says whose they are."""
    for path in self._blocks():
      path.unlink(missing_ok=True)
    shutil.rmtree(self._folder, ignore_errors=True)

  def _claim(self, settings: Mapping[str, str]) -> None:
    path = self._folder / _SETTINGS
    if not path.exists():
      inside = {entry.name for entry in self._folder.iterdir()}
      if inside - {disk.LOCK, f"{_SETTINGS}.tmp"}:
        raise UserError(
          f"{self._folder} is not empty and holds no features: choose another --out"
        )
      write_json(path, settings)
    for entry in self._folder.glob("*.npz"):
      if not _BLOCK.fullmatch(entry.name) and entry.stem != "unfinished":
        raise UserError(f"{entry} is no block of features: move it away")
    found = read_json(path, f"delete {self._folder} to begin anew")
    other = [name for name, value in settings.items() if found.get(name) != value]
    if other:
      raise UserError(
        f"{self._folder} was begun with a different {' and a different '.join(other)}:"
        " give the same as then to go on, or delete that folder to begin anew"
      )

  def _blocks(self) -> list[Path]:
    return sorted(self._folder.glob("*-*.npz"))

  def _drop_after_hole(self) -> int:
    """Up to which image there are blocks without a gap; those after one go."""
    done = 0
    for path in self._blocks():
      start, end = map(int, path.stem.split("-"))
      looked_at = ("label", "left_out")
      if sum(len(files.read_column(path, name)) for name in looked_at) != end - start:
        raise UserError(
          f"{path} has not as many images as its name says: delete it, and the same"
          " command goes on"
        )
      if start != done:
        path.unlink()
      else:
        done = end
    return done

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    try:
      yield
    except OSError as error:
      raise UserError(
        f"cannot write {self._folder}: {error.strerror or error}; put that right, and"
        " the same command goes on"
      ) from error


def forget(out: Path, settings: Mapping[str, str]) -> None:
  """Removes what a file that is complete was made of, where a kill has left it."""
  folder = _folder_of(out)
  said = folder / _SETTINGS
  if said.exists():
    if read_json(said, f"delete {folder}") == dict(settings):
      shutil.rmtree(folder, ignore_errors=True)
  else:
    with contextlib.suppress(OSError):
      folder.rmdir()  # no more than itself was left


def _folder_of(out: Path) -> Path:
  return out.with_name(f"{out.name}.partial")
