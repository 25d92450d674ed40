"""Losses on the two networks' outputs for both views of N images.

An objective is a function of `Outputs`, of the device axis over which the batch
is spread (None for a batch in one place) and of its own settings; it returns
the mean over the images of this device, or that with a dictionary of scalars that are
worth watching beside it. `OBJECTIVES` has them by name, with what each needs of a
config.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from byol_jax.errors import UserError, no_such
from byol_jax.sphere import l2_normalise
from byol_jax.valid import NOT_NEGATIVE, POSITIVE, TRUE_OR_FALSE, Valid, one_of

Pair = tuple[jax.Array, jax.Array]  # of view 1 and of view 2, each [N, D]
Parts = dict[str, jax.Array]  # scalars beside a loss, such as its terms


class Outputs(NamedTuple):
  """What an objective compares.

  Attributes:
    predictions: q(z) of the online network; its projections z where it has no
      predictor.
    targets: z' of the target network; the online network's own projections,
      gradient and all, where there is no target network.
    projections: z of the online network, which predictions are of.
  """

  predictions: Pair
  targets: Pair
  projections: Pair


def regression(prediction: jax.Array, projection: jax.Array) -> jax.Array:
  """|q_bar - z_bar|^2 = 2 - 2 cos(q, z) for each image (BYOL, equation 2).

  Args:
    prediction: [N, D] q.
    projection: [N, D] z.

  Returns:
    [N], in [0, 4].
  """
  return _distance(l2_normalise(prediction), l2_normalise(projection))


def _distance(a: jax.Array, b: jax.Array) -> jax.Array:
  chex.assert_rank([a, b], 2)
  chex.assert_equal_shape([a, b])
  return jnp.sum(jnp.square(a - b), axis=-1)


def byol(
  outputs: Outputs,
  axis: str | None = None,
  normalise: str = "l2",
  centre_targets: bool = False,
) -> jax.Array:
  """The sum, not the mean, of both directions (BYOL, section 3.1).

  Args:
    outputs: of both networks.
    axis: matters to `normalise="batch"` and `centre_targets` alone.
    normalise: a key of `NORMALISATIONS` (BYOL, table 20).
    centre_targets: whether the mean over the whole batch is taken off the targets of
      each view first: a batch statistic, and the only one in a network without. Not in
      the papers.

  Returns:
    A scalar, in [0, 8] for "l2".
  """
  scale = NORMALISATIONS[normalise]
  predictions, targets, _ = outputs
  if centre_targets:
    targets = jax.tree.map(lambda z: z - _batch_mean(z, axis), targets)
  (q1, q2), (z1, z2) = jax.tree.map(lambda x: scale(x, axis), (predictions, targets))
  return jnp.mean(_distance(q1, z2) + _distance(q2, z1))


def isoloss(outputs: Outputs, axis: str | None = None) -> jax.Array:
  """BYOL's loss, its gradient handed past a linear predictor in closed form.

  IsoLoss (Halvagal et al. 2023, 2212.04858) takes from the gradient the eigenvalues by
  which such a predictor W scales it, so that all directions learn equally fast. As W is
  symmetric and their loss has z W z^T for |z W^(1/2)|^2, its gradient in z is that of
  BYOL's loss in z W.

  Returns:
    A scalar in [0, 8], the same as `byol`'s.
  """
  past = jax.tree.map(
    lambda q, z: z + jax.lax.stop_gradient(q - z),
    outputs.predictions,
    outputs.projections,
  )
  return byol(outputs._replace(predictions=past), axis)


def raft(
  outputs: Outputs, axis: str | None = None, alpha: float = 1.0, beta: float = 1.0
) -> jax.Array:
  """Run away from the mean teacher (Shi et al., 2011.10944, equation 9).

  alpha L_align - beta L_cross, where alignment is between the predictions of
  the two views, and the cross-model loss, averaged over the views, between the
  prediction and the target of one and the same view.

  Returns:
    A scalar in [-4 beta, 4 alpha].
  """
  return _align_and_cross(outputs, axis, alpha, -beta)


def byol_prime(
  outputs: Outputs, axis: str | None = None, alpha: float = 1.0, beta: float = 1.0
) -> jax.Array:
  """BYOL': alpha L_align + beta L_cross (Shi et al., 2011.10944, equation 7).

  An upper bound of BYOL's loss up to a factor (theorem 4.1): one direction of
  it is at most (1 / alpha + 1 / beta) times this.

  Returns:
    A scalar in [0, 4 (alpha + beta)].
  """
  return _align_and_cross(outputs, axis, alpha, beta)


def _align_and_cross(
  outputs: Outputs, axis: str | None, alpha: float, beta: float
) -> jax.Array:
  del axis
  (q1, q2), (z1, z2), _ = outputs
  cross = (regression(q1, z1) + regression(q2, z2)) / 2
  return jnp.mean(alpha * regression(q1, q2) + beta * cross)


def simclr(
  outputs: Outputs, axis: str | None = None, temperature: float = 0.1
) -> jax.Array:
  """NT-Xent (Chen et al., 2002.05709, equation 1).

  For each of the 2 N views, the cross-entropy of finding the other view of its
  image among all other views of the whole batch, over all devices.

  Returns:
    The mean over this device's views, at least 0.
  """
  return _contrast(outputs, axis, temperature, 1.0) / 2


def info_nce(
  outputs: Outputs,
  axis: str | None = None,
  temperature: float = 0.1,
  beta: float = 1.0,
) -> jax.Array:
  """From BYOL (beta 0) to SimCLR (beta 1): BYOL, equations 8 and 9.

  The negated InfoNCE of the paper for both directions, plus 4, so that `byol`
  is what is left at beta 0. At beta 1 without predictor and target it is
  4 temperature NT-Xent + 4.
  """
  return 4 + 2 * temperature * _contrast(outputs, axis, temperature, beta)


def _contrast(
  outputs: Outputs, axis: str | None, temperature: float, beta: float
) -> jax.Array:
  """-S / temperature + beta log(sum over the others), both directions added."""
  (q1, q2), (z1, z2), _ = jax.tree.map(l2_normalise, outputs)
  all1, all2 = (_gather(z, axis) for z in (z1, z2))
  rows, columns = q1.shape[0], all1.shape[0]
  first = 0 if axis is None else jax.lax.axis_index(axis) * rows
  itself = jnp.arange(columns) == first + jnp.arange(rows)[:, None]

  def direction(
    q: jax.Array, positive: jax.Array, same_view: jax.Array, other_view: jax.Array
  ) -> jax.Array:
    same, other = (
      jnp.matmul(q, z.T, precision=jax.lax.Precision.HIGHEST) / temperature
      for z in (same_view, other_view)
    )
    same = jnp.where(itself, -jnp.inf, same)
    others = jax.nn.logsumexp(jnp.concatenate([same, other], axis=1), axis=1)
    return jnp.mean(beta * others - jnp.sum(q * positive, axis=1) / temperature)

  return direction(q1, z2, all1, all2) + direction(q2, z1, all2, all1)


def _gather(x: jax.Array, axis: str | None) -> jax.Array:
  return x if axis is None else jax.lax.all_gather(x, axis, tiled=True)


def _layer(x: jax.Array, axis: str | None) -> jax.Array:
  del axis
  return _whiten(x, x.mean(-1, keepdims=True), x.var(-1, keepdims=True))


def _batch(x: jax.Array, axis: str | None) -> jax.Array:
  centre = _batch_mean(x, axis)
  return _whiten(x, centre, _batch_mean(jnp.square(x - centre), axis))


def _batch_mean(x: jax.Array, axis: str | None) -> jax.Array:
  local = jnp.mean(x, axis=0)
  return local if axis is None else jax.lax.pmean(local, axis)


def _whiten(x: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
  """To a length of about 1: deviation 1 / sqrt(D) in each dimension."""
  return (x - mean) * jax.lax.rsqrt(x.shape[-1] * (variance + 1e-5))


# BYOL, table 20: what is done to predictions and targets before their distance.
NORMALISATIONS: dict[str, Callable[[jax.Array, str | None], jax.Array]] = {
  "l2": lambda x, _: l2_normalise(x),
  "layer": _layer,
  "batch": _batch,
  "none": lambda x, _: x,
}


class Objective(NamedTuple):
  """An objective, and what it needs.

  Attributes:
    loss: (outputs, axis, **settings) -> a scalar, or (a scalar, `Parts`); its keywords
      are its settings.
    settings: what each setting must be, where not any value will do.
    target: whether there must be a target network (True) or none (False); None
      where either will do.
    predictor: the same of a predictor.
    closed_form: whether the predictor must be one in closed form.
  """

  loss: Callable[..., jax.Array | tuple[jax.Array, Parts]]
  settings: Mapping[str, Valid] = {}
  target: bool | None = None
  predictor: bool | None = None
  closed_form: bool = False


_ALPHA_BETA = {"alpha": POSITIVE, "beta": NOT_NEGATIVE}
_TEMPERATURE = {"temperature": POSITIVE}

OBJECTIVES: dict[str, Objective] = {
  "byol": Objective(
    byol, {"normalise": one_of(NORMALISATIONS), "centre_targets": TRUE_OR_FALSE}
  ),
  "isoloss": Objective(isoloss, target=True, predictor=True, closed_form=True),
  "byol_prime": Objective(byol_prime, _ALPHA_BETA, target=True),
  "raft": Objective(raft, _ALPHA_BETA, target=True),
  "simclr": Objective(simclr, _TEMPERATURE, target=False, predictor=False),
  "info_nce": Objective(info_nce, _TEMPERATURE | {"beta": NOT_NEGATIVE}),
}


def make_loss(
  name: str, axis: str | None = None, **settings: Any
) -> Callable[[Outputs], tuple[jax.Array, Parts]]:
  """The loss of the objective of that name, with its settings: (loss, its parts).

  Raises:
    UserError: there is none of that name, or it cannot be computed with these
      settings.
  """
  if name not in OBJECTIVES:
    raise no_such("objective", name, OBJECTIVES)
  objective = OBJECTIVES[name]
  try:
    inspect.signature(objective.loss).bind(None, axis, **settings)
  except TypeError as error:
    raise UserError(f"objective.{name}: {error}; correct its settings") from error
  for setting, valid in objective.settings.items():
    if setting in settings and settings[setting] not in valid:
      raise UserError(
        f"objective.{name}.{setting} is {settings[setting]!r}: give {valid.words}"
      )

  def loss(outputs: Outputs) -> tuple[jax.Array, Parts]:
    found = objective.loss(outputs, axis, **settings)
    return found if isinstance(found, tuple) else (found, {})

  return loss
