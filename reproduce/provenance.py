"""On what commit and machine, and when, something was measured."""

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byol_jax.run import provenance
from byol_jax.run.folder import RunDir


def of_run(folder: Path) -> list[dict[str, str]]:
  """What the starts of a run say, a note for each commit, machine and day."""
  notes = [_note(start) for start in RunDir(folder, writes=False).starts()]
  return [note for i, note in enumerate(notes) if note not in notes[:i]]


def here() -> dict[str, str]:
  """Commit, machine, versions and day."""
  return _note(
    {
      "commit": provenance.commit(),
      "cores": os.cpu_count(),
      "processor": provenance.processor(),
      "versions": provenance.versions(),
      "started": datetime.datetime.now(datetime.UTC).isoformat(),
    }
  )


def _note(start: Mapping[str, Any]) -> dict[str, str]:
  versions = start["versions"]
  return {
    "commit": start["commit"] or "unknown",
    "machine": f"{start['cores']} cores of {start['processor']}",
    "versions": f"Python {versions['Python']}, jax {versions['jax']}",
    "day": start["started"].partition("T")[0],
  }
