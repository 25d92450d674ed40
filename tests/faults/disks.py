"""A disk that fills, goes read-only or loses the folder, under a run.

Needs root, which alone mounts small disks. Once there is room again, the same command
must end as if nothing had happened.
"""

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults import jobs, trial
from tests.faults.trial import Trial

_JOB = jobs.pretraining(30)
_LARGE = "64m"


def trials(count: int, seed: int, folder: Path) -> Iterator[Trial]:
  """As many disks, of each kind in turn; sizes and moments are drawn."""
  rng = random.Random(seed)
  reference = folder / "reference"
  reference.mkdir()
  made = jobs.complete(_JOB, reference)
  size = sum(len(data) for data in trial.contents(reference).values())
  for number in range(count):
    fault = FAULTS[number % len(FAULTS)]
    disk = folder / "disk"
    with _mounted(disk):
      name, wrong = fault(disk, rng, size)
      if not wrong and not _whole_again(disk, made):
        wrong = "it does not come to the same end"
    yield Trial(name, wrong)


@contextlib.contextmanager
def _mounted(disk: Path) -> Iterator[None]:
  disk.mkdir()
  _mount("-t", "tmpfs", "-o", f"size={_LARGE}", "tmpfs", str(disk))
  try:
    yield
  finally:
    subprocess.run(["umount", "-l", disk], check=True)
    disk.rmdir()


def _mount(*arguments: str) -> bool:
  return not subprocess.run(["mount", *arguments], capture_output=True).returncode


def _whole_again(disk: Path, made: object) -> bool:
  _mount("-o", f"remount,rw,size={_LARGE}", str(disk))
  with contextlib.suppress(RuntimeError, OSError):
    return jobs.complete(_JOB, disk) == made
  return False


def full_from_the_start(disk: Path, rng: random.Random, size: int) -> tuple[str, str]:
  """A disk that is too small for the run."""
  room = rng.randrange(4096, size)
  _mount("-o", f"remount,size={room}", str(disk))
  ended = trial.run(*_JOB.command(disk))
  return f"{room} bytes of {size}", trial.not_one_line(ended)


def filled_under_it(disk: Path, rng: random.Random, size: int) -> tuple[str, str]:
  """Another program takes all that is left, at some step."""
  step = rng.randrange(2, 25)
  process = trial.start(*_JOB.command(disk))
  before = trial.read_until(process, f"step {step}/")
  with contextlib.suppress(OSError), (disk / "fill").open("wb") as file:
    while True:
      file.write(b"0" * 4096)
      file.flush()
  wrong = _ends_in_one_line(process, before)
  (disk / "fill").unlink()
  return f"filled after step {step}", wrong


def read_only(disk: Path, rng: random.Random, size: int) -> tuple[str, str]:
  """The disk becomes read-only, as after an error of the hardware."""
  step = rng.randrange(2, 25)
  process = trial.start(*_JOB.command(disk))
  before = trial.read_until(process, f"step {step}/")
  until = time.monotonic() + 20
  while not _mount("-o", "remount,ro", str(disk)) and time.monotonic() < until:
    time.sleep(0.01)  # a file is open for writing
  return f"read-only after step {step}", _ends_in_one_line(process, before)


def folder_lost(disk: Path, rng: random.Random, size: int) -> tuple[str, str]:
  """Someone deletes the folder of the run."""
  step = rng.randrange(2, 25)
  process = trial.start(*_JOB.command(disk))
  before = trial.read_until(process, f"step {step}/")
  shutil.rmtree(disk / "run", ignore_errors=True)
  wrong = _ends_in_one_line(process, before)
  shutil.rmtree(disk / "run", ignore_errors=True)
  return f"deleted after step {step}", wrong


def _ends_in_one_line(process: trial.Process, before: list[str]) -> str:
  """What is wrong with how it ends; it may have come to its end before the fault."""
  lines = before + process.communicate(timeout=120)[1].splitlines()
  if process.returncode == 0:
    return ""
  return trial.not_one_line(trial.Ended(process.returncode, lines, 0))


FAULTS: tuple[Callable[[Path, random.Random, int], tuple[str, str]], ...] = (
  full_from_the_start,
  filled_under_it,
  read_only,
  folder_lost,
)
