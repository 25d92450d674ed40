"""What evaluations by fine-tuning check and choose before their sweep."""

from collections.abc import Sequence

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from byol_jax import parallel
from byol_jax.data.labelled import labels_of
from byol_jax.data.parts import WithParts
from byol_jax.errors import UserError
from experiments import choices
from experiments.downstream.frozen import Subject, called

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


def labelled_alone(subject: Subject, train: str, *others: str) -> Subject:
  """With splits or parts of the same names that have only images with labels.

  Where images may be of several classes, all are left, and numbered.

  Args:
    subject: what is evaluated.
    train: a split or part to train on.
    others: further ones.

  Raises:
    UserError: one has no labels, or those to train on are of one class.
  """
  dataset, parts, several = subject.dataset, {}, False
  for name in (train, *others):
    truth = dataset.truth(name)
    if truth is None:
      labels = labels_of(dataset.split(name))
      known = np.flatnonzero(labels >= 0)
      classes, images = len(np.unique(labels[known])), len(labels)
    else:
      several, images, known = True, len(truth), np.arange(len(truth))
      classes = int(truth.any(axis=0).sum())
    if not classes:
      raise UserError(f"{called(name)} has no labels to evaluate with")
    if name == train and classes < 2:
      raise UserError(
        f"all images of {train!r} are of one class: name others as data.train"
      )
    if unknown := images - len(known):
      logging.warning(
        "%s: %d of %d images have no label, and are left out", name, unknown, images
      )
      parts[name] = name, known
  return subject._replace(dataset=WithParts(dataset, parts, numbered=several))


def with_choices(subject: Subject, train: str) -> Subject:
  """Chooses the settings of `MAY_BE_OPEN` that do not differ between the runs.

  Args:
    subject: what is evaluated.
    train: a split or part of it: all images to train on.
  """
  config = subject.config.copy_and_resolve_references()
  with config.unlocked(), config.ignore_type():
    if config.train.batch_size is None:
      size, why = choices.evaluation_batch(subject.dataset.check(train))
      unit = config.train.accumulate
      size = parallel.device_multiple(-(-size // unit)) * unit
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
