"""Ctrl-C while a command imports its modules, and afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from byol_jax import interrupts

ROOT = Path(__file__).parents[1]


@pytest.fixture
def handler():
  before, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
  yield lambda: signal.getsignal(signal.SIGINT)
  signal.signal(signal.SIGINT, before)
  sys.unraisablehook = hook


def test_it_ends_the_process_until_all_is_imported(handler):
  signal.signal(signal.SIGINT, signal.default_int_handler)
  for _ in range(2):
    interrupts.importing()
    assert handler() is signal.SIG_DFL
  interrupts.imported()
  assert handler() is signal.default_int_handler


def test_what_others_have_chosen_stays(handler):
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup has it
  interrupts.importing()
  assert handler() is signal.SIG_IGN
  interrupts.imported()
  assert handler() is signal.SIG_IGN


# Ctrl-C while Python collects garbage, and while an object is deleted.
DROPPED = """
import gc, os, signal, sys, time
from byol_jax import commands

def interrupt():
  os.kill(os.getpid(), signal.SIGINT)
  time.sleep(0.01)

class Deleted:
  def __del__(self):
    interrupt()

def collecting(phase, info):
  gc.callbacks.clear()
  interrupt()

def main():
  if sys.argv[1] == "collect":
    gc.callbacks.append(collecting)
    gc.collect()
  else:
    Deleted()
  time.sleep(60)

commands.run(main, ["a"])
"""


@pytest.mark.parametrize("where", ["collect", "delete"])
def test_one_that_python_drops_comes_again(where):
  done = subprocess.run(
    [sys.executable, "-c", DROPPED, where],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    timeout=30,
  )
  assert done.stderr == "byol_jax: interrupted; the same command goes on\n"
  assert done.returncode == 128 + signal.SIGINT


COMMANDS = (
  *("byol_jax.main", "byol_jax.embed", "byol_jax.export", "byol_jax.report"),
  *("byol_jax.data.prepare", "reproduce"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_begins_with_it(command, tmp_path):
  # Whichever large package comes first, Ctrl-C comes with it.
  for package in ("absl", "cv2", "jax", "numpy"):
    code = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / f"{package}.py").write_text(code)
  done = subprocess.run(
    [sys.executable, "-m", command],
    cwd=ROOT,
    env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == -signal.SIGINT  # of which a shell makes 130
  assert done.stdout == done.stderr == ""
