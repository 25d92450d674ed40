"""The objective and the target that a config names; what means nothing is refused."""

from collections.abc import Callable

import jax
import ml_collections

from byol_jax import objectives, optim, parallel
from byol_jax.errors import UserError

TARGETS = ("ema", "online")


def loss_from_config(
  config: ml_collections.ConfigDict,
) -> Callable[[objectives.Outputs], jax.Array]:
  """The loss of `config.objective`, over all devices.

  Raises:
    UserError: it is unknown, or compares what the config's networks do not have.
  """
  settings, kind = config.objective, config.target.kind
  name = settings.name
  loss = objectives.make_loss(name, parallel.AXIS, **settings.get(name, {}))
  if kind not in TARGETS:
    raise UserError(f"unknown target.kind {kind!r}; choose {' or '.join(TARGETS)}")
  objective = objectives.OBJECTIVES[name]
  has_target, has_predictor = kind == "ema", config.predictor.depth > 0
  if objective.target not in (None, has_target):
    wants, kind = ("needs a", "ema") if objective.target else ("takes no", "online")
    raise UserError(f"{name} {wants} target network: set target.kind={kind}")
  if objective.predictor not in (None, has_predictor):
    raise UserError(
      f"{name} needs a predictor: set predictor.depth to 1 or more"
      if objective.predictor
      else f"{name} takes no predictor: set predictor.depth=0 and predictor.norm=none"
    )
  return loss


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
