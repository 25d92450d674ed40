"""Times how long a step of ResNet-50 waits for its images, by the loop's clocks.

  python -m benchmarks.fed --images=../shared/imagenet_samples

`benchmarks.input` runs this too.
"""

import sys
from typing import Any

from absl import flags

from benchmarks import jpegs, tables
from byol_jax import commands

_WARM_UP = 2  # steps: one compiles


def measure(folder: str, steps: int) -> dict[str, float]:
  """What the loop reports over some steps of 224 px, batch 8, fed by threads.

  Raises:
    UserError: see `jpegs.files`.
  """
  from byol_jax.run import host

  host.tune()
  from benchmarks.workload import NETWORKS, make_experiment
  from byol_jax import parallel
  from byol_jax.run.monitor import Monitor

  source = jpegs.source(folder)
  network: dict[str, Any] = NETWORKS["resnet50-b8"]
  experiment = make_experiment(**network, norm="bn")
  experiment.config.data.workers = 0
  experiment.inputs.train = source
  experiment.views = dict(zip(("view1", "view2"), jpegs.views(), strict=True))
  state = parallel.replicate(experiment.init())
  update = parallel.pmap(experiment.step, donate=True)
  batches = experiment.batches(0)
  monitor = Monitor(network["batch"], steps, 0.0)

  def train(count: int) -> dict[str, float]:
    nonlocal state
    monitor.restart()
    for _ in range(count):
      state, scalars = update(state, monitor.fetch(batches))
      monitor.record(scalars)
    return monitor.report(count)

  train(_WARM_UP)
  report = train(steps)
  batches.close()
  return report | {"step": network["batch"] / report["images_per_second"]}


def main(folder: str, steps: int) -> None:
  """Prints a Markdown table of one line; see `measure`."""
  report = measure(folder, steps)
  tables.head(("step, s", "images/s", "input wait"))
  tables.row(
    (
      f"{report['step']:.2f}",
      f"{report['images_per_second']:.2f}",
      f"{100 * report['input_wait']:.2f}%",
    )
  )


if __name__ == "__main__":
  IMAGES = flags.DEFINE_string("images", None, "Folder of JPEGs.", required=True)
  STEPS = flags.DEFINE_integer("steps", 10, "Steps that are timed.", lower_bound=1)
  commands.run(lambda: main(IMAGES.value, STEPS.value), sys.argv)
