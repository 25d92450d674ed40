"""Brings the scalars of a run to a service, in a process of its own.

  python -m byol_jax.run.writers.follow wandb runs/mine < /dev/null

A run starts it, and ends its standard input when it ends itself. It reads the folder of
the run, so that it may come late, hang or die: what a service lacks it gets at the next
start, and by the command above after the last one. writers/NAME.json has the identity
of the run there and the last step that was sent.
"""

import importlib
import json
import os
import select
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from byol_jax import disk
from byol_jax.disk import read_json, write_json
from byol_jax.run.settings import flat

PROJECT = "byol_jax"

_PAUSE = 2.0  # seconds between two looks at metrics.jsonl
_FAREWELL = 300.0  # seconds after the end of a run, in which all must have been sent


class Place(NamedTuple):
  """A run, as a service is told of it.

  Attributes:
    name: of its folder.
    folder: where it lies.
    id: the same at each start, and that of no other run.
    config: its settings by their full names.
  """

  name: str
  folder: Path
  id: str
  config: Mapping[str, Any]


class Service(Protocol):
  """What the modules beside this one make of a `Place` by `open_run`; it may raise."""

  def add(self, step: int, scalars: Mapping[str, float]) -> None:
    """Sends the scalars of a step, each step once, ascending."""

  def summarise(self, step: int, summary: Mapping[str, Any]) -> None:
    """Sends the results, by their full names, once; `step` is the last one."""

  def close(self, complete: bool) -> None:
    """Ends this start of the run, which may be its last."""


def follow(name: str, folder: Path, is_over: Callable[[], bool]) -> None:
  """Sends what is not sent yet, and what comes, until the run is over.

  A step is noted before it is sent: one whose sending fails may be lost, none comes
  twice. A run that goes on from a checkpoint logs some steps again, which are the same.

  Args:
    name: of a module beside this one.
    folder: of the run.
    is_over: waits a moment, and says whether the run has ended.
  """
  place = folder / "writers"
  place.mkdir(exist_ok=True)
  with disk.in_turn(place / f"{name}.lock"):  # an earlier start may still be sending
    note = place / f"{name}.json"
    kept: dict[str, Any] = {"id": uuid.uuid4().hex[:12], "step": -1, "summary": False}
    kept |= read_json(note) if note.exists() else {}
    write_json(note, kept)
    module = importlib.import_module(f"byol_jax.run.writers.{name}")
    config = flat(read_json(folder / "config.json"))
    service = module.open_run(Place(folder.name, folder, kept["id"], config))
    for step, scalars in _records(folder / "metrics.jsonl", is_over):
      if step > kept["step"]:
        kept["step"] = step
        write_json(note, kept)
        service.add(step, scalars)
    summary = folder / "summary.json"
    if summary.exists() and not kept["summary"]:
      kept["summary"] = True
      write_json(note, kept)
      service.summarise(kept["step"], flat(read_json(summary)))
    service.close(complete=summary.exists())


def _records(
  path: Path, is_over: Callable[[], bool]
) -> Iterator[tuple[int, dict[str, float]]]:
  """The lines of a file that grows, until it grows no more."""
  position, last = 0, False
  while not last:
    last = is_over()
    if not path.exists():
      continue
    with path.open("rb") as file:
      file.seek(position)
      content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    position += len(whole)
    for line in whole.splitlines():
      record = json.loads(line)
      yield record.pop("step"), {k: float(v) for k, v in record.items()}


def _is_over() -> bool:
  """Whether standard input has ended."""
  readable, _, _ = select.select([sys.stdin], [], [], _PAUSE)
  if not readable:
    return False
  hurry = threading.Timer(_FAREWELL, os._exit, [1])
  hurry.daemon = True
  hurry.start()
  return True


def main() -> None:
  """Follows a run, whatever signals it gets: its run may be stopped, and go on."""
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
  name, folder = sys.argv[1:]
  follow(name, Path(folder).absolute(), _is_over)


if __name__ == "__main__":
  main()
