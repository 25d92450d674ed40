r"""A linear classifier on cached features of a frozen encoder, for small machines.

  python -m byol_jax.main --config=configs/linear_cached.py:cifar10 --config.encoder=RUN

It is linear evaluation (configs/linear_eval.py) but for one thing: images are not
augmented. Features of their central crops are computed once, and all epochs of SGD take
these. That is not the paper's protocol, and not its accuracy: results are recorded as
"linear_cached", and belong beside others of that name alone.
"""

from ml_collections import ConfigDict

from configs import evaluations, linear_eval


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of a preset, embedded if none is given."""
  preset = preset or "embedded"
  config = evaluations.base("linear_cached", preset)
  config.update(linear_eval.classifier(preset))
  config.train.epochs = 80.0
  return config
