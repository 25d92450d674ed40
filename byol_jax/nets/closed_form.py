"""Linear predictors that are computed from moments of embeddings, not learned.

A learned predictor lags behind the projections that it is to map. These are set after
each step, from moving averages over the batches so far, and so are at their optimum at
all times. As with a learned predictor, what an image is mapped to depends on batches
before its own and not on its own.
"""

from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from byol_jax.sphere import l2_normalise

Pair = tuple[jax.Array, jax.Array]

_HIGHEST = jax.lax.Precision.HIGHEST


class Moments(NamedTuple):
  """Moving averages that start at zero; their scale means nothing.

  DirectPred's code starts at the first batch instead, which for a few steps weighs more
  there: 1 / (1 - rho) times as much.

  Attributes:
    correlation: [P, P] of z z^T, z the online projections.
    cross: [P, P] of z z'^T, z' the direction of the other view's target.
  """

  correlation: jax.Array
  cross: jax.Array


def no_moments(outputs: int) -> Moments:
  """Those before the first batch, of embeddings of `outputs` dimensions."""
  shape = (outputs, outputs)
  return Moments(jnp.zeros(shape), jnp.zeros(shape))  # two: a step donates each


def decayed(moments: Moments | tuple[()], rho: float) -> Moments | tuple[()]:
  """rho times the moments, if there are any: what a step keeps of them, of [0, 1)."""
  return jax.tree.map(lambda old: rho * old, moments)


def added(
  moments: Moments,
  projections: Pair,
  targets: Pair,
  *,
  weight: float,
  axis: str | None = None,
) -> Moments:
  """The moments plus those of a batch, or a part of one, and its two views.

  Args:
    moments: of the steps before, `decayed`, and of the parts before.
    projections: z of view 1 and of view 2, [N, P] each.
    targets: z' of view 1 and of view 2; view 1 predicts view 2's, and the other way
      round.
    weight: of what is added: 1 - rho of a batch, a share of it of a part.
    axis: the device axis over which the batch is spread.
  """

  def of_batch(left: Pair, right: Pair) -> jax.Array:
    first, second = (
      jnp.matmul(a.T, b, precision=_HIGHEST) / len(a)
      for a, b in zip(left, right, strict=True)
    )
    mean = (first + second) / 2
    return mean if axis is None else jax.lax.pmean(mean, axis)

  directions = l2_normalise(targets[1]), l2_normalise(targets[0])
  batch = Moments(of_batch(projections, projections), of_batch(projections, directions))
  batch = jax.lax.stop_gradient(batch)
  return jax.tree.map(lambda old, new: old + weight * new, moments, batch)


def direct_pred(moments: Moments, epsilon: float) -> jax.Array:
  """U diag((lambda / max lambda)^(1/2) + epsilon) U^T of the correlation.

  Tian et al. 2021 (2102.06810), equations 18 and 19, in the form of their code, whose
  README has rho 0.3 and epsilon 0.01.
  """
  values, vectors = jnp.linalg.eigh(moments.correlation)
  values = jnp.maximum(values, 0)
  shares = values / _not_zero(values[-1])
  return jnp.matmul(
    vectors * (jnp.sqrt(shares) + epsilon), vectors.T, precision=_HIGHEST
  )


def direct_copy(moments: Moments, epsilon: float) -> jax.Array:
  """C / |C| + epsilon I, |C| the largest eigenvalue of the correlation C.

  Wang et al. 2021 (2110.04947), in the form of Halvagal et al.'s code, where epsilon is
  0.25: the same as `direct_pred` without the root.
  """
  correlation = moments.correlation
  largest = jnp.linalg.norm(correlation, ord=2)
  return correlation / _not_zero(largest) + epsilon * jnp.eye(len(correlation))


def least_squares(moments: Moments, epsilon: float) -> jax.Array:
  """(C + epsilon |C| I)^-1 M: the ridge regression of targets on projections.

  The predictor of BYOL's section 3.2 among linear maps, but for the ridge. Our own.
  """
  correlation = moments.correlation
  largest = _not_zero(jnp.linalg.norm(correlation, ord=2))
  ridge = correlation / largest + epsilon * jnp.eye(len(correlation))
  return jax.scipy.linalg.solve(ridge, moments.cross / largest, assume_a="pos")


def orthogonal(moments: Moments, epsilon: float) -> jax.Array:
  """The orthogonal map that brings projections nearest to targets (Procrustes).

  U V^T of the singular vectors of M + epsilon |M| I. Richemond et al. 2023 (2302.04817)
  argue that the best linear predictor is close to such a map; that this is one of their
  four is not known to us.
  """
  cross = moments.cross
  largest = jnp.linalg.norm(cross, ord=2)
  left, _, right = jnp.linalg.svd(
    cross / _not_zero(largest) + epsilon * jnp.eye(len(cross))
  )
  return jnp.matmul(left, right, precision=_HIGHEST)


def _not_zero(value: jax.Array) -> jax.Array:
  return jnp.where(value > 0, value, 1.0)


# Each maps (moments, epsilon) to W [P, P], which maps z to z W.
CLOSED_FORMS: dict[str, Callable[..., jax.Array]] = {
  "direct_pred": direct_pred,
  "direct_copy": direct_copy,
  "least_squares": least_squares,
  "orthogonal": orthogonal,
}


def with_predictor(params: hk.Params, weights: jax.Array) -> hk.Params:
  """The online parameters with the weights of their linear predictor replaced."""
  (module,) = (name for name in params if name.startswith("predictor/"))
  return dict(params) | {module: {"w": weights}}
