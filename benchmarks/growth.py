"""How a step's cost grows: with images, pixels, channels, devices and hosts.

  python -m benchmarks.growth                    all tables
  python -m benchmarks.growth --only=batch       one of them
  python -m benchmarks.growth --only=remat --rounds=10

Times are medians of steps in turns (see `turns`) and come with the slope of log
time over log work: 1 is proportional, more is superlinear. Simulated devices and
hosts share the cores, and the work is the same whatever their number, so there the
ideal is a constant time. Memory and collectives are those of XLA's programs.
"""

import atexit
import math
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks import tables, turns
from byol_jax import commands

TABLES = ("batch", "resolution", "width", "devices", "hosts", "memory", "remat")

SMALL = {"depth": 18, "stem": "cifar", "size": 32, "batch": 64, "norm": "gn_ws"}
LARGE = {"depth": 50, "stem": "imagenet", "size": 224, "batch": 8, "norm": "gn_ws"}
# What many devices share: small, as each compiles for all of them.
SHARED = SMALL | {"depth": 10, "batch": 64}
NORMS = ("bn", "gn_ws")

# A batch of 4096 on 8 devices: how many microbatches each works through its share in,
# and what the step's arguments and temporary memory may come to.
MICROBATCHES = 32
BOUND_MIB = 6 * 1024


def prepare(hosts: int = 1, **settings: Any) -> turns.Prepared:
  """Our step; with `hosts`, beside those of the others, which it starts."""
  from byol_jax.run import host

  host.tune()
  from benchmarks import costs, workload
  from byol_jax import cluster, parallel

  others: list[Any] = []
  if hosts > 1:
    number = int(os.environ.setdefault("JAX_PROCESS_ID", "0"))
    os.environ.setdefault("JAX_COORDINATOR_ADDRESS", f"localhost:{_free_port()}")
    os.environ["JAX_NUM_PROCESSES"] = str(hosts)
    if number == 0:
      code = f"from benchmarks import growth; growth.follow({hosts}, **{settings})"
      others = [
        subprocess.Popen(
          [sys.executable, "-c", code],
          env=os.environ | {"JAX_PROCESS_ID": str(i)},
          stdin=subprocess.PIPE,
        )
        for i in range(1, hosts)
      ]
    cluster.join()
    atexit.register(_let_go, others)  # before JAX waits for them to leave too
  experiment = workload.make_experiment(**settings)
  batch = workload.make_batch(experiment)
  state = parallel.replicate(experiment.init())
  update = parallel.pmap(experiment.step, donate=True)
  facts = costs.facts(update.lower(state, batch).compile())
  # Not the program, which would take arrays of all hosts.
  step_here = workload.stepping(update, state, batch)

  def run() -> None:
    for other in others:
      other.stdin.write(b"\n")
      other.stdin.flush()
    step_here()

  return facts, run


def follow(hosts: int, **settings: Any) -> None:
  """What the hosts but the first do: a step for each line they read."""
  threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
  _, run = prepare(hosts, **settings)
  for _ in sys.stdin.buffer:
    run()


def _let_go(others: list[Any]) -> None:
  """Tells the other hosts that no line comes any more."""
  for other in others:
    other.stdin.close()


def _end_with(parent: int) -> None:
  """Ends this process, whatever it waits for, soon after its parent has ended."""
  while os.getppid() == parent:
    time.sleep(1)
  os._exit(1)


def _free_port() -> int:
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return free.getsockname()[1]


def slope(work: Mapping[float, float]) -> float:
  """Least-squares slope of log time over log work."""
  xs, ys = ([math.log(v) for v in values] for values in (work.keys(), work.values()))
  return statistics.linear_regression(xs, ys).slope


def _timed(
  title: str, contestants: Mapping[int, tuple[turns.Contestant, float]], rounds: int
) -> None:
  """A table of step times, and how they grow with the work."""
  named = {str(value): contestant for value, (contestant, _) in contestants.items()}
  found = turns.take_turns(named, rounds)
  tables.head((title, "step, s", "all-reduces", "temp, MiB"))
  for name, timing in found.items():
    reduces = timing.facts["collectives"].get("all-reduce", (0,))[0]
    temp = timing.facts["temp_mib"]
    seconds = tables.with_spread(f"{timing.median:.3f}", timing.spread)
    tables.row((name, seconds, reduces, f"{temp:.0f}"))
  work = {contestants[int(name)][1]: timing.median for name, timing in found.items()}
  print(f"\nslope of log time over log work: {slope(work):.2f}\n", flush=True)


