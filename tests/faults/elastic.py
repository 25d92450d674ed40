"""Runs that are stopped on some devices and go on upon others.

They cannot be equal bit for bit, as sums are taken in another order: how far they end
from one that kept its devices is told, relative to the largest value of each array.
"""

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

import byol_jax
from byol_jax.run import stored
from tests.devices import xla_flags
from tests.faults import jobs, trial
from tests.faults.trial import Trial

# (devices, hosts) before and after.
_MOVES = (((8, 1), (1, 1)), ((1, 1), (8, 1)), ((1, 2), (1, 1)), ((1, 1), (1, 2)))
_FAR = 0.02
_JOB = jobs.pretraining(24, "--config.seed=3")


def trials(count: int, seed: int, folder: Path) -> Iterator[Trial]:
  """The first `count` of the moves; the seed plays no part."""
  whole = folder / "whole"
  whole.mkdir()
  jobs.complete(_JOB, whole)
  expected = _arrays(whole)
  for before, after in _MOVES[:count]:
    place = folder / f"{before}-{after}".replace(" ", "")
    place.mkdir()
    yield _moved(place, before, after, expected)


def _moved(
  place: Path,
  before: tuple[int, int],
  after: tuple[int, int],
  expected: Mapping[str, np.ndarray],
) -> Trial:
  name = f"{_words(*before)} -> {_words(*after)}"
  hosts = _start(place, *before)
  trial.read_until(hosts[0], r"step (9|10|11)/")
  hosts[0].send_signal(signal.SIGTERM)
  codes = [_end(host)[0] for host in hosts]
  if set(codes) != {128 + signal.SIGTERM}:
    return Trial(name, f"stopped with {codes}")
  ends = [_end(host) for host in _start(place, *after)]
  if any(code for code, _ in ends):
    return Trial(name, f"it does not go on: {ends}")
  if "continuing from step" not in ends[0][1]:
    return Trial(name, "it has begun anew")
  far = _distance(expected, _arrays(place))
  wrong = f"its weights are {far:.3f} away" if far > _FAR else ""
  return Trial(name, wrong, {f"distance, {name}": far})


def _words(devices: int, hosts: int) -> str:
  return f"{devices} device{'s' * (devices > 1)} on {hosts} host{'s' * (hosts > 1)}"


def _start(place: Path, devices: int, hosts: int) -> list[trial.Process]:
  command = _JOB.command(place)
  if hosts > 1:
    return trial.start_hosts(*[command] * hosts)
  return [trial.start(*command, XLA_FLAGS=xla_flags(devices))]


def _end(host: trial.Process) -> tuple[int, str]:
  said = host.communicate(timeout=300)[1]
  return host.returncode, said


def _arrays(place: Path) -> dict[str, np.ndarray]:
  """The weights of a run's newest checkpoint."""
  encoder = byol_jax.load_encoder(place / "run")
  arrays = stored.named({"params": encoder.params, "stats": encoder.stats})
  return {name: np.asarray(x) for name, x in arrays.items()}


def _distance(
  some: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> float:
  """The largest difference in an array over its largest value; of all arrays."""
  return max(
    float(np.max(np.abs(x - others[name])) / np.max(np.abs(x)).clip(1e-12))
    for name, x in some.items()
  )
