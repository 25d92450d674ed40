"""Ctrl-C at random moments of each command's first seconds: one line, or none."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import trial
from tests.faults.trial import Ended, Trial

_GOLDEN = "tests/golden/run"
_SECONDS = 5.0  # of a processor: most of them pass before any device is started


def trials(count: int, seed: int, folder: Path) -> Iterator[Trial]:
  """Interrupts each command in turn, in a folder of its own."""
  rng = random.Random(seed)
  # Else commands, started by one that runs in the background, would ignore it too.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  commands = _commands(folder)
  for number in range(count):
    name, arguments = list(commands.items())[number % len(commands)]
    after = rng.uniform(0.1, _SECONDS)
    try:
      wrong = _wrong(_interrupted(["-m", *arguments], after))
    except subprocess.TimeoutExpired:
      wrong = "it went on"
    yield Trial(f"{name} after {after:.2f} s", wrong)


def _commands(folder: Path) -> dict[str, Sequence[str]]:
  encoder = f"--encoder={_GOLDEN}"
  main = ("byol_jax.main", "--config=configs/byol_gn_ws.py", "--config.train.steps=10")
  out = f"--out={folder}/features.npz"
  return {
    "main": (*main, f"--workdir={folder}/run"),
    "embed": ("byol_jax.embed", encoder, "--images=photos", out),
    "export": ("byol_jax.export", encoder, "--to=torch", f"--out={folder}/torch"),
    "report": ("byol_jax.report", _GOLDEN, f"--out={folder}/report.html"),
    "prepare": ("byol_jax.data.prepare", "--name=cifar10", f"--data_dir={folder}"),
    "reproduce": ("reproduce", "--norun", f"--workdir={folder}/reproduced"),
  }


def _interrupted(arguments: Sequence[str], after: float) -> Ended:
  """Interrupts a command once it has had so many seconds of a processor."""
  began = time.monotonic()
  process = trial.start(*arguments)
  while process.poll() is None and _seconds(process.pid) < after:
    time.sleep(0.01)
  process.send_signal(signal.SIGINT)  # to one that has ended it is nothing
  with process:
    try:
      lines = process.communicate(timeout=120)[1].splitlines()
    finally:
      process.kill()
  return Ended(process.returncode, lines, time.monotonic() - began)


def _seconds(pid: int) -> float:
  """Of a processor, that a process has taken; Linux says so."""
  fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
  return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wrong(ended: Ended) -> str:
  if any(sign in line for line in ended.lines for sign in ("Traceback", "ignored in")):
    return f"a stack trace: {' | '.join(ended.lines[-3:])}"
  # Killed by it, as programs in C are; ended by it with a word; or ended before.
  if ended.code in (-signal.SIGINT, 128 + signal.SIGINT, 0):
    return ""
  if ended.code == 1 and ended.lines[-1].startswith("byol_jax: "):
    return ""  # refused before: cifar10 is not there
  return f"status {ended.code}: {' | '.join(ended.lines[-3:])}"
