"""Does what is not complete: trains the arms, makes the studies."""

import importlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from byol_jax import commands
from byol_jax.errors import UserError
from byol_jax.run.settings import differences, resolved
from reproduce import arms, results

# By which JAX takes memory of GPUs, and how much of it all runs together may have.
_MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION"
_MOST_OF_GPUS = 0.9


def check(runs: Iterable[arms.Run], folder: Path, data_dir: str | None) -> None:
  """Finds out whether the records that are there are of these configs.

  Raises:
    UserError: one of them is not.
  """
  for run in runs:
    if (path := results.run_path(folder, run)).exists():
      check_record(path, results.read_run(path).config, run.config(data_dir))


def check_record(path: Path, there: dict[str, Any], config: ConfigDict) -> None:
  """Raises UserError if the config in a record is not the one that would be run."""
  if differing := differences(there, resolved(config)):
    raise UserError(
      f"{path} is the record of another config (it differs in"
      f" {', '.join(differing)}); delete it, or choose another --report"
    )


def train(
  runs: Sequence[arms.Run],
  root: Path,
  folder: Path,
  data_dir: str | None,
  *,
  jobs: int = 1,
) -> list[str]:
  """Trains what has no record yet; a run that fails stops no other.

  Args:
    runs: in the order in which they begin.
    root: under it, a folder for each.
    folder: that of the report, for their records.
    data_dir: the images.
    jobs: how many at a time, each on its share of the cores.

  Returns:
    The names of those that failed.

  Raises:
    UserError: there are fewer cores than jobs.
  """
  cores = sorted(_cores())
  if not 1 <= jobs <= len(cores):
    raise UserError(f"--jobs={jobs}: this machine has cores for 1 to {len(cores)} jobs")
  shares: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
  for job in range(jobs):
    shares.put(cores[job::jobs])
  children: list[subprocess.Popen] = []
  interrupted = threading.Event()

  def train_one(run: arms.Run) -> bool:
    share = shares.get()
    try:
      child = _start(run, root, data_dir, share, jobs)
      children.append(child)
      if interrupted.is_set():  # while it began: too late for the loop below
        child.terminate()
      code = child.wait()
      children.remove(child)
    finally:
      shares.put(share)
    if code:
      *_, last = _log(root, run).read_text().splitlines() or [""]
      if interrupted.is_set():
        logging.warning("%s stopped: %s", run.id, last)
      else:
        logging.warning("%s ended with %d: %s", run.id, code, last)
      return False
    results.keep(run, root, folder)
    return True

  wanted = [run for run in runs if not results.run_path(folder, run).exists()]
  on_record = len(runs) - len(wanted)
  logging.info("%d runs to make, %d on record in %s", len(wanted), on_record, folder)
  pool = futures.ThreadPoolExecutor(jobs)
  try:
    done = [pool.submit(train_one, run) for run in wanted]
    return [run.id for run, one in zip(wanted, done, strict=True) if not one.result()]
  finally:
    # When interrupted, no other begins, and those at work save.
    pool.shutdown(wait=False, cancel_futures=True)
    interrupted.set()
    for child in list(children):
      child.terminate()
    pool.shutdown()


def _start(
  run: arms.Run, root: Path, data_dir: str | None, share: list[int], jobs: int
) -> subprocess.Popen:
  """Begins an arm, or goes on with it, on some cores and a share of the GPUs."""
  command = [sys.executable, "-m", "byol_jax.main", *run.flags()]
  command += [f"--workdir={run.folder(root)}"]
  if data_dir:
    command += [f"--config.data.data_dir={data_dir}"]
  environment = os.environ | {commands.PARENT: str(os.getpid())}
  if jobs > 1:  # one alone takes three quarters
    environment.setdefault(_MEMORY, f"{_MOST_OF_GPUS / jobs:.3f}")
  logging.info("%s", " ".join(command[1:]))
  log = _log(root, run)
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open("a") as file:
    child = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
  if hasattr(os, "sched_setaffinity"):  # before it has started any thread
    os.sched_setaffinity(child.pid, share)
  return child


def _log(root: Path, run: arms.Run) -> Path:
  return root / "logs" / f"{run.id}.txt"


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
    else:
      logging.warning("%s waits for runs that are not in %s", name, root)
