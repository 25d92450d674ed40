"""Worker processes: the memory that they share, and what is said of a lost one."""

import os
import shutil
import signal
import types
from pathlib import Path

import numpy as np
import pytest

from byol_jax.data import batches, processes
from byol_jax.data.sources import ArraySource
from byol_jax.data.views import View
from byol_jax.errors import UserError

MORE = r"docker run --shm-size=8g, or set data\.workers=0$"


@pytest.fixture
def shared(tmp_path, monkeypatch):
  """Says how much shared memory is left."""

  def leave(free):
    usage = types.SimpleNamespace(free=free)
    monkeypatch.setattr(processes, "_SHARED", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

  return leave


def test_each_has_room_for_two_chunks(shared):
  shared(2 * 3 * 2**20)
  processes.check_memory(3, 2**20)
  processes.check_memory(0, 2**40)
  line = rf"data\.workers = 3 take 8 MiB of shared memory, and .* has 6 left: .*{MORE}"
  with pytest.raises(UserError, match=line):
    processes.check_memory(3, 2**20 + 2**18)


def test_other_systems_keep_it_elsewhere(shared, monkeypatch):
  shared(0)
  monkeypatch.setattr(processes, "_SHARED", Path("not there"))
  processes.check_memory(3, 2**20)


class _Deadly(ArraySource):
  """Sends a signal to the process that reads it."""

  number = 0

  def __getitem__(self, index):
    os.kill(os.getpid(), self.number)
    return super().__getitem__(index)


@pytest.mark.parametrize(
  ("number", "says"),
  [
    (signal.SIGBUS, rf"ended with -7: /dev/shm is full; .*{MORE}"),
    (signal.SIGKILL, r"ended with -9: memory may be short; set data\.workers to less"),
    (signal.SIGSEGV, r"ended with -11: set data\.workers=0 to see where"),
  ],
)
def test_a_process_that_was_killed_is_one_line(number, says):
  source = _Deadly(np.zeros((64, 8, 8, 3), np.uint8), np.zeros(64, np.int32), 2)
  source.number = number
  found = batches.train_batches(
    source, [View()], size=8, batch_size=8, seed=0, steps=range(10), workers=1
  )
  with pytest.raises(UserError, match=rf"\(data\.workers\) {says}"):
    next(found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_asks_the_launcher_to_save_stops_no_process(number):
  source = _Deadly(np.zeros((64, 8, 8, 3), np.uint8), np.zeros(64, np.int32), 2)
  source.number = number
  found = batches.train_batches(
    source, [View()], size=8, batch_size=8, seed=0, steps=range(3), workers=1
  )
  assert len(list(found)) == 3
