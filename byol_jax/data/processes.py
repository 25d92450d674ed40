"""Processes that load images: how they begin and end, and the memory they share."""

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import grain
import numpy as np
from absl import flags

from byol_jax.errors import UserError

_SHARED = Path("/dev/shm")  # where Linux keeps the memory that processes share
_MORE = "give the container more, as by docker run --shm-size=8g, or set data.workers=0"
_ENDED = re.compile(r"terminated unexpectedly with exit code (-?\d+)")  # Grain's


def check_memory(workers: int, chunk: int) -> None:
  """Looks whether they have room for what they hand over.

  Containers have little of that memory, 64 MiB by Docker's default, and whoever writes
  beyond it is killed.

  Args:
    workers: how many.
    chunk: bytes that one hands over at a time.

  Raises:
    UserError: there is less than each needs for a chunk that waits, and for one that is
      being written.
  """
  if not workers or not _SHARED.is_dir():
    return
  wanted, left = 2 * workers * chunk, shutil.disk_usage(_SHARED).free
  if wanted > left:
    raise UserError(
      f"data.workers = {workers} take {wanted / 2**20:.0f} MiB of shared memory, and"
      f" {_SHARED} has {left / 2**20:.0f} left: {_MORE}"
    )


def ahead(dataset: grain.IterDataset, workers: int) -> grain.IterDataset:
  """The same, made by so many processes; with 0, by threads of this one."""
  if not workers:
    return dataset
  _default_grain_flags()
  return dataset.mp_prefetch(grain.MultiprocessingOptions(workers), _begin)


def iterate(dataset: grain.IterDataset) -> Iterator[dict[str, np.ndarray]]:
  """Iterates, and stops threads and processes as soon as nobody listens.

  Raises:
    UserError: one of the processes was killed.
  """
  iterator = iter(dataset)
  try:
    yield from iterator
  except RuntimeError as error:
    if ended := _ENDED.search(str(error)):
      raise UserError(_why(int(ended[1]))) from error
    raise
  finally:
    iterator.close()


def _why(status: int) -> str:
  """Why a process may have ended, and the way out."""
  what = f"a process that loads images (data.workers) ended with {status}"
  if status == -signal.SIGBUS:
    return f"{what}: {_SHARED} is full; {_MORE}"
  if status == -signal.SIGKILL:
    return f"{what}: memory may be short; set data.workers to less, or to 0"
  return f"{what}: set data.workers=0 to see where"


def _default_grain_flags() -> None:
  """Lets Grain read its own flags where no command has parsed any, as in a notebook.

  All other flags stay unparsed.
  """
  if not flags.FLAGS.is_parsed():
    for name in flags.FLAGS:
      if name.startswith("grain_"):
        flags.FLAGS[name].present = 1


def _begin(index: int, count: int) -> None:
  """As in the launcher's own process: OpenCV's threads would only compete.

  And it ends with the launcher, also where that is killed and can stop nobody. Ctrl-C
  and the like, which reach all processes, ask the launcher to save: it loads on.
  """
  del index, count
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
  cv2.setNumThreads(0)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  parent = os.getppid()
  while os.getppid() == parent:
    time.sleep(1)
  os._exit(1)
