"""What evaluations by fine-tuning check and choose before their sweep."""

from collections.abc import Sequence

from absl import logging
from ml_collections import ConfigDict

from byol_jax.errors import UserError
from experiments import choices, dial
from experiments.downstream.frozen import Subject

# Beside those of `frozen`.
MAY_BE_OPEN = ("train.batch_size", "view.crop_area", "optimiser.statistics_decay")


def check_grid(**values: Sequence[float]) -> None:
  """Checks the values that a sweep chooses from, by their names in the config.

  Raises:
    UserError: one is there twice.
  """
  for name, several in values.items():
    # Folders of runs are named so.
    if len({f"{value:g}" for value in several}) < len(several):
      raise UserError(f"{name} have a number twice, to six digits: {tuple(several)}")


def with_choices(subject: Subject, train: str) -> Subject:
  """Chooses the settings of `MAY_BE_OPEN` that do not differ between the runs.

  Args:
    subject: what is evaluated.
    train: a split or part of it: all images to train on.
  """
  config = subject.config.copy_and_resolve_references()
  with config.unlocked(), config.ignore_type():
    if config.train.batch_size is None:
      images = subject.dataset.check(train)
      size, why = dial.evaluation_batch(config, images)
      config.train.batch_size = size
      logging.info("train.batch_size = %d: %s", size, why)
    if config.view.crop_area is None:
      size = subject.encoder.description.image.size
      config.view.crop_area, why = choices.crop_area(size)
      logging.info("view.crop_area = %s: %s", config.view.crop_area, why)
  return subject._replace(config=config)


def example(config: ConfigDict) -> ConfigDict:
  """A config with a value for each setting of `MAY_BE_OPEN`."""
  config.train.batch_size = 1024
  config.view.crop_area = (0.08, 1.0)
  config.optimiser.statistics_decay = 0.9
  return config
