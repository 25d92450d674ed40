"""How far something is that takes a while: a bar, or a line of the log now and then.

  with progress.shown("reading images", len(files), "files") as bar:
    for file in files:
      ...
      bar.add()

On a terminal, and in a notebook, it is one line that is drawn again and again, and gone
at the end. What is shown within something else has the line until it has ended.
Elsewhere it is a line of the log every ten seconds.
"""

import contextlib
import datetime
import importlib.util
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from absl import logging
from tqdm import tqdm

_EVERY = 10.0  # seconds between two lines of the log
_WITH_RATE = ("images", "files", "examples")  # others are few, or say it themselves


class Bar:
  """What `shown` gives; `add` costs microseconds, and waits for no device."""

  def __init__(self, what: str, total: int | None, unit: str, done: int, lines: bool):
    self._what = what
    self._total = total
    self._unit = unit
    self._first = self._count = done
    self._lines = lines
    self._began = self._said = time.monotonic()
    self._note = ""
    self._drawing: tqdm | None = None

  def add(self, count: int = 1, note: str | None = None) -> None:
    """Counts what is done.

    Args:
      count: how many more are; with 0, a note is drawn at once.
      note: words behind the bar from now on.
    """
    self._count += count
    if note is not None:
      self._note = note
    if self._drawing is not None:
      self._drawing.set_postfix_str(self._note, refresh=not count)
      self._drawing.update(count)
    elif self._lines and time.monotonic() - self._said > _EVERY:
      self._said = time.monotonic()
      logging.info("%s", self._line())

  def restart(self) -> None:
    """Measures speed from now on; what came before says nothing of the rest."""
    self._first, self._began = self._count, time.monotonic()
    if self._drawing is not None:
      self._erase()
      self._draw(_drawn[:-1])

  def _line(self) -> str:
    """For the log."""
    count = self._count - self._first
    rate = count / (time.monotonic() - self._began)
    of = "" if self._total is None else f" of {self._total}"
    parts = [f"{self._what}: {self._count}{of} {self._unit}"]
    if self._unit in _WITH_RATE:
      parts.append(f"{rate:.0f} {self._unit}/s")
    if self._total is not None and count:
      left = datetime.timedelta(seconds=round((self._total - self._count) / rate))
      parts.append(f"left {left}")
    return "  ".join(filter(None, [*parts, self._note]))

  def _draw(self, around: list["Bar"]) -> None:
    """Takes the line; `around` are those that this one is shown in."""
    of = "" if self._total is None else "/{total_fmt}"
    form = f"{{n_fmt}}{of} {self._unit}"
    if self._unit in _WITH_RATE:
      form += ", {rate_noinv_fmt}"
    if self._total is not None:
      form = f"{{percentage:3.0f}}%|{{bar}}| {form}, left {{remaining}}"
    names = [bar._name() for bar in around] + [self._what]
    self._drawing = _kind()(
      desc=" > ".join(names),
      total=self._total,
      initial=self._first,
      unit=f" {self._unit}",
      bar_format=f"{{desc}} {form}{{postfix}}",
      leave=False,
      dynamic_ncols=True,
      miniters=1,
      position=0,
      postfix=None,
    )
    if self._note or self._count > self._first:  # it had the line before, and goes on
      self._drawing.n = self._count
      self._drawing.start_t -= time.monotonic() - self._began
      self._drawing.set_postfix_str(self._note)

  def _name(self) -> str:
    of = "" if self._total is None else f"/{self._total}"
    return f"{self._what} {self._count}{of}"

  def _erase(self) -> None:
    """Leaves the line."""
    if self._drawing is not None:
      self._drawing.close()
      self._drawing = None

  @property
  def drawn(self) -> bool:
    """Whether it is drawn, so that lines of the log would only disturb."""
    return self._drawing is not None


_drawn: list[Bar] = []  # each is shown in the one before; the last has the line
_hidden = False


def hide() -> None:
  """Shows nothing from now on: for `--quiet`, and for hosts that are not the first."""
  global _hidden
  _hidden = True


@contextlib.contextmanager
def shown(
  what: str,
  total: int | None = None,
  unit: str = "images",
  *,
  done: int = 0,
  lines: bool = True,
) -> Iterator[Bar]:
  """Shows how far something is until the end of the `with`, however that comes.

  Args:
    what: is being done, in a few words.
    total: how many there are; None if that is not known.
    unit: what they are, in the plural.
    done: how many were done before.
    lines: whether to log lines where no bar can be drawn.
  """
  bar = Bar(what, total, unit, done, lines and not _hidden)
  if not can_draw():
    yield bar
    return
  around = list(_drawn)
  for outer in around[-1:]:
    outer._erase()
  _drawn.append(bar)
  try:
    with _erased_by_sigterm():
      bar._draw(around)
      yield bar
  finally:
    bar._erase()
    _drawn.pop()
    for outer in around[-1:]:
      outer._draw(around[:-1])


def can_draw() -> bool:
  """Whether a bar can be drawn, and is wanted."""
  if _hidden or threading.current_thread() is not threading.main_thread():
    return False
  is_terminal = sys.stderr is not None and sys.stderr.isatty()
  return _in_notebook() or (is_terminal and os.environ.get("TERM") != "dumb")


def _in_notebook() -> bool:
  shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
  return "IPKernelApp" in getattr(shell, "config", ())


def _kind() -> type[tqdm]:
  # Without ipywidgets there are no widgets, and tqdm.auto warns.
  if not _in_notebook() or importlib.util.find_spec("ipywidgets") is None:
    return tqdm
  from tqdm.auto import tqdm as notebook_tqdm

  return notebook_tqdm


@contextlib.contextmanager
def _erased_by_sigterm() -> Iterator[None]:
  """Where SIGTERM ends the process at once, the line is erased before."""
  if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
    yield  # someone else's, who ends in order
    return

  def end(number: int, frame: object) -> None:
    del frame
    _drawn[-1]._erase()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

  signal.signal(signal.SIGTERM, end)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class AboveBar(io.TextIOBase):
  """stderr for log lines: they come above a bar, and both stay whole."""

  def write(self, text: str) -> int:
    """Writes a text that ends in a newline."""
    if not _drawn:
      return sys.stderr.write(text)
    with tqdm.external_write_mode(sys.stderr):
      return sys.stderr.write(text)

  def flush(self) -> None:
    """Flushes it."""
    sys.stderr.flush()
