"""What is seen of a bar on a small terminal of the tests' own; and elsewhere."""

import importlib.util
import os
import pty
import signal
import subprocess
import sys
import termios
import time
import types

import pytest
import tqdm
import tqdm.auto
from absl import logging

from byol_jax import progress


class Terminal:
  """A pseudo-terminal in place of stderr; `screen` is what a user sees of it.

  Made in a test, not in a fixture: pytest would put its own stderr back in between.
  """

  def __init__(self, monkeypatch, columns=80):
    self._master, slave = pty.openpty()
    self.resize(columns)
    stream = os.fdopen(slave, "w", buffering=1)
    os.set_blocking(self._master, False)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    self.text = ""

  def resize(self, columns):
    termios.tcsetwinsize(self._master, (24, columns))

  def screen(self):
    sys.stderr.flush()
    while True:
      try:
        self.text += os.read(self._master, 2**16).decode(errors="ignore")
      except (BlockingIOError, OSError):
        break
    lines, column = [""], 0
    for letter in self.text:
      assert letter != "\x1b", "a bar needs no escape codes"
      if letter == "\n":
        lines.append("")
      elif letter == "\r":
        column = 0
        continue
      else:
        lines[-1] = lines[-1][:column].ljust(column) + letter + lines[-1][column + 1 :]
        column += 1
        continue
      column = 0
    return [line.rstrip() for line in lines]


@pytest.fixture(autouse=True)
def _nothing_is_left():
  yield
  assert progress._drawn == []
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_bar_is_one_line_and_gone_at_the_end(monkeypatch):
  terminal = Terminal(monkeypatch)
  with progress.shown("reading", 4, "files") as bar:
    assert bar.drawn
    for _ in range(3):
      bar.add()
    bar.add(0, "all well")
    (line,) = terminal.screen()
    assert line.startswith("reading  75%|")
    assert "| 3/4 files, " in line
    assert " files/s, left " in line
    assert line.endswith(", all well")
    assert len(line) <= 80
  assert terminal.screen() == [""]


def test_a_beginning_that_says_nothing_of_the_rest_is_left_out(monkeypatch):
  terminal = Terminal(monkeypatch)
  clock = Clock(monkeypatch)
  with progress.shown("training", 11, "files") as bar:
    clock.now += 1000
    bar.add()
    bar.restart()
    clock.now += 10
    assert bar._line() == "training: 1 of 11 files  0 files/s"
    bar.add(5)
    assert bar._line() == "training: 6 of 11 files  0 files/s  left 0:00:10"
    bar.add(0, "")
    found = bar._drawing.format_dict
    assert found["elapsed"] < 100
    assert (found["n"], found["initial"]) == (6, 1)
  assert terminal.screen() == [""]


def test_without_a_total_it_counts(monkeypatch):
  terminal = Terminal(monkeypatch)
  with progress.shown("looking for files", unit="files") as bar:
    bar.add(7, "")
    time.sleep(0.11)  # as often as a bar is drawn
    bar.add(5)
    (line,) = terminal.screen()
  assert line.startswith("looking for files 12 files, ")


def test_what_is_shown_within_has_the_line_until_its_end(monkeypatch):
  terminal = Terminal(monkeypatch)
  with progress.shown("sweep", 3, "runs") as outer:
    outer.add(1, "best 0.5")
    with progress.shown("training", 10, "steps", done=4) as inner:
      inner.add(0, "loss 1")
      (line,) = terminal.screen()
      assert line.startswith("sweep 1/3 > training  40%|")
      assert "/s" not in line
    (line,) = terminal.screen()
    assert line.startswith("sweep  33%|")
    assert line.endswith("best 0.5")
  assert terminal.screen() == [""]


def test_time_goes_on_while_another_has_the_line(monkeypatch):
  Terminal(monkeypatch)
  with progress.shown("outer", 2) as outer:
    time.sleep(0.2)
    outer.add(1)
    with progress.shown("inner"):
      pass
    found = outer._drawing.format_dict
  assert found["elapsed"] >= 0.2
  assert (found["n"], found["initial"]) == (1, 0)


