"""Commands that are killed at random moments, and started again.

Once one has ended, what it has made must be what one makes that is never killed: bit
for bit, its log included, but for the times.
"""

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests import prepared
from tests.faults import jobs, trial
from tests.faults.jobs import Job
from tests.faults.trial import Trial


class _Reference(NamedTuple):
  """A job that nobody kills: what it makes, and in how many seconds."""

  job: Job
  made: Any
  seconds: float


def trials(count: int, seed: int, folder: Path) -> Iterator[Trial]:
  """Kills each kind of job in turn, as often as each other."""
  rng = random.Random(seed)
  references = [_reference(job, folder) for job in _jobs(folder)]
  shares = [
    count // len(references) + (i < count % len(references))
    for i in range(len(references))
  ]
  for reference, share in zip(references, shares, strict=True):
    yield from _kill(reference, share, rng, folder / "work")


def _jobs(folder: Path) -> list[Job]:
  images = jobs.photographs(folder / "photographs")
  prepared.write_cifar10(folder / "cifar10", file_format="tfrecord")
  encoder = folder / "pretraining" / "run"
  return [
    jobs.pretraining(),
    jobs.linear_evaluation(encoder),
    jobs.embedding(encoder, images),
    jobs.preparation(images),
    jobs.conversion(folder / "cifar10"),
  ]


def _reference(job: Job, folder: Path) -> _Reference:
  """Runs it twice, as the first time compiles."""
  work = folder / job.name.replace(" ", "-")
  made = jobs.complete(job, work)
  began = time.monotonic()
  again = jobs.complete(job, folder / "again")
  seconds = time.monotonic() - began
  shutil.rmtree(folder / "again")
  if again != made:
    raise RuntimeError(f"two runs of {job.name} differ, without any kill")
  return _Reference(job, made, seconds)


def _kill(
  reference: _Reference, count: int, rng: random.Random, work: Path
) -> Iterator[Trial]:
  """Kills a job that often; each time that it comes to its end it begins anew."""
  job, kills, starts = reference.job, 0, 0
  while kills < count:
    after = rng.uniform(0, 1.2 * reference.seconds)
    work.mkdir(exist_ok=True)
    code, lines = _killed(job.command(work), after)
    starts += 1
    if code == -signal.SIGKILL:
      kills += 1
      # Every third time it is let go on to its end.
      ends = kills == count or rng.random() < 1 / 3
      wrong = _differences(reference, work) if ends else ""
      yield Trial(f"{job.name}, killed after {after:.2f} s", wrong)
      if not ends:
        continue
    elif code:
      yield Trial(f"{job.name}, start {starts}", f"status {code}: {lines[-1:]}")
    elif wrong := _differences(reference, work):
      yield Trial(f"{job.name}, start {starts}", wrong)
    shutil.rmtree(work, ignore_errors=True)


def _killed(command: list[str], after: float) -> tuple[int, list[str]]:
  """Starts a command and kills it after that many seconds, if it still runs."""
  process = trial.start(*command)
  try:
    _, said = process.communicate(timeout=after)
  except subprocess.TimeoutExpired:
    process.kill()
    _, said = process.communicate()
  return process.returncode, said.splitlines()


def _differences(reference: _Reference, work: Path) -> str:
  """Lets it end, and says in what it differs from one that was not killed."""
  try:
    made = jobs.complete(reference.job, work)
  except (RuntimeError, OSError, KeyError) as error:
    return str(error)
  expected = reference.made
  names = [key for key in expected | made if made.get(key) != expected.get(key)]
  return f"it differs in {', '.join(names)}" if names else ""
