"""Optimisers in BYOL's form, their masks and schedules, and the target's EMA."""

from collections.abc import Callable
from typing import Any

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

from byol_jax.errors import UserError, no_such

Schedule = Callable[[chex.Numeric], chex.Numeric]

# Names of the parameters that are neither adapted by LARS nor decayed: biases,
# and every norm's scale and offset, whatever its module is called.
EXCLUDED = ("b", "scale", "offset")


def weights_mask(params: hk.Params) -> dict[str, dict[str, bool]]:
  """True for weights, False for biases and the parameters of norms."""
  return {
    module: {name: name not in EXCLUDED for name in values}
    for module, values in params.items()
  }


def warmup_cosine(peak: float, warmup: float, total_steps: int) -> Schedule:
  """Linear from 0 to `peak`, then half a cosine to 0 (BYOL, section 3.3).

  Args:
    peak: the highest rate, reached at the end of the warm-up.
    warmup: the share of the steps that it takes, in [0, 1).
    total_steps: steps of the run.

  Raises:
    UserError: `warmup` is outside of its range.
  """
  warmup_steps = _warmup_steps(warmup, total_steps)
  if warmup_steps == 0:
    return optax.cosine_decay_schedule(peak, total_steps)
  return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, total_steps)


def warmup_constant(rate: float, warmup: float, total_steps: int) -> Schedule:
  """Linear from 0 to `rate` over the share `warmup` of the steps, then constant."""
  warmup_steps = _warmup_steps(warmup, total_steps)
  if warmup_steps == 0:
    return optax.constant_schedule(rate)
  return optax.linear_schedule(0.0, rate, warmup_steps)


def _warmup_steps(warmup: float, total_steps: int) -> int:
  if not 0 <= warmup < 1:
    raise UserError(f"warm-up is {warmup}: give a share of all steps, in [0, 1)")
  return share_of_steps(warmup, total_steps)


def share_of_steps(share: float, total_steps: int) -> int:
  """How many steps a share in [0, 1) of all steps is, rounded down: never all."""
  # A share such as 1 / 100 of 312 784 steps must not lose a step to rounding.
  return min(int(share * total_steps + 1e-6), total_steps - 1)


SCHEDULES = {"cosine": warmup_cosine, "constant": warmup_constant}


def make_schedule(name: str, peak: float, warmup: float, total_steps: int) -> Schedule:
  """The learning rate's schedule of that name.

  Raises:
    UserError: there is none of that name, or `warmup` is outside of its range.
  """
  if name not in SCHEDULES:
    raise no_such("schedule of the learning rate", name, SCHEDULES)
  return SCHEDULES[name](peak, warmup, total_steps)


def tau_schedule(base: float, total_steps: int) -> Schedule:
  """tau_k = 1 - (1 - base) (1 + cos(pi k / K)) / 2 (BYOL, section 3.3).

  From `base` at step 0 to 1 at `total_steps`.
  """
  return lambda step: (
    1.0 - (1.0 - base) * (1.0 + jnp.cos(jnp.pi * step / total_steps)) / 2.0
  )


def renewals(tau: Schedule, total_steps: int) -> np.ndarray:
  """How often the target has been renewed after 0, 1, ... steps: the sum of 1 - tau.

  Far below 1 over a whole run, the target is hardly but what it was drawn as; BYOL's
  300 epochs come to 469 (from its schedule).

  Returns:
    [total_steps + 1], from 0.
  """
  shares = 1 - np.broadcast_to(tau(np.arange(total_steps)), total_steps)
  return np.append(0, np.cumsum(shares, dtype=np.float64))


def ema_update(target: hk.Params, online: hk.Params, tau: chex.Numeric) -> hk.Params:
  """xi <- tau xi + (1 - tau) theta (BYOL, equation 1)."""
  return optax.incremental_update(online, target, 1.0 - tau)


