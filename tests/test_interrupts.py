"""Ctrl-C while a command imports its modules."""

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
  before = signal.getsignal(signal.SIGINT)
  yield lambda: signal.getsignal(signal.SIGINT)
  signal.signal(signal.SIGINT, before)


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
