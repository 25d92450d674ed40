"""What an image's companions in the batch do to its prediction and its gradient.

Group norm, and no norm, see an image alone; batch norm sees it through the others.
Measured on the trained networks of the arms, on real views: one batch, and the same
batch with all images but the first replaced by others.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from byol_jax import parallel
from byol_jax.run import stored
from experiments import pretrain
from reproduce import arms, work


def measure(root: Path, data_dir: str | None) -> dict[str, Any]:
  """For each arm, how far its companions move the first image; {} until all have run.

  Returns:
    "prediction": distance on the unit sphere, 2 at most; "gradient": that of the
    prediction's sum to the parameters, relative to its length.

  Raises:
    UserError: there is a run of another config.
  """
  firsts = {name: arms.first(name) for name in arms.STUDIES["independence"]}
  if not all((r.folder(root) / "summary.json").exists() for r in firsts.values()):
    return {}
  return {name: _of(run, root, data_dir) for name, run in firsts.items()}


def _of(run: arms.Run, root: Path, data_dir: str | None) -> dict[str, float]:
  work.check_folder(run, root, data_dir)
  folder = run.folder(root)
  experiment = pretrain.Pretrain(run.config(data_dir))
  start = jax.eval_shape(experiment.init)
  shapes = {"online": start.online, "online_stats": start.online_stats}
  _, state = stored.load(folder, shapes)
  batches = experiment.batches(0)
  images = [experiment.inputs.standardise(_view(next(batches))) for _ in range(2)]
  companions = jnp.concatenate([images[0][:1], images[1][1:]])

  def first(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The first image's prediction on the unit sphere, and a sum to differentiate."""
    outputs, _ = experiment.networks.online(params, state["online_stats"], images, True)
    prediction = outputs.prediction[0] / jnp.linalg.norm(outputs.prediction[0])
    return prediction.sum(), prediction

  def differentiate(images: jax.Array) -> tuple[Any, jax.Array]:
    # An axis of one, as on one device.
    over = jax.vmap(jax.grad(first, has_aux=True), (None, 0), axis_name=parallel.AXIS)
    return jax.jit(over)(state["online"], images[None])

  gradient, prediction = differentiate(images[0])
  other_gradient, other_prediction = differentiate(companions)
  change = optax.tree.norm(optax.tree.sub(other_gradient, gradient))
  return {
    "prediction": float(jnp.linalg.norm(other_prediction - prediction)),
    "gradient": float(change / optax.tree.norm(gradient)),
  }


def _view(batch: Any) -> jax.Array:
  """View 1 of one device's images, in [0, 1], without random colours."""
  return jnp.float32(batch["view1"][0, 0]) / 255
