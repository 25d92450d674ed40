"""What the files of launch/ call, played by small programs on this machine."""

import os
import socket
import sys
import time
from pathlib import Path

from tests.devices import xla_flags

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"


def play(folder, name, code):
  """A program that is found before the real one of its name."""
  path = folder / name
  path.write_text(code)
  path.chmod(0o755)
  return path


def environment(folder, **values):
  """Variables of a process that finds the programs of a folder first."""
  path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
  return os.environ | {"PATH": path, "XLA_FLAGS": xla_flags(1)} | values


def free_port():
  """A port that no process of this machine has."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return str(free.getsockname()[1])


def until(holds, *arguments):
  """Waits until something is so."""
  for _ in range(200):
    if holds(*arguments):
      return
    time.sleep(0.05)
  raise AssertionError("it never came to be so")
