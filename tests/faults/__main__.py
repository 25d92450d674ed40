"""The long form: does it all, prints what failed, and keeps a record of each kind."""

import datetime
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from byol_jax.run import provenance
from tests.faults import trial

# Kind -> how many trials make the long form.
COUNTS = {
  "kills": 100,
  "hosts": 10,
  "elastic": 4,
  "disks": 40,
  "soak": 20_000,
  "images": 10_000,
  "records": 10_000,
  "folders": 1000,
  "inputs": 320,
  "interrupts": 60,
}


def run(kind: str, count: int, seed: int) -> dict[str, Any]:
  """Makes the trials of one kind, and tells of them as they end.

  Returns:
    Their record: numbers, the largest figures, and those that failed.
  """
  module = importlib.import_module(f"tests.faults.{kind}")
  failed: list[dict[str, str]] = []
  figures: dict[str, float] = {}
  made, began = 0, time.monotonic()
  folder = Path(tempfile.mkdtemp(prefix=f"faults-{kind}-"))
  try:
    for made, result in enumerate(module.trials(count, seed, folder), 1):
      _tell(kind, made, count, result)
      if result.wrong:
        failed.append({"trial": result.name, "wrong": result.wrong})
      for name, value in result.figures.items():
        figures[name] = max(value, figures.get(name, value))
  finally:
    shutil.rmtree(folder, ignore_errors=True)
  return {
    "kind": kind,
    "seed": seed,
    "trials": made,
    "passed": made - len(failed),
    "failed": failed,
    "largest": {name: float(f"{value:.3g}") for name, value in sorted(figures.items())},
    "seconds": round(time.monotonic() - began),
    **_made_by(),
  }


def _tell(kind: str, made: int, count: int, result: trial.Trial) -> None:
  if result.wrong:
    print(f"{kind} {made}/{count} {result.name}: {result.wrong}", flush=True)
  elif made % max(1, count // 20) == 0:
    print(f"{kind} {made}/{count}", file=sys.stderr, flush=True)


def _made_by() -> dict[str, Any]:
  return {
    "date": datetime.date.today().isoformat(),
    "commit": provenance.commit(),
    "versions": provenance.versions(),
    "machine": f"{os.cpu_count()} cores of {provenance.processor()}",
  }


def main(argv: Sequence[str]) -> None:
  if unknown := set(argv[1:]) - set(COUNTS):
    sys.exit(f"no such kind: {', '.join(unknown)}; choose from {', '.join(COUNTS)}")
  if _RECORDS.value:
    Path(_RECORDS.value).mkdir(parents=True, exist_ok=True)
  good = True
  for kind in argv[1:] or COUNTS:
    record = run(kind, _COUNT.value or COUNTS[kind], _SEED.value)
    good &= not record["failed"]
    text = json.dumps(record, indent=2)
    print(text)
    if _RECORDS.value:
      Path(_RECORDS.value, f"{kind}.json").write_text(text + "\n")
  sys.exit(not good)


if __name__ == "__main__":
  _COUNT = flags.DEFINE_integer("count", None, "Trials of each kind.")
  _SEED = flags.DEFINE_integer("seed", 0, "Of what is drawn.")
  _RECORDS = flags.DEFINE_string("records", None, "Folder for a record of each kind.")
  app.run(main)
