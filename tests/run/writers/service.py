"""A run that goes on, as a real service gets it; for the tests of each of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-P", "-m", "byol_jax.run.writers.follow"]


def follow_twice(name: str, folder: Path, **environment: str) -> str:
  """Follows a run that is stopped after step 2, goes on from step 1 and ends with 4.

  Returns:
    Its identity.
  """
  folder.mkdir()
  (folder / "config.json").write_text(json.dumps({"train": {"steps": 4}, "seed": 7}))
  _follow(name, folder, [0, 1, 2], environment)
  summary = {"knn": {"encoder": 0.5}, "collapsed": False, "note": "of a test"}
  (folder / "summary.json").write_text(json.dumps(summary))
  _follow(name, folder, [0, 1, 2, 3, 4], environment)
  return json.loads((folder / "writers" / f"{name}.json").read_text())["id"]


def _follow(
  name: str, folder: Path, steps: list[int], environment: dict[str, str]
) -> None:
  lines = [json.dumps({"step": step, "loss": step / 2}) for step in steps]
  (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
  done = subprocess.run(
    [*COMMAND, name, str(folder)],
    env=os.environ | {"PYTHONPATH": os.getcwd()} | environment,
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
