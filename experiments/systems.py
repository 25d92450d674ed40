"""The objective and the target that a config names; what means nothing is refused."""

from collections.abc import Callable

import jax
import ml_collections

from byol_jax import objectives, optim, parallel
from byol_jax.errors import UserError


def objective_from_config(
  config: ml_collections.ConfigDict,
) -> Callable[[objectives.Outputs], jax.Array]:
  """The objective of `config.objective`, over all devices.

  Raises:
    UserError: it is unknown, or compares what the config's networks do not have.
  """
  settings, target = config.objective, config.target
  name = settings.name
  objective = objectives.make_objective(name, parallel.AXIS, **settings.get(name, {}))
  if target.kind not in ("ema", "online"):
    raise UserError(f"unknown target.kind {target.kind!r}; choose ema or online")
  if name in ("raft", "byol_prime") and target.kind != "ema":
    raise UserError(
      f"{name} needs a mean teacher, and target.kind={target.kind} has none: set"
      " target.kind=ema"
    )
  if name == "simclr" and (target.kind != "online" or config.predictor.depth):
    raise UserError(
      "simclr has neither a target network nor a predictor: set target.kind=online,"
      " predictor.depth=0 and predictor.norm=none, or objective.name=info_nce"
    )
  return objective


def tau_from_config(config: ml_collections.ConfigDict) -> optim.Schedule:
  """tau of `config.target`, which rises to 1 or stays as it is.

  Raises:
    UserError: it is none.
  """
  target = config.target
  if not 0 <= target.tau <= 1:
    raise UserError(f"target.tau is {target.tau}: give a value in [0, 1]")
  if target.schedule == "constant":
    return lambda step: target.tau
  if target.schedule == "cosine":
    return optim.tau_schedule(target.tau, config.train.steps)
  raise UserError(
    f"unknown target.schedule {target.schedule!r}; choose cosine or constant"
  )
