"""Does what is not complete: trains the arms, makes the studies."""

import importlib
import os
import queue
import subprocess
import sys
from collections.abc import Iterable
from concurrent import futures
from pathlib import Path

from absl import logging

from byol_jax.errors import UserError
from reproduce import arms, provenance, results


def train(
  runs: Iterable[arms.Run], root: Path, folder: Path, data_dir: str | None, jobs: int
) -> None:
  """Trains what has no record yet; a run that fails stops no other.

  Args:
    runs: in the order in which they begin.
    root: under it, a folder for each.
    folder: that of the report, for their records.
    data_dir: the images.
    jobs: how many at a time, each on its share of the cores.

  Raises:
    UserError: there are fewer cores than jobs.
  """
  cores = sorted(_cores())
  if not 1 <= jobs <= len(cores):
    raise UserError(f"--jobs={jobs}: this machine has cores for 1 to {len(cores)} jobs")
  shares: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
  for job in range(jobs):
    shares.put(cores[job::jobs])

  def begin(run: arms.Run) -> None:
    if not results.run_path(folder, run).exists():
      share = shares.get()
      if _train(run, root, data_dir, share):
        results.keep(run, root, folder)
      shares.put(share)

  pool = futures.ThreadPoolExecutor(jobs)
  try:
    for done in [pool.submit(begin, run) for run in runs]:
      done.result()
  finally:
    # After Ctrl-C those at work have had it too, and save; no other begins.
    pool.shutdown(cancel_futures=True)


def _train(run: arms.Run, root: Path, data_dir: str | None, share: list[int]) -> bool:
  """Trains an arm, or what is left of it, on some cores; whether it came to its end."""
  command = [sys.executable, "-m", "byol_jax.main", *run.flags()]
  command += [f"--workdir={run.folder(root)}"]
  if data_dir:
    command += [f"--config.data.data_dir={data_dir}"]
  log = root / "logs" / f"{run.name}.txt"
  log.parent.mkdir(parents=True, exist_ok=True)
  logging.info("%s", " ".join(command[1:]))
  provenance.write(root, run)
  with log.open("a") as file:
    process = subprocess.Popen(command, stdout=file, stderr=file)
    if hasattr(os, "sched_setaffinity"):  # before it has started any thread
      os.sched_setaffinity(process.pid, share)
    code = process.wait()
  if code:
    *_, last = log.read_text().splitlines() or [""]
    logging.warning("%s ended with %d: %s", run.name, code, last)
  return not code


def _cores() -> set[int]:
  if hasattr(os, "sched_getaffinity"):
    return os.sched_getaffinity(0)
  return set(range(os.cpu_count() or 1))


def study(name: str, root: Path, folder: Path, data_dir: str | None) -> None:
  """Makes a study that has no record yet."""
  if not results.study_path(folder, name).exists():
    logging.info("%s", name)
    found = importlib.import_module(f"reproduce.{name}").measure(root, data_dir)
    if found:
      results.keep_study(name, folder, found)
