"""What is measured beside the arms; the results are JSON under studies/."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reproduce import costs, independence, mirror

# By name, what it is made with: the folder of all runs, and that of the data sets.
STUDIES: Mapping[str, Callable[[Path, str | None], dict[str, Any]]] = {
  "independence": independence.measure,
  "mirror": lambda root, data_dir: mirror.measure(data_dir),
  "costs": lambda root, data_dir: costs.measure(data_dir),
}


def path(root: Path, name: str) -> Path:
  """Where the result of a study is."""
  return root / "studies" / f"{name}.json"


def read(root: Path, name: str) -> dict[str, Any] | None:
  """A study's result, None if it has not been made."""
  file = path(root, name)
  return json.loads(file.read_text()) if file.exists() else None
