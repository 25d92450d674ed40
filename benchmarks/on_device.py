"""Times a small set that lives on the device beside one that the host feeds.

  python -m benchmarks.on_device --data_dir=DIR
  python -m benchmarks.on_device --data_dir=DIR --preset=cifar10-cpu --only=step

views  batches of two crops, from the data set to arrays on the device
step   whole steps of training
"""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from absl import flags

from benchmarks import tables, turns
from byol_jax import commands

TABLES = ("views", "step")


def _experiment(preset: str, data_dir: str | None, on_device: bool) -> Any:
  from byol_jax.run import host

  host.tune()
  from configs import presets
  from experiments import pretrain

  config = presets.get(preset)
  config.data.update(data_dir=data_dir, on_device=on_device)
  return pretrain.Pretrain(config)


def prepare_views(
  preset: str, data_dir: str | None, on_device: bool, batches: int
) -> turns.Prepared:
  """Batches as a step has them once its views are cropped."""
  experiment = _experiment(preset, data_dir, on_device)
  import jax

  from byol_jax import parallel

  def views(_: Any, batch: Any) -> Any:
    cropped = experiment.inputs.cropped(batch)
    return parallel.gather({name: cropped[name] for name in experiment.views})

  crop = parallel.pmap(views)
  iterator = experiment.batches(0)
  first = jax.device_get(crop(0, next(iterator)))

  def run() -> None:
    for _ in range(batches):
      jax.block_until_ready(crop(0, next(iterator)))

  sample = np.stack([first[name] for name in experiment.views])
  return {"images": batches * experiment.config.train.batch_size, "sample": sample}, run


def prepare_step(
  preset: str, data_dir: str | None, on_device: bool, batches: int
) -> turns.Prepared:
  """Steps as in training, each waited for only once the next few are on their way."""
  experiment = _experiment(preset, data_dir, on_device)
  from byol_jax import parallel
  from byol_jax.run.monitor import Monitor

  state = parallel.replicate(experiment.init())
  update = parallel.pmap(experiment.step, donate=True)
  iterator = experiment.batches(0)
  train = experiment.config.train
  monitor = Monitor(train.batch_size, train.steps, 0.0)

  def run() -> None:
    nonlocal state
    monitor.restart()
    for _ in range(batches):
      state, scalars = update(state, monitor.fetch(iterator))
      monitor.record(scalars)
    monitor.report(batches)

  return {"images": batches * train.batch_size}, run


def _compare(
  prepare: Callable[..., turns.Prepared],
  settings: Mapping[str, Any],
  rounds: int,
  clock: Callable[[], float],
) -> dict[str, turns.Timing]:
  """Prints the source images a second of both ways."""
  # Both are there at the same time, and the first would take most of an accelerator.
  sharing = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
  contestants = {
    name: turns.Contestant(prepare, {**settings, "on_device": on}, sharing, clock)
    for name, on in (("host", False), ("device", True))
  }
  found = turns.take_turns(contestants, rounds, warm_up=1)
  tables.head(("", "images/s", "times the host"))
  for name, timing in found.items():
    speed = f"{timing.facts['images'] / timing.median:.0f}"
    ratio = f"{found['host'].ratio(timing):.2f}"
    tables.row((name, tables.with_spread(speed, timing.spread), ratio))
  return found


def main(
  only: list[str], rounds: int, clock: Callable[[], float], **settings: Any
) -> None:
  """Prints the tables that are asked for.

  Args:
    only: names of tables, of `TABLES`.
    rounds: how many times each contestant is timed.
    clock: see `turns.Contestant`.
    **settings: preset, data_dir and batches of a round.
  """
  if "views" in only:
    print("Two views of each image, on the device:\n")
    found = _compare(prepare_views, settings, rounds, clock)
    host, device = (found[name].facts["sample"].astype(int) for name in found)
    differing = 1e6 * np.mean(host != device)
    largest = np.abs(host - device).max()
    print(
      f"\nOf a million values {differing:.0f} differ, by at most {largest} of 255.\n"
    )
  if "step" in only:
    print("Steps of training:\n")
    _compare(prepare_step, settings, rounds, clock)


if __name__ == "__main__":
  ONLY = flags.DEFINE_multi_enum("only", TABLES, TABLES, "Tables to print.")
  ROUNDS = flags.DEFINE_integer("rounds", 5, "Times each is timed.", lower_bound=2)
  PRESET = flags.DEFINE_string("preset", "cifar10", "What is trained on what.")
  DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data set lies.")
  BATCHES = flags.DEFINE_integer("batches", 10, "Batches of a round.", lower_bound=1)
  COMPUTING = flags.DEFINE_bool(
    "computing", False, "Count the seconds that a process computes, on all cores."
  )
  commands.run(
    lambda: main(
      ONLY.value,
      ROUNDS.value,
      time.process_time if COMPUTING.value else time.perf_counter,
      preset=PRESET.value,
      data_dir=DATA_DIR.value,
      batches=BATCHES.value,
    ),
    sys.argv,
  )
