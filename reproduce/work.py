"""Does what is not complete: trains the arms, makes the studies."""

import contextlib
import importlib
import multiprocessing
import os
import queue
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Collection, Mapping, Sequence
from multiprocessing import pool
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from byol_jax import commands, disk
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir
from byol_jax.run.settings import differences, resolved
from reproduce import arms, claims, records
from reproduce.trials import TRIALS

# By which JAX takes memory of GPUs, its old name, beside which JAX refuses the new one,
# and how much of it all runs together may have.
_MEMORY, _MEMORY_BEFORE = "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"
_MOST_OF_GPUS = 0.9
# Exit status of a run that was asked to stop while it did not train, and what that was.
NOT_TRAINING = (-SIGINT, -SIGTERM)
STOPPED = "stopped before its first step, or after its last"


def claimed(folder: Path) -> contextlib.AbstractContextManager[None]:
  """Makes a folder of runs, and keeps other commands out of it.

  Raises:
    UserError: another is at work there.
  """
  return disk.alone(folder, "wait until it has ended, or choose another --workdir")


def check(runs: Collection[arms.Run], folder: Path, data_dir: str | None) -> None:
  """Finds out whether the records that are there are of these configs.

  Raises:
    UserError: one of them is not.
  """
  known = {records.run_path(folder, run) for run in runs}
  for path in sorted(set((folder / "runs").glob("*.json")) - known):
    logging.warning("%s is the record of no arm or trial: it is left out", path)
  for run in runs:
    if (path := records.run_path(folder, run)).exists():
      check_record(path, records.read_run(path).config, run.config(data_dir))


def check_record(path: Path, there: dict[str, Any], config: ConfigDict) -> None:
  """Raises UserError if the config in a record is not the one that would be run."""
  if differing := differences(there, resolved(config)):
    raise UserError(
      f"{path} is the record of another config (it differs in"
      f" {', '.join(differing)}); delete it, or choose another --report"
    )


def check_folder(run: arms.Run, root: Path, data_dir: str | None) -> None:
  """Raises UserError if the folder of a run holds one of another config."""
  run_dir = RunDir(run.folder(root), writes=False)
  way_out = "delete it, or choose another --workdir"
  run_dir.check_config(resolved(run.config(data_dir)), way_out)


def needed(
  names: Collection[str], root: Path, folder: Path, data_dir: str | None
) -> list[arms.Run]:
  """What is to be trained, in the order in which it begins.

  Args:
    names: of arms, trials and studies.
    root: under it, a folder for each run.
    folder: that of the report.
    data_dir: the images.

  Returns:
    The runs of these arms and trials that have no record; and, without their networks,
    those that these studies need and whose folder is gone.

  Raises:
    UserError: a folder holds the run of another config.
  """
  runs = [run for run in claims.runs({**arms.ARMS, **TRIALS}) if run.name in names]
  wanted = [run for run in runs if not records.run_path(folder, run).exists()]
  for study, compared in arms.STUDIES.items():
    if study in names and not records.study_path(folder, study).exists():
      firsts = [arms.first(name) for name in compared]
      gone = [r for r in firsts if not (r.folder(root) / "summary.json").exists()]
      wanted += [run for run in gone if run not in wanted]
  for run in wanted:
    check_folder(run, root, data_dir)
  there = sum(records.run_path(folder, run).exists() for run in runs)
  logging.info(
    "%d runs to make, %d of those asked for on record in %s; what they say is in %s",
    *(len(wanted), there, folder, root / "logs"),
  )
  return wanted


def check_jobs(jobs: int) -> None:
  """Raises UserError if there are fewer cores than jobs."""
  cores = len(_cores())
  if not 1 <= jobs <= cores:
    raise UserError(f"--jobs={jobs}: this machine has cores for 1 to {cores} jobs")