def lars(
  learning_rate: Schedule,
  weight_decay: float = 1.5e-6,
  momentum: float = 0.9,
  trust_coefficient: float = 1e-3,
) -> optax.GradientTransformation:
  """LARS (You et al., 1708.03888) in the order of BYOL's reference code.

  u = g + wd p;  u <- u eta |p| / |u|;  m <- momentum m + u;  p <- p - lr m,
  the first two steps for weights alone. `optax.lars` multiplies by the learning
  rate before the momentum, which differs as soon as the rate moves.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay, weights_mask),
    optax.masked(
      optax.scale_by_trust_ratio(trust_coefficient=trust_coefficient), weights_mask
    ),
    optax.trace(momentum),
    optax.scale_by_learning_rate(learning_rate),
  )


def sgd(
  learning_rate: Schedule, weight_decay: chex.Numeric = 0.0, momentum: float = 0.9
) -> optax.GradientTransformation:
  """SGD with Nesterov momentum, the optimiser of BYOL's evaluations (App. C)."""
  return optax.chain(
    optax.add_decayed_weights(weight_decay, weights_mask),
    optax.sgd(learning_rate, momentum, nesterov=True),
  )


def adam(
  learning_rate: Schedule, weight_decay: float = 0.0
) -> optax.GradientTransformation:
  """Adam, with decoupled weight decay where one is given."""
  return optax.adamw(learning_rate, weight_decay=weight_decay, mask=weights_mask)


OPTIMISERS = {"lars": lars, "sgd": sgd, "adam": adam}


def scale_predictor(multiplier: float) -> optax.GradientTransformation:
  """Multiplies the predictor's updates, as in BYOL's ablation (table 21)."""
  return optax.masked(
    optax.scale(multiplier),
    lambda params: {module: module.startswith("predictor/") for module in params},
  )


def make_optimiser(
  name: str,
  learning_rate: Schedule,
  predictor_multiplier: float = 1.0,
  **settings: Any,
) -> optax.GradientTransformation:
  """The optimiser of that name, the predictor's rate multiplied.

  Raises:
    UserError: for a name that is not in `OPTIMISERS`, or a setting that the
      optimiser does not have.
  """
  if name not in OPTIMISERS:
    raise no_such("optimiser", name, OPTIMISERS)
  try:
    optimiser = OPTIMISERS[name](learning_rate, **settings)
  except TypeError as error:
    raise UserError(f"optimiser {name!r}: {error}; remove that setting") from error
  if predictor_multiplier == 1.0:
    return optimiser
  return optax.chain(optimiser, scale_predictor(predictor_multiplier))


def accumulate(
  gradients: Callable, params: hk.Params, carry: chex.ArrayTree, batch: chex.ArrayTree
) -> tuple[hk.Params, tuple[chex.ArrayTree, chex.ArrayTree]]:
  """Averages gradients over the microbatches of a batch.

  That is as if it were taken whole, but for what looks at several images: batch norm,
  negatives, centred targets.

  Args:
    gradients: (params, carry, microbatch) -> (gradients, (carry, scalars)).
    params: what is differentiated.
    carry: what is handed from microbatch to microbatch, such as running statistics.
    batch: leaves [microbatches, ...].

  Returns:
    (gradients, (carry, scalars)): means over the microbatches, and the last carry.
  """
  microbatches = jax.tree.leaves(batch)[0].shape[0]
  if microbatches == 1:
    return gradients(params, carry, jax.tree.map(lambda x: x[0], batch))

  def body(
    state: tuple[hk.Params, chex.ArrayTree], microbatch: chex.ArrayTree
  ) -> tuple[tuple[hk.Params, chex.ArrayTree], chex.ArrayTree]:
    total, carry = state
    grads, (carry, scalars) = gradients(params, carry, microbatch)
    return (jax.tree.map(jnp.add, total, grads), carry), scalars

  start = jax.tree.map(jnp.zeros_like, params), carry
  (total, carry), scalars = jax.lax.scan(body, start, batch)
  mean = jax.tree.map(lambda x: x / microbatches, total)
  return mean, (carry, jax.tree.map(lambda x: x.mean(0), scalars))
