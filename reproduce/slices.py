"""Works through stages in a slice of time, and goes on with them in the next.

What is needed to go on is in two folders. The report's has a record of each stage, by
which a complete one is skipped; --workdir has the runs, and the one that was stopped
goes on from its checkpoint there.
"""

import datetime
import math
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from byol_jax import disk
from byol_jax.errors import UserError
from byol_jax.run import provenance
from byol_jax.run.folder import RunDir
from byol_jax.run.settings import resolved
from reproduce import stages, work
from reproduce.stages import COMPLETE, FAILED, INCOMPLETE, Choice, Plan, Record, Stage

_POLL = 0.2  # seconds between two looks at a child
_NOTE = 30.0  # seconds between two records of a run that is at work
_READY = 15.0  # seconds until the first stage can begin
_REST = 15.0  # seconds that are left at the end, for what follows the last stage
_UNKNOWN = 60.0  # seconds that stopping takes where nothing was measured
_PATIENCE = 3.0  # by what a measured stop is multiplied
# Exit status of a run that was asked to stop while it trained.
_SAVED = (128 + SIGINT, 128 + SIGTERM)

Left = Callable[[], float]  # seconds that are left


def clock(
  plan: Plan,
  folder: Path,
  minutes: float | None,
  now: Callable[[], float] = time.monotonic,
) -> Left:
  """Counts the seconds down in which everything is to be done, from this call on.

  Args:
    plan: what there is to do.
    folder: that of the report.
    minutes: how long the command may take.
    now: the time in seconds.

  Raises:
    UserError: in so many minutes no stage could begin.
  """
  stopping = _stopping(stages.read(plan, folder))
  least = math.ceil((_READY + plan.least + stopping + _REST) / 60)
  if minutes is None or not minutes >= least:
    was = "is missing" if minutes is None else f"is {minutes:g}"
    raise UserError(
      f"--minutes {was}: say how long this command may take, {least} or more"
    )
  end = now() + 60 * minutes - _REST
  return lambda: end - now()


def run(
  plan: Plan,
  root: Path,
  folder: Path,
  data_dir: str | None,
  left: Left,
  *,
  only: Collection[str] = (),
  noted: Callable[[], object] = lambda: None,
) -> None:
  """Does what is not complete, in order, until there is no time for another stage.

  A stage that fails stops no other; it is tried again by the next call, after all
  that have not failed. One that was stopped twice at the same step has failed too.

  Args:
    plan: what there is to do.
    root: under it, the folders of the runs, what they print, and compiled programs.
    folder: that of the report.
    data_dir: the images.
    left: see `clock`.
    only: names of stages, beside which nothing is done; all if there are none.
    noted: is called whenever a stage has ended and its record is written.

  Raises:
    UserError: another command is at work, or there is no time for any stage.
    KeyboardInterrupt: once what was at work has saved and has a record.
  """
  place = root / "accelerator"
  with work.claimed(place):
    for number, stage in enumerate(todo(plan, folder, only)):
      records = stages.read(plan, folder)
      stopping = _stopping(records)
      there, needed = left(), plan.least + stopping
      if there < needed and number == 0:  # and so it would be each time
        raise UserError(
          f"{there:.0f} s are left, and {stage.name} begins with {needed:.0f} or more:"
          f" raise --minutes by {math.ceil((needed - there) / 60)}"
        )
      if there < needed:
        logging.info("%.0f s are too few for %s", there, stage.name)
        return
      choices = stages.choose_for_good(plan, stage, folder)
      child = _Child(stage, place, folder, records.get(stage.name))
      try:
        state = child.work(choices, data_dir, left, stopping)
      finally:
        noted()
      if state == INCOMPLETE:
        return


def todo(plan: Plan, folder: Path, only: Collection[str] = ()) -> list[Stage]:
  """What is not complete, what has failed last; of all stages, or of those named."""
  records = stages.read(plan, folder)

  def state(stage: Stage) -> str:
    return records[stage.name].state if stage.name in records else INCOMPLETE

  wanted = [stage for stage in plan.stages if not only or stage.name in only]
  missing = [stage for stage in wanted if state(stage) != COMPLETE]
  return sorted(missing, key=lambda stage: state(stage) == FAILED)


def configs(
  plan: Plan, folder: Path, data_dir: str | None, only: Collection[str] = ()
) -> list[ConfigDict]:
  """The configs of what is not complete, without what is chosen between."""
  missing = (stage._replace(choices=()) for stage in todo(plan, folder, only))
  return [stages.config(stage, {}, data_dir) for stage in missing]


def _stopping(records: Mapping[str, Record]) -> float:
  """Seconds before the end at which a run is asked to stop.

  It may be in the middle of an evaluation, and then it saves; what was measured of both
  is multiplied, as a disk can be slow.
  """
  found = [r.found for r in records.values() if "save_seconds" in r.found]
  measured = [f["evaluation_seconds"] + f["save_seconds"] for f in found]
  return _PATIENCE * max(measured) + _REST if measured else _UNKNOWN


