"""Batch norm as an initialisation (Richemond et al., 2010.10241, section 3.2).

One forward pass of the network with batch norms gives the statistics of each
layer. The batch norms are then replaced by scale and offset alone, set so that
the network computes the same on that batch; they stay trainable, and no batch
statistics are used from there on.

The paper says that scale and offset are kept and the statistics used once; that
they are folded into scale and offset is our reading of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from byol_jax.errors import UserError
from byol_jax.nets.layers import EPSILON


def with_batch_norm(description: Mapping[str, Any]) -> dict[str, Any]:
  """A component's description, its affines made batch norms.

  Raises:
    UserError: it has norms of another kind.
  """
  norm = description["norm"]
  if norm not in ("affine", "none"):
    raise UserError(
      f"bn_init takes affines alone, and a norm is {norm!r}: set norm=affine in"
      " encoder, projector and predictor"
    )
  return dict(description) | {"norm": "batch" if norm == "affine" else norm}


def calibrate(
  forward: Callable[..., tuple[Any, hk.State]],
  stats: hk.State,
  params: hk.Params,
  images: jax.Array,
) -> hk.Params:
  """Sets an affine network's scales and offsets by its twin with batch norms.

  Args:
    forward: the twin, (params, stats, images, is_training) -> (outputs, stats);
      under a device axis its batch norms pool over it.
    stats: the twin's running statistics as they start, arrays or shapes.
    params: of the affine network.
    images: [N, H, W, C] one device's.

  Returns:
    `params`, with gamma / sigma for each scale gamma and beta - mu gamma / sigma
    for each offset beta, mu and sigma of the twin's activations there.
  """
  stats = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), stats)
  twin = {_twin_name(module): values for module, values in params.items()}
  _, stats = forward(twin, stats, images, True)

  def folded(module: str, values: Mapping[str, jax.Array]) -> Mapping[str, jax.Array]:
    averages = f"{_twin_name(module)}/~/"
    if f"{averages}mean_ema" not in stats:
      return values
    mean = stats[f"{averages}mean_ema"]["average"]
    variance = stats[f"{averages}var_ema"]["average"]
    scale = values["scale"] * jax.lax.rsqrt(variance + EPSILON)
    return {"scale": scale, "offset": values["offset"] - mean * scale}

  return {module: folded(module, values) for module, values in params.items()}


def _twin_name(module: str) -> str:
  return module.replace("affinenorm", "batchnorm")
