"""What objective, target and predictor a config names; nonsense is refused."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections

from byol_jax import objectives, optim, parallel
from byol_jax.errors import UserError
from byol_jax.nets.closed_form import CLOSED_FORMS, Moments

TARGETS = ("ema", "online")
TAU_SCHEDULES: dict[str, Callable[[float, int], optim.Schedule]] = {
  "cosine": optim.tau_schedule,
  "constant": lambda tau, _: lambda step: tau,
}


def loss_from_config(
  config: ml_collections.ConfigDict,
) -> Callable[[objectives.Outputs], tuple[jax.Array, objectives.Parts]]:
  """The loss of `config.objective`, over all devices.

  Raises:
    UserError: it compares what the config's networks do not have.
  """
  settings, kind = config.objective, config.target.kind
  name = settings.name
  loss = objectives.make_loss(name, parallel.AXIS, **settings.get(name, {}))
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
  if objective.closed_form and config.closed_form.name == "none":
    raise UserError(
      f"{name} needs a predictor in closed form: set closed_form.name to one of"
      f" {', '.join(CLOSED_FORMS)}"
    )
  return loss


def tau_from_config(config: ml_collections.ConfigDict) -> optim.Schedule:
  """tau of `config.target`: 1 while it is frozen, then its schedule over the rest."""
  target, steps = config.target, config.train.steps
  frozen = optim.share_of_steps(target.frozen, steps)
  moving = TAU_SCHEDULES[target.schedule](target.tau, steps - frozen)
  if not frozen:
    return moving
  return lambda step: jnp.where(step < frozen, 1.0, moving(step - frozen))


def closed_form_from_config(
  config: ml_collections.ConfigDict,
) -> Callable[[Moments], jax.Array] | None:
  """What makes the predictor's weights of moments; None for one that is learned.

  Raises:
    UserError: the predictor cannot be that.
  """
  settings, predictor = config.closed_form, config.predictor
  if settings.name == "none":
    return None
  if predictor.depth != 1 or predictor.standardised:
    raise UserError(
      "a predictor in closed form is one plain linear layer: set predictor.depth=1,"
      " predictor.norm=none and predictor.standardised=False"
    )
  return functools.partial(CLOSED_FORMS[settings.name], epsilon=settings.epsilon)
