"""images.txt.gz: the images, or splits, that a run began with and has to find again."""

import gzip
import io
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path

from byol_jax import disk
from byol_jax.errors import UserError

NAME = "images.txt.gz"

_MOST_UNPACKED = 2**30  # bytes: those of ten million images and more


def write(path: Path, listing: Sequence[str]) -> None:
  """Writes what a run begins with; see `data.sources.Dataset.listing`."""
  disk.replace(path, gzip.compress("\n".join(listing).encode(), mtime=0))


def check(path: Path, listing: Sequence[str], way_out: str) -> None:
  """Looks whether a run began with the same images.

  Args:
    path: of its images.txt.gz.
    listing: what it would be trained on.
    way_out: what the user can do if they are others.

  Raises:
    UserError: it began with others.
  """
  before = _read(path)
  if not any(line.startswith("/") for line in before):
    # Version 0.1 kept nothing about whole sets.
    listing = [line for line in listing if not line.startswith("/")]
  new, gone = set(listing) - set(before), set(before) - set(listing)
  changes = [
    f"{len(lines)} {what} (such as {_first(lines)})"
    for what, lines in (("new or changed", new), ("gone or changed", gone))
    if lines
  ]
  if changes:
    raise UserError(
      f"the images have changed since {path.parent} began: {', '.join(changes)};"
      f" {way_out}"
    )


def _read(path: Path) -> list[str]:
  try:
    found = _unpacked(disk.read(path)).decode().splitlines()
    if not found:
      raise ValueError("it is empty")
  except (OSError, EOFError, ValueError, zlib.error) as error:
    raise UserError(
      f"{path} is damaged ({error}): delete it, if the images are those that"
      " the run began with"
    ) from error
  return found


def _unpacked(content: bytes) -> bytes:
  """What gzip has packed; of a few bytes it could make any number."""
  with gzip.open(io.BytesIO(content)) as file:
    found = file.read(_MOST_UNPACKED + 1)
  if len(found) > _MOST_UNPACKED:
    raise ValueError(f"it holds more than {_MOST_UNPACKED} bytes")
  return found


def _first(lines: Collection[str]) -> str:
  """The version of a set, if it is among these lines, or else the first image."""
  versions = [line for line in lines if line.startswith("/version")]
  return versions[0][1:].replace("\t", " ") if versions else min(lines).split()[0]
