"""What the benchmarks of the input share: images, views, and the core they run on."""

import os
from pathlib import Path
from typing import Any

_SUFFIXES = (".jpeg", ".jpg")
_CORE = 0  # the one that contestants of one core run on


def pin() -> None:
  """Keeps this process to one core; before libraries count the cores."""
  os.sched_setaffinity(0, {_CORE})


def source(folder: str) -> Any:
  """The JPEGs of a folder, encoded in memory, as a set of one class."""
  from byol_jax.data.records import RecordSource

  files = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in _SUFFIXES)
  records = [{"image": path.read_bytes(), "label": 0} for path in files]
  return RecordSource(records, "image", "label", num_classes=1, channels=3)


def views() -> tuple[Any, Any]:
  """BYOL's two."""
  from byol_jax.data.views import BYOL_VIEW1, BYOL_VIEW2

  return BYOL_VIEW1, BYOL_VIEW2
