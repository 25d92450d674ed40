"""What the benchmarks of the input share: images, views, and the core they run on."""

import os
from pathlib import Path
from typing import Any

from byol_jax.errors import UserError

_SUFFIXES = (".jpeg", ".jpg")
_CORE = 0  # the one that contestants of one core run on


def pin() -> None:
  """Keeps this process to one core; before libraries count the cores."""
  os.sched_setaffinity(0, {_CORE})


def files(folder: str) -> list[Path]:
  """The JPEGs of a folder, by name.

  Raises:
    UserError: there is none, or no such folder.
  """
  found = sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in _SUFFIXES)
  if not found:
    raise UserError(
      f"there is no {' or '.join(_SUFFIXES)} in {folder}: name a folder of JPEGs"
    )
  return found


def source(folder: str) -> Any:
  """The JPEGs of a folder, encoded in memory, as a set of one class; see `files`."""
  from byol_jax.data.records import RecordSource

  records = [{"image": path.read_bytes(), "label": 0} for path in files(folder)]
  return RecordSource(records, "image", "label", num_classes=1, channels=3)


def views() -> tuple[Any, Any]:
  """BYOL's two."""
  from byol_jax.data.views import BYOL_VIEW1, BYOL_VIEW2

  return BYOL_VIEW1, BYOL_VIEW2
