"""On what commit and machine, and when, something was measured."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from byol_jax.rundir import read_json, write_json

_CODE = ("byol_jax", "experiments", "configs", "reproduce")


def write(root: Path, name: str) -> None:
  """Notes it for a run or a study that begins, or goes on, here and now."""
  path = _path(root, name)
  path.parent.mkdir(parents=True, exist_ok=True)
  write_json(path, here())


def read(root: Path, name: str) -> dict[str, Any] | None:
  """What was noted last, None if nothing was."""
  path = _path(root, name)
  return read_json(path) if path.exists() else None


def here() -> dict[str, str]:
  """Commit, machine, versions and day."""
  return {
    "commit": _commit(),
    "machine": f"{os.cpu_count()} cores of {_processor()}",
    "versions": f"Python {platform.python_version()},"
    f" jax {importlib.metadata.version('jax')}",
    "day": datetime.date.today().isoformat(),
  }


def _path(root: Path, name: str) -> Path:
  return root / "provenance" / f"{name}.json"


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
