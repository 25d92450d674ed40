"""Files and folders that appear only once they are whole."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from byol_jax.disk import absolute
from byol_jax.errors import UserError


def check_new(path: str | os.PathLike[str]) -> Path:
  """The path, made absolute, if nothing would be lost by writing there.

  Raises:
    UserError: there is something; an empty folder is nothing.
  """
  if not path or not isinstance(path, str | os.PathLike):
    raise UserError(f"{path!r} is no path: name the file or the folder to be written")
  found = absolute(path)
  with _one_line(found):
    empty = found.is_dir() and not found.is_symlink() and not any(found.iterdir())
    if os.path.lexists(found) and not empty:
      raise UserError(f"{found} is there already: choose another name, or delete it")
  return found


@contextlib.contextmanager
def new(path: str | os.PathLike[str]) -> Iterator[Path]:
  """A path beside `path` to write to, which takes its name at the end.

  Raises:
    UserError: there is something at `path`, or it cannot be written to.
  """
  target = check_new(path)
  with _one_line(target):
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
      unfinished = Path(folder) / target.name
      yield unfinished
      unfinished.replace(target)


@contextlib.contextmanager
def _one_line(target: Path) -> Iterator[None]:
  """Turns what the file system objects to into one line."""
  try:
    yield
  except OSError as error:
    why = f"{error.strerror}: {error.filename}" if error.filename else error
    raise UserError(f"cannot write {target} ({why}); choose another place") from error
