"""On what commit and machine, and when, something was measured."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from byol_jax.run.folder import read_json, write_json
from reproduce.arms import Run

_CODE = ("byol_jax", "experiments", "configs", "reproduce", "benchmarks")


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
  return {
    "commit": _commit(),
    "machine": f"{os.cpu_count()} cores of {_processor()}",
    "versions": f"Python {platform.python_version()},"
    f" jax {importlib.metadata.version('jax')}",
    "day": datetime.date.today().isoformat(),
  }


def _path(root: Path, run: Run) -> Path:
  return root / "provenance" / f"{run.name}.json"


def _commit() -> str:
  """The commit's short name, with "+" where the code is not that commit's."""
  git = ["git", "-C", str(Path(__file__).parents[1])]
  status = [*git, "status", "--porcelain", "--", *_CODE]
  asked = [[*git, "rev-parse", "--short", "HEAD"], status]
  try:
    found = [subprocess.check_output(a, text=True).strip() for a in asked]
  except (OSError, subprocess.CalledProcessError):
    return "unknown"
  return found[0] + ("+" if found[1] else "")


def _processor() -> str:
  cpuinfo = Path("/proc/cpuinfo")
  if cpuinfo.exists():
    for line in cpuinfo.read_text().splitlines():
      if line.startswith("model name"):
        return line.partition(":")[2].strip()
  return platform.processor() or platform.machine()