def train(
  runs: Sequence[arms.Run],
  root: Path,
  folder: Path,
  data_dir: str | None,
  *,
  jobs: int = 1,
) -> dict[str, str]:
  """Trains runs and keeps their records; a run that fails stops no other.

  Args:
    runs: in the order in which they begin.
    root: under it, a folder for each.
    folder: that of the report.
    data_dir: the images.
    jobs: how many at a time, each on its share of the cores.

  Returns:
    Name -> why, of those that failed.

  Raises:
    KeyboardInterrupt: once those at work have saved.
    OSError: a record cannot be written.
  """
  cores = sorted(_cores())
  shares: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
  for job in range(jobs):
    shares.put(cores[job::jobs])
  children: list[subprocess.Popen] = []
  interrupted = threading.Event()

  def train_one(run: arms.Run) -> str:
    """Why it has failed, if it has."""
    if interrupted.is_set():  # no other begins
      return ""
    said = length(_log(root, run))
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
      if interrupted.is_set() and code in NOT_TRAINING:
        return STOPPED
      how = "stopped" if interrupted.is_set() else f"ended with {code}"
      return f"{how}: {last_word(_log(root, run), said)}"
    if records.run_path(folder, run).exists():  # it was the network that was missing
      return ""
    try:
      check_folder(run, root, data_dir)
      records.keep(run, root, folder)
    except UserError as error:
      return f"has no record: {error}"
    return ""

  def tell(run: arms.Run) -> str:
    """Says so at once, too: others may take hours."""
    if why := train_one(run):
      logging.warning("%s %s", run.id, why)
    return why

  # Its threads begin before any run does, so that Ctrl-C leaves none unwaited for.
  threads = pool.ThreadPool(jobs)
  try:
    done = threads.imap(tell, runs)
    return {run.id: why for run in runs if (why := _next(done))}
  finally:
    interrupted.set()
    for child in list(children):  # they save
      child.terminate()
    threads.close()
    threads.join()


def _next(done: pool.IMapIterator) -> str:
  """The next result. A wait without an end may miss a Ctrl-C as it begins."""
  while True:
    with contextlib.suppress(multiprocessing.TimeoutError):
      return done.next(timeout=1)


def _start(
  run: arms.Run, root: Path, data_dir: str | None, share: list[int], jobs: int
) -> subprocess.Popen:
  """Begins an arm, or goes on with it, on some cores and a share of the GPUs."""
  command = [sys.executable, "-m", "byol_jax.main", *run.flags(arms.configs())]
  command += [f"--workdir={run.folder(root)}"]
  if data_dir:
    command += [f"--config.data.data_dir={data_dir}"]
  environment = dict(os.environ)
  given = environment.get(_MEMORY) or environment.get(_MEMORY_BEFORE)
  if jobs > 1 and not given:  # one alone takes three quarters
    environment[_MEMORY] = f"{_MOST_OF_GPUS / jobs:.3f}"
  logging.info("%s", " ".join(command[1:]))
  child = start(command, _log(root, run), environment)
  if hasattr(os, "sched_setaffinity"):  # before it has started any thread
    os.sched_setaffinity(child.pid, share)
  return child


def start(
  command: Sequence[str], log: Path, environment: Mapping[str, str]
) -> subprocess.Popen:
  """Begins a process that ends with this one.

  Args:
    command: of the process.
    log: the file for all that it says, after what was said before.
    environment: of the process.
  """
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open("a") as file:
    return subprocess.Popen(
      command,
      stdout=file,
      stderr=file,
      env={**environment, commands.PARENT: str(os.getpid())},
      process_group=0,  # Ctrl-C is for us; a second signal would end it unsaved
    )


def _log(root: Path, run: arms.Run) -> Path:
  return root / "logs" / f"{run.id}.txt"


_ERROR = re.compile(r"^(byol_jax: |[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b)")


def length(log: Path) -> int:
  """Bytes of what was said so far."""
  return log.stat().st_size if log.exists() else 0


def last_word(log: Path, before: int) -> str:
  """What a process that has ended has said last of the reason, in one line.

  Args:
    log: what it and earlier ones said.
    before: bytes of what those said, see `length`.
  """
  try:
    text = disk.read(log)[before:].decode(errors="replace")
  except OSError as error:
    return f"its log cannot be read: {error.strerror}"
  lines = [line for line in text.splitlines() if line.strip()]
  # JAX explains, after an error, how it shortens stack traces.
  errors = [line for line in lines if _ERROR.match(line)]
  return textwrap.shorten((errors or lines or ["it said nothing"])[-1], 300)


def _cores() -> set[int]:
  if hasattr(os, "sched_getaffinity"):
    return os.sched_getaffinity(0)
  return set(range(os.cpu_count() or 1))


def study(name: str, root: Path, folder: Path, data_dir: str | None) -> None:
  """Makes a study that has no record yet."""
  if not records.study_path(folder, name).exists():
    logging.info("%s", name)
    found = importlib.import_module(f"reproduce.{name}").measure(root, data_dir)
    if found:
      records.keep_study(name, folder, found)
    else:
      logging.warning("%s waits for runs that are not in %s", name, root)
