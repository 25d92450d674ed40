"""On what commit and machine, and when, something was measured."""

import datetime
from pathlib import Path

from byol_jax.disk import read_json, write_json
from byol_jax.run import provenance
from reproduce.arms import Run


def note(root: Path, run: Run) -> None:
  """Notes it for a run that begins, or goes on, here and now."""
  notes = read(root, run)
  if here() not in notes:
    path = _path(root, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"notes": [*notes, here()]})


def read(root: Path, run: Run) -> list[dict[str, str]]:
  """What was noted, a note for each commit, machine and day."""
  path = _path(root, run)
  return read_json(path)["notes"] if path.exists() else []


def here() -> dict[str, str]:
  """Commit, machine, versions and day."""
  versions = provenance.versions()
  return {
    "commit": provenance.commit() or "unknown",
    "machine": f"{provenance.cores()} cores of {provenance.processor()}",
    "versions": f"Python {versions['Python']}, jax {versions['jax']}",
    "day": datetime.date.today().isoformat(),
  }


def _path(root: Path, run: Run) -> Path:
  return root / "provenance" / f"{run.id}.json"
