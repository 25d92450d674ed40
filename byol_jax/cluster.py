"""Joins the other hosts of a run, and leaves them; knows jax.distributed."""

import collections
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jax
from absl import logging

from byol_jax import progress, witness
from byol_jax.errors import OtherHost, UserError

_SILENCE = 30  # seconds after which a host that says nothing counts as dead
_FAREWELL = 5  # seconds that a host which fails waits for others that fail with it
_PATIENCE = 30  # seconds between words about hosts that have not come


def join() -> None:
  """Joins the other hosts; comes before anything else that touches devices.

  TPU pods, SLURM and the like say themselves who belongs together; elsewhere
  JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID do. From now on a host
  that dies ends the others, within a minute and in one line.

  Raises:
    UserError: nothing says who the others are, or the address has no port.
    OtherHost: they have not come, or cannot be reached.
  """
  count, number = (os.environ.get(f"JAX_{k}") for k in ("NUM_PROCESSES", "PROCESS_ID"))
  address = os.environ.get("JAX_COORDINATOR_ADDRESS")
  if address and not re.fullmatch(r"([^:]+|\[.*\]):\d+", address):
    raise UserError(
      f"JAX_COORDINATOR_ADDRESS={address} names no port: give HOST:PORT, as in"
      f" {address}:1234"
    )
  _call_witness()
  where = address or "the cluster's address"
  with waiting(f"{count or 'all'} hosts at {where}"):
    try:
      jax.distributed.initialize(
        num_processes=int(count) if count else None,
        process_id=int(number) if number else None,
        heartbeat_timeout_seconds=_SILENCE,
      )
    except (ValueError, RuntimeError, OSError) as error:
      kind = UserError if isinstance(error, ValueError) else OtherHost
      raise kind(
        f"cannot join the other hosts ({str(error).splitlines()[0]}); set"
        " JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES and JAX_PROCESS_ID on"
        " each, or leave out --distributed on a single host"
      ) from error
  # JAX's service for preemptions, which nobody asks here, has taken SIGTERM for itself:
  # outside of a training run, which listens to it, nothing would end this process.
  signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
  _check_devices()
  if jax.process_count() > 1 and jax.default_backend() == "gpu":
    # XLA shares the trials of kernels out to all hosts that compile a program, and each
    # waits a day for the others'. JAX keeps programs on the first host alone: at the
    # next start it would have them, make no trials, and be waited for.
    jax.config.update("jax_enable_compilation_cache", False)
  if jax.process_index():
    progress.hide()


def _check_devices() -> None:
  """Raises UserError, on all hosts alike, where one has more devices than another.

  Batches are shared out equally, and no message can be exchanged before that is so.
  """
  counts = collections.Counter(device.process_index for device in jax.devices())
  for host, count in sorted(counts.items()):
    if count != counts[0]:
      raise UserError(
        f"host {host} has {count} devices, and host 0 {counts[0]}: give all hosts as"
        " many, such as by CUDA_VISIBLE_DEVICES"
      )


def leave() -> None:
  """Leaves the other hosts, if there are any, before this process ends in a failure.

  JAX would wait for them for minutes, and they may well wait for this one. Where they
  fail too they get a moment to say it.
  """
  if jax.distributed.is_initialized():
    parting = threading.Thread(target=_part, daemon=True)
    parting.start()
    parting.join(_FAREWELL)


def _part() -> None:
  with contextlib.suppress(Exception):
    jax.distributed.shutdown()


def is_of_other_host(error: Exception) -> bool:
  """Whether it says that another host cannot be reached any more."""
  signs = ("gloo", "nccl", "heartbeat", "coordination service", "unreachable")
  return jax.distributed.is_initialized() and any(
    sign in str(error).lower() for sign in signs
  )


def _call_witness() -> None:
  """Has what this process prints read by `witness`, which outlives it."""
  reading, writing = os.pipe()
  subprocess.Popen(
    [sys.executable, str(Path(witness.__file__))],
    stdin=reading,
    stdout=subprocess.DEVNULL,
  )
  os.dup2(writing, sys.stderr.fileno())
  os.close(reading)
  os.close(writing)


@contextlib.contextmanager
def waiting(whom: str) -> Iterator[None]:
  """Says now, and again and again, whom the lines within wait for."""
  came = threading.Event()

  def say() -> None:
    while not came.wait(_PATIENCE):
      logging.info("still waiting for %s: start the same command on each", whom)

  logging.info("waiting for %s", whom)
  again = threading.Thread(target=say, daemon=True)
  again.start()
  try:
    yield
  finally:
    came.set()
    again.join()
