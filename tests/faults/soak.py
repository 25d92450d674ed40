"""A run of many steps: memory, open files and speed do not change with time."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.faults import jobs, trial
from tests.faults.trial import Trial

_EVERY = 1.0  # seconds between two looks
_MIB = 40  # that memory may grow over the second half of the run
_SLOWER = 0.1  # by which the last third of the run may be slower than the second


def trials(count: int, seed: int, folder: Path) -> Iterator[Trial]:
  """One run of `count` steps; the seed plays no part."""
  flags = ("--config.checkpoint.every_minutes=0.1", "--config.log.every_steps=20")
  process = trial.start(*jobs.pretraining(count, *flags).command(folder))
  threading.Thread(target=process.communicate, daemon=True).start()
  looks = []
  while process.poll() is None:
    looks.append(_look(process.pid))
    time.sleep(_EVERY)
  if process.returncode:
    yield Trial(f"{count} steps", f"status {process.returncode}")
    return
  memory, files = np.array([look for look in looks if look]).T
  figures = {
    **_growth("MiB", memory),
    **_growth("files", files),
    "share slower": _slower(folder / "run" / "metrics.jsonl"),
  }
  yield Trial(f"{count} steps", _judge(figures), figures)


def _look(process: int) -> tuple[float, int] | None:
  """MiB in memory and number of open files; None once it has ended."""
  try:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    files = len(os.listdir(f"/proc/{process}/fd"))
  except OSError:
    return None
  return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files


def _growth(unit: str, values: np.ndarray) -> dict[str, float]:
  """By how much a line through the second half of the run rises over that half."""
  half = values[len(values) // 2 :]
  slope = np.polyfit(np.arange(len(half)), half, 1)[0]
  return {unit: float(values.max()), f"{unit} more": float(slope * len(half))}


def _slower(metrics: Path) -> float:
  """By which share the median speed of the last third is below that of the second."""
  lines = map(json.loads, metrics.read_text().splitlines())
  speeds = [line["images_per_second"] for line in lines if "images_per_second" in line]
  third = len(speeds) // 3
  return 1 - float(
    np.median(speeds[2 * third :]) / np.median(speeds[third : 2 * third])
  )


def _judge(figures: dict[str, float]) -> str:
  faults = {
    "memory grows": figures["MiB more"] > _MIB,
    "files stay open": figures["files more"] > 1,
    "it becomes slower": figures["share slower"] > _SLOWER,
  }
  return ", ".join(fault for fault, found in faults.items() if found)
