"""A fault, and what came of it."""

import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.devices import xla_flags

Process = subprocess.Popen[str]

ROOT = Path(__file__).parents[2]


class Trial(NamedTuple):
  """One of them.

  Attributes:
    name: what was done, so that it can be done again.
    wrong: what should not have happened; empty if all is well.
    figures: numbers of it, such as "seconds"; of all trials the largest are told.
  """

  name: str
  wrong: str = ""
  figures: Mapping[str, float] = {}


# (how many, seed, an empty folder) -> trials, each yielded once it is over.
Kind = Callable[[int, int, Path], Iterator[Trial]]


class Ended(NamedTuple):
  """How a command has ended."""

  code: int
  lines: list[str]  # of stderr
  seconds: float


def start_hosts(*commands: Sequence[str], hosts: int | None = None) -> list[Process]:
  """`start` for each of several hosts on this machine.

  Args:
    commands: of each.
    hosts: how many they are to be; as many as commands, if it is left out.
  """
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  return [
    start(
      *command,
      "--distributed",
      JAX_COORDINATOR_ADDRESS=address,
      JAX_NUM_PROCESSES=str(hosts or len(commands)),
      JAX_PROCESS_ID=str(host),
    )
    for host, command in enumerate(commands)
  ]


def start(*arguments: object, **env: str) -> Process:
  """Starts `python ARGUMENTS`, on one simulated device unless XLA_FLAGS say another."""
  return subprocess.Popen(
    [sys.executable, *map(str, arguments)],
    cwd=ROOT,
    env=os.environ | {"XLA_FLAGS": xla_flags(1)} | env,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    errors="surrogateescape",
  )


def run(*arguments: object, timeout: float = 300, **env: str) -> Ended:
  """`start`, to the end."""
  began = time.monotonic()
  process = start(*arguments, **env)
  lines = process.communicate(timeout=timeout)[1].splitlines()
  return Ended(process.returncode, lines, time.monotonic() - began)


def read_until(process: Process, pattern: str) -> list[str]:
  """What a command prints, until a line has that pattern or it ends."""
  assert process.stderr
  lines = []
  for line in process.stderr:
    lines.append(line.rstrip("\n"))
    if re.search(pattern, line):
      break
  return lines


def not_one_line(ended: Ended) -> str:
  """What is wrong with how a command refuses: it should say one line, the last."""
  if ended.code != 1:
    return f"status {ended.code}: {' | '.join(ended.lines[-3:])}"
  if not ended.lines or not ended.lines[-1].startswith("byol_jax: "):
    return f"no line of ours: {' | '.join(ended.lines[-3:])}"
  if "not foreseen" in ended.lines[-1]:
    return ended.lines[-1]
  if any(line.startswith(("Traceback", "  File ")) for line in ended.lines):
    return "a stack trace"
  return ""


def peak_mib() -> float:
  """The most memory that this process has held, in MiB."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def contents(folder: Path) -> dict[str, bytes]:
  """Path -> bytes of each file of a folder."""
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


def lost(before: Mapping[str, bytes], folder: Path) -> Sequence[str]:
  """The files that are gone, or are others than before."""
  with contextlib.suppress(FileNotFoundError):
    after = contents(folder)
    return [name for name, data in before.items() if after.get(name) != data]
  return list(before)
