"""Runs that were never trained, with a checkpoint."""

import jax
import jax.numpy as jnp

from byol_jax.run.checkpoints import Checkpoints
from byol_jax.run.folder import RunDir
from experiments import pretrain


def run(folder, config, step=2):
  """Leaves a run at a step, its state as it is drawn with all leaves moved by 1/8.

  Returns:
    The state.
  """
  experiment = pretrain.Pretrain(config)
  state = jax.tree.map(_moved, experiment.init())._replace(step=jnp.int32(step))
  with RunDir(folder) as run_dir:
    run_dir.claim(experiment.config, experiment.inputs.dataset.listing())
    checkpoints = Checkpoints(run_dir.checkpoints)
    checkpoints.save(step, state, {"score": 0.5})
    checkpoints.close()
    run_dir.rewind(-1)
    for number in range(step + 2):  # it went on, and was killed
      run_dir.log(number, {"loss": 0.1 * number, "seconds": 10.0 * number})
  return state


def _moved(leaf):
  return leaf + 0.125 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