@pytest.mark.parametrize("columns", [10, 25, 200])
def test_a_line_is_never_longer_than_the_terminal(monkeypatch, columns):
  terminal = Terminal(monkeypatch, 80)
  with progress.shown("reading", 4) as bar:
    terminal.screen()
    terminal.resize(columns)
    bar.add(0, "some words that take a lot of room, far more than there is")
    drawn = str(bar._drawing)
    assert len(drawn) <= columns
    assert drawn.startswith("reading"[:columns])


def test_log_lines_come_above_and_stay_whole(monkeypatch):
  terminal = Terminal(monkeypatch)
  stream = progress.AboveBar()
  with progress.shown("reading", 4) as bar:
    bar.add(2)
    stream.write("one image is damaged\n")
    first, line = terminal.screen()
    assert first == "one image is damaged"
    assert line.startswith("reading")
  stream.write("the end\n")
  assert terminal.screen() == ["one image is damaged", "the end", ""]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_an_error_leaves_a_clean_terminal(monkeypatch, error):
  terminal = Terminal(monkeypatch)

  def fail():
    with progress.shown("outer", 2), progress.shown("inner", 4) as bar:
      bar.add()
      raise error

  with pytest.raises(error):
    fail()
  assert terminal.screen() == [""]


def test_sigterm_ends_the_process_and_leaves_a_clean_terminal(monkeypatch):
  terminal = Terminal(monkeypatch)
  code = """
import os, signal
from byol_jax import progress
with progress.shown("outer", 2), progress.shown("inner", 4):
  os.kill(os.getpid(), signal.SIGTERM)
"""
  ended = subprocess.run([sys.executable, "-c", code], stderr=sys.stderr)
  assert ended.returncode == -signal.SIGTERM
  assert terminal.screen() == [""]
  assert "inner" in terminal.text


def test_a_handler_of_someone_else_is_left_alone(monkeypatch):
  Terminal(monkeypatch)
  seen = []
  signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
  try:
    with progress.shown("reading", 4):
      os.kill(os.getpid(), signal.SIGTERM)
  finally:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
  assert seen == [signal.SIGTERM]


def test_nothing_is_drawn_where_it_would_be_garbage(monkeypatch):
  terminal = Terminal(monkeypatch)
  monkeypatch.setenv("TERM", "dumb")
  with progress.shown("reading", 4) as bar:
    bar.add()
    assert not bar.drawn
  assert terminal.screen() == [""]
  monkeypatch.setattr(sys, "stderr", None)  # as of a process without any
  with progress.shown("reading", 4) as bar:
    bar.add()


def test_quiet_and_other_hosts_show_nothing(monkeypatch, caplog):
  terminal = Terminal(monkeypatch)
  monkeypatch.setattr(progress, "_hidden", False)
  monkeypatch.setattr(progress, "_EVERY", 0.0)
  progress.hide()
  with caplog.at_level("INFO"), progress.shown("reading", 4) as bar:
    bar.add()
  assert terminal.screen() == [""]
  assert caplog.text == ""


class Clock:
  def __init__(self, monkeypatch):
    self.now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_where_nothing_can_be_drawn_it_is_a_line_every_ten_seconds(monkeypatch):
  clock = Clock(monkeypatch)
  said = []
  monkeypatch.setattr(logging, "info", lambda form, text: said.append(form % text))
  with progress.shown("reading", 1000, "files", done=100) as bar:
    for _ in range(6):  # five images a second, from second 4 to 24
      clock.now += 4
      bar.add(20)
  # 60 files in 12 seconds, 840 left of 1000; then 120 in 24.
  assert said == [
    "reading: 160 of 1000 files  5 files/s  left 0:02:48",
    "reading: 220 of 1000 files  5 files/s  left 0:02:36",
  ]


def test_who_has_lines_of_his_own_gets_no_others(monkeypatch, caplog):
  clock = Clock(monkeypatch)
  with caplog.at_level("INFO"), progress.shown("training", 9, lines=False) as bar:
    clock.now += 100
    bar.add()
  assert caplog.text == ""


def test_a_notebook_gets_a_bar_of_its_own(monkeypatch):
  shell = types.SimpleNamespace(config={"IPKernelApp": {}})
  ipython = types.SimpleNamespace(get_ipython=lambda: shell)

  assert not progress.can_draw()
  monkeypatch.setitem(sys.modules, "IPython", ipython)
  assert progress.can_draw()
  for there in (None, "ipywidgets"):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, there=there: there)
    assert progress._kind() is (tqdm.auto.tqdm if there else tqdm.tqdm)
