"""A process of its own for what may crash, hang or take all memory."""

import contextlib
import multiprocessing
import resource
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.trial import Trial

_MOST = 6 * 2**30  # bytes of address space that reading may add: the machine's sake


class Child:
  """Asks a function in another process; one that ends there is started again.

  Args:
    function: of a module; its answer is what is wrong, "" for nothing.
    seconds: by when it has to answer.
    mib: of memory that an answer may take, on top of what the process has.
  """

  def __init__(self, function: Callable[..., str], seconds: float, mib: float):
    self._function = function
    self._seconds, self._mib = seconds, mib
    self._context = multiprocessing.get_context("spawn")
    self._process: Any = None
    self._ours: Any = None

  def __enter__(self) -> "Child":
    return self

  def __exit__(self, *error: object) -> None:
    self._end()

  def ask(self, name: str, *arguments: Any) -> Trial:
    """Calls the function and tells how it went."""
    if self._process is None:
      self._start()
    self._ours.send(arguments)
    began = time.monotonic()
    try:
      if not self._ours.poll(self._seconds):
        self._end()
        return Trial(name, f"no answer within {self._seconds:g} s")
      wrong, mib = self._ours.recv()
    except EOFError:
      self._process.join()
      status = self._process.exitcode
      self._end()
      return Trial(name, f"the process has ended with status {status}")
    if not wrong and mib > self._mib:
      wrong = f"it took {mib:.0f} MiB, more than {self._mib:g}"
    return Trial(name, wrong, {"seconds": time.monotonic() - began, "MiB": mib})

  def _start(self) -> None:
    self._ours, theirs = self._context.Pipe()
    self._process = self._context.Process(
      target=_answer, args=(self._function, theirs), daemon=True
    )
    self._process.start()
    theirs.close()
    self._ours.recv()  # once it has loaded what it needs

  def _end(self) -> None:
    if self._process is not None:
      self._process.kill()
      self._process.join()
      self._ours.close()
      self._process = None


def _answer(function: Callable[..., str], pipe: Any) -> None:
  """Answers until nobody asks any more."""
  used = int(Path("/proc/self/statm").read_text().split()[0])
  most = used * resource.getpagesize() + _MOST
  resource.setrlimit(resource.RLIMIT_AS, (most, most))
  pipe.send(None)
  with contextlib.suppress(EOFError):
    while True:
      arguments = pipe.recv()
      before = _forget_peak()
      try:
        wrong = function(*arguments)
      except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        wrong = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
      pipe.send((wrong, _peak() - before))


def _forget_peak() -> float:
  """Begins a new measurement of the most memory; returns what there is now, in MiB."""
  Path("/proc/self/clear_refs").write_text("5")
  return _peak()


def _peak() -> float:
  for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmHWM"):
      return int(line.split()[1]) / 1024
  raise AssertionError("Linux says no peak")