class _Child:
  """The process of a stage."""

  def __init__(self, stage: Stage, place: Path, folder: Path, before: Record | None):
    self._stage = stage
    self._folder = folder
    self._before = before
    self._cache = str(disk.absolute(place / "cache"))
    self._run = run_folder(place.parent, stage)
    self._log = place / "logs" / f"{stage.name}.txt"
    self._said = work.length(self._log)  # by earlier starts
    self._asked: dict[str, Any] = {}

  def work(
    self,
    choices: Mapping[str, Choice],
    data_dir: str | None,
    left: Left,
    stopping: float,
  ) -> str:
    """Runs it until it ends, or the time does; the state that its record has then."""
    try:
      self._check_folder(choices, data_dir)
    except UserError as error:
      return self._refused(str(error))
    process = self._start(choices, data_dir)
    try:
      try:
        self._wait(process, lambda: left() - stopping)
      except KeyboardInterrupt:
        self._stop(process, left, stopping)
        raise
      return self._stop(process, left, stopping)
    finally:
      process.kill()  # nothing, if it has ended
      process.wait()

  def _check_folder(self, choices: Mapping[str, Choice], data_dir: str | None) -> None:
    """Raises UserError if its folder holds the run of another config."""
    config = stages.config(self._stage, choices, data_dir)
    way_out = "move it away, or choose another --workdir"
    RunDir(self._run, writes=False).check_config(resolved(config), way_out)

  def _stop(self, process: subprocess.Popen, left: Left, patience: float) -> str:
    """Asks it to save and to end, if it has not; the state that its record has then."""
    if process.poll() is None:
      process.terminate()
      end = time.monotonic() + patience
      self._wait(process, lambda: min(left(), end - time.monotonic()))
    if process.poll() is None:
      return self._stopped(f"killed: not saved {patience:.0f} s after SIGTERM")
    return self._ended(process.returncode)

  def _start(
    self, choices: Mapping[str, Choice], data_dir: str | None
  ) -> subprocess.Popen:
    command = stages.command(self._stage, choices, data_dir, self._run)
    self._asked = _asked(command)
    logging.info("%s: %s", self._stage.name, " ".join(command[1:]))
    # A run that goes on, here or elsewhere, need not be compiled again.
    environment = {"JAX_COMPILATION_CACHE_DIR": self._cache, **os.environ}
    return work.start(command, self._log, environment)

  def _wait(self, process: subprocess.Popen, left: Left) -> None:
    """Returns when the process has ended or no time is left; keeps records meanwhile.

    The machine may be taken away at any moment.
    """
    noted = time.monotonic()
    while process.poll() is None and left() > 0:
      time.sleep(min(_POLL, max(left(), 0)))
      if time.monotonic() > noted + _NOTE:
        self._keep(INCOMPLETE, "at work, or ended without notice")
        noted = time.monotonic()

  def _ended(self, code: int) -> str:
    """Writes the record of a process that has ended; the state that it has."""
    if code == 0 and RunDir(self._run, writes=False).read_summary() is not None:
      self._keep(COMPLETE)
      return COMPLETE
    if code in _SAVED:
      return self._stopped("stopped, and saved")
    if code in work.NOT_TRAINING:
      return self._stopped(work.STOPPED)
    why = work.last_word(self._log, self._said)
    return self._failed(f"{why} (exit status {code})")

  def _stopped(self, why: str) -> str:
    """It goes on in the next slice; if it comes no further there, others go before."""
    steps = stages.of_run(self._run, INCOMPLETE).steps
    if self._before is not None and steps <= self._before.steps:
      return self._failed(f"{why}; in the slice before it had come as far")
    self._keep(INCOMPLETE, why)
    return INCOMPLETE

  def _failed(self, why: str) -> str:
    self._keep(FAILED, why)
    logging.warning("%s failed: %s; see %s", self._stage.name, why, self._log)
    return FAILED

  def _refused(self, why: str) -> str:
    """It has failed, and what is in its folder has no part in its record."""
    record = Record(FAILED, why, [], None, 0, {}, {})
    stages.keep(self._folder, self._stage.name, record)
    logging.warning("%s failed: %s", self._stage.name, why)
    return FAILED

  def _keep(self, state: str, why: str = "") -> None:
    record = stages.of_run(self._run, state, why)
    if not record.starts:
      record = record._replace(starts=[self._asked])
    stages.keep(self._folder, self._stage.name, record)


def _asked(command: Sequence[str]) -> dict[str, Any]:
  """What can be said of a start that may come to nothing; see `provenance.start`."""
  return {
    "command": shlex.join(command),
    "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    "commit": provenance.commit(),
    "versions": provenance.versions(),
    "devices": "unknown number",
    "kind": "unknown",
  }


def run_folder(root: Path, stage: Stage) -> Path:
  """Where a stage is run."""
  return root / "accelerator" / "runs" / stage.name


def outcome(plan: Plan, root: Path, folder: Path) -> str:
  """How far all is, and what it takes to go on, in one line."""
  records = stages.read(plan, folder)
  missing = todo(plan, folder)
  complete = len(plan.stages) - len(missing)
  line = f"{complete} of {len(plan.stages)} stages are complete"
  if not missing:
    return line
  line += f"; the same command goes on, on another machine with a copy of {folder}"
  for stage in missing:
    record, run = records.get(stage.name), run_folder(root, stage)
    if record and record.state == INCOMPLETE and (run / "checkpoints").exists():
      line += f" and of {run} ({stage.name}, step {record.steps})"
  return line


def failed(plan: Plan, folder: Path) -> list[str]:
  """Names of the stages that have failed."""
  records = stages.read(plan, folder)
  return [name for name, record in records.items() if record.state == FAILED]
