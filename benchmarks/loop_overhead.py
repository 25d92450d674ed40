"""Measures what the loop costs beside the steps: dispatch, logs, checkpoints.

  python -m benchmarks.loop_overhead
  python -m benchmarks.loop_overhead --seconds=0.02 --steps=1000 --minutes=0.1

The step keeps one core busy for about 50 ms, in place of an accelerator, which the
host does not wait for, and hands on a state of the size and the number of arrays of
ResNet-50's. The cadences are those of the ImageNet preset; evaluations, and the
checkpoints that go with them, are left out. "Alone" is the computation without state
and loop, timed before and after the run.
"""

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from absl import flags

from benchmarks import tables
from byol_jax import commands
from byol_jax.errors import UserError


class _Busy:
  """An experiment whose step takes a given time."""

  def __init__(self, leaves: Any, work: Callable[[Any], Any]):
    self._leaves = leaves
    self._work = work

  def init(self) -> Any:
    import numpy as np

    # Random, as what is saved is compressed.
    rng = np.random.default_rng(0)
    return [rng.standard_normal(leaf.shape).astype(leaf.dtype) for leaf in self._leaves]

  def batches(self, first_step: int) -> Iterator[Any]:
    import jax
    import numpy as np

    from byol_jax import parallel

    del first_step
    shape = (jax.local_device_count(), 1)
    return (parallel.shard({"x": np.ones(shape)}) for _ in itertools.count())

  def step(self, state: Any, batch: Any) -> Any:
    import jax

    from byol_jax import parallel

    loss = jax.lax.pmean(self._work(batch["x"].mean()), parallel.AXIS)
    names = ("loss", "update_norm", "spread", "alignment", "uniformity", "tau")
    return state, dict.fromkeys(names, loss)

  def evaluate(self, state: Any) -> dict[str, float]:
    del state
    return {}

  def summarise(self, state: Any) -> dict[str, float]:
    del state
    return {}


def _seconds(work: Callable[[Any], Any], repeats: int) -> float:
  """Median seconds of one call, each waited for."""
  taken = []
  for _ in range(repeats):
    start = time.perf_counter()
    work(1.0).block_until_ready()
    taken.append(time.perf_counter() - start)
  return statistics.median(taken)


def _make_work(seconds: float) -> Callable[[Any], Any]:
  """A chain of sines on one core, so long that it takes these seconds."""
  import jax
  import jax.numpy as jnp

  def work(turns: int) -> Callable[[Any], Any]:
    @jax.jit
    def run(x: jax.Array) -> jax.Array:
      # Without the matrix product XLA takes it for a trifle, and lets the host wait.
      x = jnp.mean(jnp.full((256, 256), x) @ jnp.full((256, 256), x))
      return jax.lax.fori_loop(0, turns, lambda _, x: jnp.sin(x), x)

    return run

  turns = 1_000_000
  trial = work(turns)
  trial(1.0).block_until_ready()
  return work(round(turns * seconds / _seconds(trial, 20)))


def main(seconds: float, steps: int, minutes: float | None) -> None:
  """Runs the loop once and prints a line of a Markdown table.

  Args:
    seconds: what a step takes, about.
    steps: how many.
    minutes: between checkpoints; None for those of the preset.

  Raises:
    UserError: the steps are over before two checkpoints are.
  """
  from byol_jax.run import host

  host.tune()
  import jax

  jax.config.update("jax_cpu_enable_async_dispatch", True)
  from benchmarks.workload import NETWORKS, make_experiment
  from byol_jax.run import loop
  from byol_jax.run.folder import RunDir
  from configs import presets

  settings: dict[str, Any] = NETWORKS["resnet50-b8"] | {"norm": "bn"}
  pretrain = make_experiment(**settings)
  leaves = jax.tree.leaves(jax.eval_shape(pretrain.init))
  config = presets.imagenet(300)
  config.train.update(steps=steps, batch_size=jax.device_count())
  config.eval.every_steps = steps
  if minutes is not None:
    config.checkpoint.every_minutes = minutes
  every = 60 * config.checkpoint.every_minutes
  if steps * seconds < 1.5 * every:
    raise UserError(
      f"a run of {steps * seconds:.0f} s has no two checkpoints, one every"
      f" {every:.0f} s: give more --steps, or fewer --minutes"
    )
  work = _make_work(seconds)
  work(1.0).block_until_ready()
  alone = [_seconds(work, 50)]
  with tempfile.TemporaryDirectory() as folder:
    run_dir = RunDir(f"{folder}/run")
    run_dir.claim(config)
    loop.run(_Busy(leaves, work), config, run_dir)
    records = run_dir.records()
  alone.append(_seconds(work, 50))
  # From the middle between two checkpoints to another, so that each has its share.
  end = every / 2 + (records[-1]["seconds"] - every / 2) // every * every
  first, last = (
    next(r for r in records if r["seconds"] >= moment) for moment in (every / 2, end)
  )
  whole = (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
  within = statistics.median(1 / record["images_per_second"] for record in records[2:])
  within *= config.train.batch_size
  size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
  ideal = statistics.mean(alone)
  headings = "arrays", "MB", "alone, ms", "stepping, ms", "with all, ms", "overhead"
  tables.head(headings)
  tables.row(
    (
      len(leaves),
      f"{size / 1e6:.0f}",
      ", ".join(f"{1e3 * seconds:.1f}" for seconds in alone),
      f"{1e3 * within:.1f}",
      f"{1e3 * whole:.1f}",
      f"{100 * (whole / ideal - 1):.1f}%",
    )
  )


if __name__ == "__main__":
  SECONDS = flags.DEFINE_float(
    "seconds", 0.05, "Of one step, about.", lower_bound=0.001
  )
  # The log has a line for 50, and the first two do not count.
  STEPS = flags.DEFINE_integer(
    "steps", 9500, "Steps: over 8 minutes of them.", lower_bound=150
  )
  MINUTES = flags.DEFINE_float(
    "minutes",
    None,
    "Between checkpoints: those of the ImageNet preset.",
    lower_bound=0.01,
  )
  commands.run(lambda: main(SECONDS.value, STEPS.value, MINUTES.value), sys.argv)