def _batch(rounds: int) -> None:
  sizes = (16, 32, 64, 128, 256)
  _timed(
    "batch, ResNet-18, 32 px",
    {n: (turns.Contestant(prepare, SMALL | {"batch": n}), n) for n in sizes},
    rounds,
  )


def _resolution(rounds: int) -> None:
  sizes = (64, 96, 128, 160, 224)
  _timed(
    "pixels a side, ResNet-50, batch 8",
    {n: (turns.Contestant(prepare, LARGE | {"size": n}), n * n) for n in sizes},
    rounds,
  )


def _width(rounds: int) -> None:
  # Work grows with the square of the channels.
  _timed(
    "width, ResNet-18, 32 px, batch 32",
    {
      n: (turns.Contestant(prepare, SMALL | {"batch": 32, "width": n}), n * n)
      for n in (1, 2, 3)
    },
    rounds,
  )


def _over_devices(rounds: int) -> None:
  _timed(
    "devices, ResNet-10, 32 px, batch 64 over all",
    {
      n: (turns.Contestant(prepare, SHARED, turns.on_devices(n)), n)
      for n in (1, 2, 4, 8)
    },
    rounds,
  )


def _over_hosts(rounds: int) -> None:
  _timed(
    "hosts, ResNet-10, 32 px, batch 64 over all",
    {
      n: (turns.Contestant(prepare, SHARED | {"hosts": n}, turns.on_devices(1)), n)
      for n in (1, 2, 4)
    },
    rounds,
  )


def _remat(rounds: int) -> None:
  tables.head(("norm", "temp, MiB", "with remat", "step, s", "with remat", "ratio"))
  for norm in NORMS:
    ways = {
      name: turns.Contestant(prepare, LARGE | {"norm": norm, "remat": remat})
      for name, remat in (("kept", False), ("remat", True))
    }
    kept, remat = turns.take_turns(ways, rounds).values()
    temps = [f"{each.facts['temp_mib']:.0f}" for each in (kept, remat)]
    times = [f"{each.median:.2f}" for each in (kept, remat)]
    tables.row((norm, *temps, *times, f"{remat.ratio(kept):.2f}"))


def prepare_memory(**settings: Any) -> turns.Prepared:
  """Compiles a step that nobody runs; nothing is timed."""
  from byol_jax.run import host

  host.tune()
  from benchmarks import costs, workload

  program = costs.lower_step(workload.make_experiment(**settings)).compile()
  return costs.facts(program), lambda: None


def _memory() -> None:
  tables.head(
    ("norm", "microbatches", "arguments, MiB", "temp, MiB", f"under {BOUND_MIB} MiB")
  )
  for norm in NORMS:
    settings = LARGE | {"norm": norm, "batch": 4096, "accumulate": MICROBATCHES}
    contestant = turns.Contestant(prepare_memory, settings, turns.on_devices(8))
    facts = turns.facts(contestant)
    arguments, temp = facts["arguments_mib"], facts["temp_mib"]
    fits = arguments + temp < BOUND_MIB
    sizes = f"{arguments:.0f}", f"{temp:.0f}"
    tables.row((norm, MICROBATCHES, *sizes, "yes" if fits else "no"))


def main(only: Sequence[str], rounds: int) -> None:
  """Prints the tables that are asked for.

  Args:
    only: their names, of `TABLES`.
    rounds: how many times each step is timed.
  """
  printers: dict[str, Callable[[], None]] = {
    "batch": lambda: _batch(rounds),
    "resolution": lambda: _resolution(rounds),
    "width": lambda: _width(rounds),
    "devices": lambda: _over_devices(rounds),
    "hosts": lambda: _over_hosts(rounds),
    "memory": _memory,
    "remat": lambda: _remat(rounds),
  }
  for name in only:
    printers[name]()


if __name__ == "__main__":
  ONLY = flags.DEFINE_multi_enum("only", TABLES, TABLES, "Tables to print.")
  ROUNDS = flags.DEFINE_integer("rounds", 5, "Times that each is timed.", lower_bound=2)
  commands.run(lambda: main(ONLY.value, ROUNDS.value), sys.argv)
