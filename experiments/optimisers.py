"""The optimiser that a config names, and its learning rate."""

import ml_collections
import optax

from byol_jax import optim


def from_config(
  config: ml_collections.ConfigDict,
) -> tuple[optax.GradientTransformation, optim.Schedule]:
  """Makes the optimiser of `config.optimiser` for the run of `config.train`.

  The learning rate is per 256 images where `scale_with_batch` is set, as in
  BYOL, section 3.3, and the rate itself where it is not.

  Raises:
    UserError: the optimiser has no such setting.
  """
  settings, train = config.optimiser, config.train
  scale = train.batch_size / 256 if settings.scale_with_batch else 1.0
  learning_rate = optim.make_schedule(
    settings.schedule, settings.learning_rate * scale, settings.warmup, train.steps
  )
  optimiser = optim.make_optimiser(
    settings.name,
    learning_rate,
    settings.predictor_multiplier,
    **settings.get(settings.name, {}),
  )
  return optimiser, learning_rate
