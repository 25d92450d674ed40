"""Losses on the outputs of the online and target networks for two views."""

import chex
import jax
import jax.numpy as jnp

from byol_jax.diagnostics import l2_normalise


def regression(prediction: jax.Array, projection: jax.Array) -> jax.Array:
  """|q_bar - z_bar|^2 = 2 - 2 cos(q, z) for each image (BYOL, equation 2).

  Args:
    prediction: [N, D] q, of the online network.
    projection: [N, D] z', of the target network.

  Returns:
    [N], in [0, 4].
  """
  chex.assert_rank([prediction, projection], 2)
  chex.assert_equal_shape([prediction, projection])
  difference = l2_normalise(prediction) - l2_normalise(projection)
  return jnp.sum(jnp.square(difference), axis=-1)


def byol(
  predictions: tuple[jax.Array, jax.Array], targets: tuple[jax.Array, jax.Array]
) -> jax.Array:
  """BYOL's loss: the sum, not the mean, of both directions (section 3.1).

  Args:
    predictions: the online network's predictions of view 1 and view 2, [N, D].
    targets: the target network's projections of view 1 and view 2, [N, D]; no
      gradient flows into them.

  Returns:
    The mean over the images, in [0, 8].
  """
  target1, target2 = jax.lax.stop_gradient(targets)
  first = regression(predictions[0], target2)
  second = regression(predictions[1], target1)
  return jnp.mean(first + second)
