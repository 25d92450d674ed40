"""Times several things in turns, each in a process of its own.

The speed of a machine drifts, so what is compared is measured within one window:
every round runs each contestant once, and ratios are taken round by round.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from byol_jax.errors import UserError

_PAUSE = 0.2  # seconds in which the threads of the one before fall asleep
_PATIENCE = 10  # seconds in which a contestant stops the processes of its own


Prepared = tuple[dict[str, Any], Callable[[], None]]  # facts, and what to time


def resident_mib() -> float:
  """Most memory that this process has had, in MiB."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@dataclasses.dataclass(frozen=True)
class Contestant:
  """Something to be timed.

  Attributes:
    prepare: a module's function, called in the contestant's own process; gives
      facts about what was prepared, and what to time.
    settings: its arguments.
    environment: variables set before anything is imported.
    clock: gives seconds; `time.process_time` counts those that its process computes.
    memory: called in its own process, gives the most MiB that it has had.
  """

  prepare: Callable[..., Prepared]
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
  clock: Callable[[], float] = time.perf_counter
  memory: Callable[[], float] = resident_mib


@dataclasses.dataclass(frozen=True)
class Timing:
  """What came of a contestant.

  Attributes:
    seconds: of each round.
    facts: what `prepare` said.
    peak_mib: what its `memory` said at the end.
  """

  seconds: list[float]
  facts: dict[str, Any]
  peak_mib: float

  @property
  def median(self) -> float:
    """Median of the seconds."""
    return statistics.median(self.seconds)

  @property
  def spread(self) -> float:
    """Distance of the quartiles relative to the median."""
    low, _, high = statistics.quantiles(self.seconds, n=4)
    return (high - low) / self.median

  def ratio(self, other: "Timing") -> float:
    """Median over the rounds of its seconds divided by the other's."""
    pairs = zip(self.seconds, other.seconds, strict=True)
    return statistics.median(a / b for a, b in pairs)


def on_devices(count: int) -> dict[str, str]:
  """The environment in which a process has so many simulated devices."""
  flag = f"--xla_force_host_platform_device_count={count}"
  return {"XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"}


def facts(contestant: Contestant) -> dict[str, Any]:
  """What is known of a contestant once it is prepared; nothing is timed."""
  return take_turns({"it": contestant}, 2, 0)["it"].facts


def take_turns(
  contestants: Mapping[str, Contestant], rounds: int, warm_up: int = 2
) -> dict[str, Timing]:
  """Times each contestant once a round; whose turn it is first rotates.

  Args:
    contestants: by name.
    rounds: how many times each is timed, at least 2.
    warm_up: rounds before these that do not count.

  Raises:
    UserError: a contestant's own, or one failed, and its process says why.
  """
  context = multiprocessing.get_context("spawn")
  ends: dict[str, Any] = {}
  facts: dict[str, Any] = {}
  processes = []
  try:
    for name, contestant in contestants.items():
      ends[name], other = context.Pipe()
      # Not a daemon, which could not have processes of its own.
      processes.append(context.Process(target=_serve, args=(other, contestant)))
      processes[-1].start()
      other.close()
      # One after the other: preparation is timed too.
      ends[name].send(None)
      facts[name] = _answer(name, ends[name])
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, float] = {}
    for round_ in range(warm_up + rounds):
      for name in _rotated(names, round_):
        time.sleep(_PAUSE)
        ends[name].send(None)
        taken, peaks[name] = _answer(name, ends[name])
        if round_ >= warm_up:
          seconds[name].append(taken)
    return {name: Timing(seconds[name], facts[name], peaks[name]) for name in names}
  finally:
    for end in ends.values():
      end.close()
    for process in processes:
      process.join(_PATIENCE)
      process.kill()


def _rotated(names: Sequence[str], by: int) -> list[str]:
  by %= len(names)
  return [*names[by:], *names[:by]]


def _answer(name: str, end: Any) -> Any:
  try:
    answer = end.recv()
  except EOFError:
    raise UserError(f"{name} failed; what its process said is above") from None
  if isinstance(answer, UserError):
    raise answer
  return answer


def _serve(end: Any, contestant: Contestant) -> None:
  os.environ.update(contestant.environment)
  # Nobody asks any more, or Ctrl-C has gone to all, and the first of them says so.
  with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
    try:
      _take_part(end, contestant)
    except UserError as error:
      end.send(error)


def _take_part(end: Any, contestant: Contestant) -> None:
  end.recv()
  facts, run = contestant.prepare(**contestant.settings)
  end.send(facts)
  while True:
    end.recv()
    start = contestant.clock()
    run()
    taken = contestant.clock() - start
    end.send((taken, contestant.memory()))
