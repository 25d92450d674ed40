"""Scalars for TensorBoard, which a run can do without.

tensorboardX's own writer hands events to a thread; when that dies, as of a full disk or
a clock that goes back, the run waits for it for ever. Here they are written at once.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from absl import logging
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2


class Scalars:
  """A file of events; one that cannot be written is given up, and said to be."""

  def __init__(self, folder: Path, first_step: int):
    """Begins a new file, which hides what others in the folder have from a step on."""
    self._folder = folder
    self._writer: EventsWriter | None = None
    try:
      folder.mkdir(parents=True, exist_ok=True)
      self._writer = EventsWriter(str(folder / "events"))
    except OSError as error:
      self._give_up(error)
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(event_pb2.Event(step=first_step, session_log=start))

  def add(self, step: int, scalars: Mapping[str, float]) -> None:
    """Adds the scalars of a step."""
    for name, value in scalars.items():
      self._write(event_pb2.Event(step=step, summary=summary.scalar(name, value)))
    self._do("flush")

  def close(self) -> None:
    """Closes the file."""
    self._do("close")
    self._writer = None

  def _write(self, event: event_pb2.Event) -> None:
    event.wall_time = time.time()
    self._do("write_event", event)

  def _do(self, what: str, *arguments: event_pb2.Event) -> None:
    if self._writer is None:
      return
    try:
      getattr(self._writer, what)(*arguments)
    except (OSError, ValueError) as error:
      self._give_up(error)

  def _give_up(self, error: Exception) -> None:
    self._writer = None
    logging.warning("%s is not written any more: %s", self._folder, error)
