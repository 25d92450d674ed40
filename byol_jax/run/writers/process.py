"""A process that follows a run; what it prints, waits for or dies of stays there."""

import atexit
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from absl import logging

import byol_jax
from byol_jax import disk

_COMMAND = "byol_jax.run.writers.follow"
_PATIENCE = 30.0  # seconds that the end of a command waits for all last points
_ending: list["Follower"] = []  # whose runs have ended


class Follower:
  """Starts `follow`, and says once if it has failed; the run goes on without it."""

  def __init__(self, name: str, folder: Path):
    """Starts it.

    Args:
      name: of the writer.
      folder: of the run; the process prints to writers/NAME.log in it.
    """
    self._name = name
    self._folder = folder
    self._log = folder / "writers" / f"{name}.log"
    self._process: subprocess.Popen | None = None
    command = ["-P", "-m", _COMMAND, name, str(folder)]
    try:
      self._log.parent.mkdir(exist_ok=True)
      with disk.cleared(self._log).open("w") as log:
        self._process = subprocess.Popen(
          [sys.executable, *command],
          stdin=subprocess.PIPE,  # the process ends when this does
          stdout=log,
          stderr=log,
          env=os.environ | {"PYTHONPATH": _path()},
          start_new_session=True,  # Ctrl-C is not for it
        )
    except OSError as error:
      self._give_up(error.strerror)

  def add(self, step: int, scalars: Mapping[str, float]) -> None:
    """Looks whether the process still lives: it reads metrics.jsonl by itself."""
    del step, scalars
    if self._process is not None and self._process.poll() is not None:
      self._give_up(self._last_words())

  def close(self) -> None:
    """Lets the process end, which is waited for at the end of this one."""
    if self._process is None:
      return
    assert self._process.stdin
    with contextlib.suppress(OSError):
      self._process.stdin.close()
    if not _ending:
      atexit.register(wait)
    _ending.append(self)

  def wait_until(self, moment: float) -> None:
    """Waits for the process until then; after that it goes on by itself for a while."""
    if self._process is None:
      return
    try:
      if self._process.wait(max(moment - time.monotonic(), 0)):
        self._give_up(self._last_words())
    except subprocess.TimeoutExpired:
      self._give_up(f"not all was sent within {_PATIENCE:.0f} s")
    self._process = None

  def _last_words(self) -> str:
    with contextlib.suppress(OSError):
      lines = self._log.read_text(errors="replace").split("\n")
      return next((line for line in reversed(lines) if line.strip()), "it ended")
    return "it ended"

  def _give_up(self, why: str | None) -> None:
    self._process = None
    logging.warning(
      "%s gets no more points (%s; see %s): the run goes on, and its next start brings"
      " what is missing, as does python -m %s %s %s < /dev/null",
      *(self._name, why, self._log, _COMMAND, self._name, self._folder),
    )


def wait() -> None:
  """Waits for all that runs have still to send, half a minute at most."""
  if _ending:
    logging.info("waiting for the last points to be sent")
  moment = time.monotonic() + _PATIENCE
  while _ending:
    _ending.pop().wait_until(moment)


def _path() -> str:
  """PYTHONPATH with which the process finds this package, and all that it needs."""
  ours = str(Path(byol_jax.__file__).parents[1])
  return os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))
