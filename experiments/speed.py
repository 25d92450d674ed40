"""What a pretraining run would cost here: makes its first steps, and takes the time.

  python -m byol_jax.main --config=configs/byol.py:cifar10 --config.experiment=speed \
    --config.train.steps=100 --config.data.data_dir=DIR --workdir=runs/speed

`train.steps` says how many steps are made; nothing that is learned is kept.
"""

import importlib.metadata
import itertools
import math
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import chex
import jax
import ml_collections
from absl import logging

from byol_jax import parallel, progress
from byol_jax.errors import UserError
from byol_jax.run import hosts, mfu
from byol_jax.run.checkpoints import Checkpoints
from byol_jax.run.folder import RunDir
from byol_jax.run.monitor import STEPS_AHEAD
from experiments import pretrain

WARM_UP = 3  # steps that are not timed
_ACCELERATORS = ("jax-cuda", "jax_cuda", "nvidia-", "libtpu")


def run(config: ml_collections.ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  """Measures, unless the folder has what was measured; the summary.

  Raises:
    UserError: `train.steps` is open, or too few; or as `pretrain.run`.
  """
  experiment = pretrain.Pretrain(config, run_dir)
  steps = config.train.steps  # as given: those of a whole run are not wanted
  if steps is None or steps <= WARM_UP:
    raise UserError(f"train.steps is {steps}: give {WARM_UP + 1} or more, such as 100")
  with run_dir:
    hosts.claim(run_dir, experiment.config, experiment.inputs.dataset.listing())
    found = parallel.value_from_first_host(run_dir.read_summary)
    if found is None:
      found = measure(experiment, run_dir.path)
      run_dir.write_summary(found)
  return found


def measure(experiment: pretrain.Pretrain, folder: Path) -> dict[str, Any]:
  """Times what a run is made of.

  Args:
    experiment: of its config, `train.steps` says how many steps to make.
    folder: where a checkpoint is written for a moment.

  Returns:
    images_per_second: fed with the images of the data set, as in training.
    images_per_second_one_batch: on one batch that lies on the devices.
    mfu, mfu_one_batch: the same as shares of the devices' peak; None where it is not
      known (see `run.mfu`).
    finite: whether all losses and updates were; "loss": the last one.
    compile_seconds: of the step, less if a cache had it.
    evaluation_seconds, save_seconds: what a stop may have to wait for.
    state_bytes: of all arrays that a checkpoint holds.
    peak_bytes: most memory of one device since the process began, None where the
      device does not say.
    platform, packages: the devices' software, and its parts by their versions.
  """
  state = parallel.replicate(experiment.init())
  batches = experiment.batches(0)
  batch = next(batches)
  logging.info("compiling the step")
  began = time.perf_counter()
  step = parallel.pmap(experiment.step, donate=True)
  step.lower(state, batch).compile()  # kept for the calls: itself it takes one host's
  compiled = time.perf_counter() - began
  logging.info("compiled in %.0f s", compiled)
  size, count = experiment.config.train.batch_size, experiment.config.train.steps
  repeated = itertools.repeat(batch, count)
  state, alone = _timed(step, state, repeated, count)
  state, fed = _timed(step, state, itertools.chain([batch], batches), count)
  memory = parallel.peak_memory()
  peak = mfu.steps_per_second_at_peak(experiment)
  return {
    "images_per_second": size * fed.steps_per_second,
    "images_per_second_one_batch": size * alone.steps_per_second,
    "mfu": fed.steps_per_second / peak if peak else None,
    "mfu_one_batch": alone.steps_per_second / peak if peak else None,
    "finite": alone.finite and fed.finite,
    "loss": fed.loss,
    "compile_seconds": compiled,
    "peak_bytes": memory,
    "state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state)),
    "evaluation_seconds": _evaluation_seconds(experiment, state),
    "save_seconds": _save_seconds(state, folder),
    "platform": jax.devices()[0].client.platform_version,
    "packages": _packages(),
  }


class _Timing(NamedTuple):
  """Of some steps: their speed without the first `WARM_UP`, the last loss, ..."""

  steps_per_second: float
  loss: float
  finite: bool


def _timed(
  step: Any, state: Any, batches: Iterable[chex.ArrayTree], count: int
) -> tuple[Any, _Timing]:
  """Makes a step of each of `count` batches; the state after them."""
  history: list[dict[str, jax.Array]] = []
  began = 0.0
  with progress.shown("timing", count, "steps") as bar:
    for number, batch in enumerate(batches):
      if number == WARM_UP:
        jax.block_until_ready(history)
        began = time.perf_counter()
      state, scalars = step(state, batch)
      history.append({name: scalars[name] for name in ("loss", "update_norm")})
      if number >= STEPS_AHEAD:  # as in training
        jax.block_until_ready(history[number - STEPS_AHEAD])
      bar.add()
  jax.block_until_ready(history)
  seconds = time.perf_counter() - began
  found = jax.device_get(history)
  finite = all(math.isfinite(value) for each in found for value in each.values())
  speed = (len(history) - WARM_UP) / seconds
  return state, _Timing(speed, float(found[-1]["loss"]), finite)


def _evaluation_seconds(experiment: pretrain.Pretrain, state: Any) -> float:
  """Seconds of an evaluation that is not the first, which compiles."""
  experiment.evaluate(state)
  began = time.perf_counter()
  experiment.evaluate(state)
  return time.perf_counter() - began


def _save_seconds(state: Any, folder: Path) -> float:
  """Seconds until a checkpoint is on disk."""
  place = folder if parallel.is_first_host() else None  # the others write nothing
  with tempfile.TemporaryDirectory(dir=place) as directory:
    checkpoints = Checkpoints(directory, keep=1)
    began = time.perf_counter()
    checkpoints.save(int(state.step), state)
    checkpoints.close()
    return time.perf_counter() - began


def _packages() -> dict[str, str]:
  """Name -> version of the packages through which accelerators are used."""
  installed = importlib.metadata.distributions()
  versions = {each.metadata["Name"]: each.version for each in installed}
  return {
    name: version
    for name, version in sorted(versions.items())
    if name.startswith(("jax", *_ACCELERATORS))
  }
