"""Stands beside one of several hosts and passes on what it prints, but for crash pages.

Where a host dies, JAX's runtime ends the processes of the others from within, with
lines of its own, a stack trace of C++ and one of Python; where it cannot have its port,
it dies itself. This program, which `cluster.join` starts, reads all that its host
prints, and says that in one line.
"""

import re
import signal
import sys
from collections.abc import Iterable, Iterator

ANSWER = "byol_jax: "  # what a command ends with
OTHER_HOST = (
  "another host has ended, did not come, or cannot be reached; see what it says, and"
  " give all hosts the same command again: a run goes on from its last checkpoint"
)
PORT_TAKEN = (
  "another process of this host has the port {}: end it, or give all hosts another one,"
  " by JAX_COORDINATOR_PORT or JAX_COORDINATOR_ADDRESS"
)
_RUNTIME = re.compile(
  r"([EFIW])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ "
  r"(add_port|coordination_service|preemption_sync|client\.h|distributed_runtime)"
)
_NO_PORT = re.compile(r"Failed to add port .*'(.*)'")
_RECORD = re.compile(rf"\d\d:\d\d:\d\d |{ANSWER}|[EFIW]\d{{4}} \d\d:\d\d:")


def passed_on(lines: Iterable[str]) -> Iterator[str]:
  """What is worth reading of a host's lines, and a last word where it had none."""
  crashed = answered = dropping = False
  last_word = OTHER_HOST
  for line in lines:
    runtime = _RUNTIME.match(line)
    if no_port := runtime and _NO_PORT.search(line):
      last_word = PORT_TAKEN.format(no_port[1])
    crashed |= runtime is not None and runtime[1] == "F"
    crashed |= last_word != OTHER_HOST and line.startswith("Fatal Python error")
    answer = line.startswith(ANSWER)
    answered |= answer
    if runtime or _RECORD.match(line):  # else it goes on with the record before it
      dropping = bool(runtime)
    if answer or not (dropping or crashed):
      yield line
  if crashed and not answered:
    yield f"{ANSWER}{last_word}\n"


def main() -> None:
  """Reads until its host has ended, whatever signals they both get."""
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
  sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
  sys.stderr.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
  for line in passed_on(sys.stdin):
    sys.stderr.write(line)
    sys.stderr.flush()


if __name__ == "__main__":
  main()
