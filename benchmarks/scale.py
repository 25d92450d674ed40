"""What the large presets take on many devices, compiled and not run.

  python -m benchmarks.scale                                 all of them
  python -m benchmarks.scale --preset=imagenet-1000 --devices=512

The step of each preset is compiled for simulated devices; memory and collectives are
read off the program. Memory is that of XLA's programs for CPUs, in float32, for one
device: arguments and temporaries. It takes its share of a batch in microbatches of 64
images (train.accumulate). Of the data set, the number of classes alone is needed.
Where a device would get a single image the preset's batch is too small for them, and
the row is left out.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any
from unittest import mock

from absl import flags

from benchmarks import tables, turns
from byol_jax import commands
from byol_jax.errors import UserError
from configs import presets

CLASSES = {"cifar10": 10, "imagenette": 10, "imagenet-1000": 1000}
DEVICES = (8, 512)
# Images that a device has at a time; the rest of its share waits (train.accumulate).
AT_A_TIME = 64
SYSTEMS = ("byol", "byol_gn_ws")


def make_experiment(system: str, preset: str) -> Any:
  """A system at a preset's scale; of its data set, it has the number of classes."""
  import importlib

  import jax
  import numpy as np

  from byol_jax.data import datasets, sources
  from experiments import pretrain

  config = importlib.import_module(f"configs.{system}").get_config(preset)
  share = config.train.batch_size // jax.device_count()
  config.train.accumulate = max(share // AT_A_TIME, 1)
  # Images of one class, the last.
  images = np.zeros((4, config.data.size, config.data.size, 3), np.uint8)
  splits = {"train": (images, np.full(len(images), CLASSES[preset] - 1))}
  dataset = sources.ArrayDataset("four images", splits)
  with mock.patch.dict(datasets.DATASETS, {dataset.name: lambda _: dataset}):
    config.data.update(name=dataset.name, train="train")
    train, test = "train[:2]", "train[2:]"
    config.probe.update(train=train, test=test, valid_train=train, valid_test=test)
    return pretrain.Pretrain(config)


def prepare(system: str, preset: str) -> turns.Prepared:
  """Compiles a preset's step in a process that simulates the devices."""
  from byol_jax.run import host

  host.tune()
  import jax

  from benchmarks import costs

  experiment = make_experiment(system, preset)
  lowered = costs.lower_step(experiment)
  start = time.perf_counter()
  program = lowered.compile()
  seconds = time.perf_counter() - start
  facts = costs.facts(program)
  facts |= {
    "images": experiment.config.train.batch_size // jax.device_count(),
    "microbatches": experiment.config.train.accumulate,
    "seconds": seconds,
  }
  return facts, lambda: None


HEADINGS = (
  "config",
  "devices",
  "images a device",
  "memory, MiB",
  "all-reduces",
  "compile, s",
)


def cells(config: str, devices: int, facts: dict[str, Any]) -> tuple[Any, ...]:
  """A row of the table.

  Args:
    config: system and preset.
    devices: how many share a batch.
    facts: what `prepare` gave.
  """
  reduces = facts["collectives"]["all-reduce"]
  at_a_time = facts["images"] // facts["microbatches"]
  return (
    f"`{config}`",
    devices,
    f"{facts['microbatches']} x {at_a_time}",
    f"{facts['arguments_mib']:.0f} + {facts['temp_mib']:.0f}",
    f"{reduces.ops}: {reduces.arrays} arrays, {reduces.bytes / 2**20:.0f} MiB",
    f"{facts['seconds']:.0f}",
  )


def large_enough(preset: str, counts: Sequence[int]) -> list[int]:
  """The numbers of devices for which a preset's batch is large enough.

  Raises:
    UserError: they cannot share it evenly.
  """
  batch = presets.get(preset).train.batch_size
  found = [count for count in counts if batch >= 2 * count]
  for count in found:
    if batch % count:
      raise UserError(
        f"--devices={count} cannot share the {batch} images of a batch of {preset}"
        " evenly: give a power of two"
      )
  return found


def main(names: Sequence[str], counts: Sequence[int]) -> None:
  """Prints the table, a row as soon as it is known.

  Args:
    names: of presets, of `CLASSES`.
    counts: of devices.

  Raises:
    UserError: see `large_enough`.
  """
  shared = {preset: large_enough(preset, counts) for preset in names}
  tables.head(HEADINGS)
  for preset, fitting in shared.items():
    for system in SYSTEMS:
      for devices in fitting:
        settings = {"system": system, "preset": preset}
        environment = turns.on_devices(devices)
        facts = turns.facts(turns.Contestant(prepare, settings, environment))
        tables.row(cells(f"{system}:{preset}", devices, facts))


if __name__ == "__main__":
  PRESETS = flags.DEFINE_multi_enum(
    "preset", list(CLASSES), list(CLASSES), "Presets to compile."
  )
  COUNTS = flags.DEFINE_multi_integer(
    "devices", DEVICES, "For how many devices.", lower_bound=1
  )
  commands.run(lambda: main(PRESETS.value, COUNTS.value), sys.argv)
