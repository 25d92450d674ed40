"""Fine-tuning on a share of the labels: see configs/semi_supervised.py."""

from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from byol_jax.data.labelled import balanced, labels_of
from byol_jax.data.parts import WithParts
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir
from configs import semi_supervised
from experiments.downstream import (
  classifiers,
  encoders,
  frozen,
  outcomes,
  sweep,
  tuning,
)
from experiments.downstream.frozen import Subject
from experiments.downstream.sweep import Splits, Sweep, Trial
from experiments.labels import FIT, HELD_OUT, warn_of_unseen

LABELLED = "with labels"
_SPLITS = Splits(FIT, HELD_OUT, LABELLED)
# Share of ImageNet's labels -> the set of tensorflow-datasets with SimCLR's list.
_PUBLISHED = {0.01: "imagenet2012_subset/1pct", 0.1: "imagenet2012_subset/10pct"}
_MOST_HELD_OUT = 10_009  # BYOL, App. C.1, of all of ImageNet


def run(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  """Evaluates one encoder or several; the summary."""
  example = tuning.example(semi_supervised.get_config())
  frozen.check(config, example, tuning.MAY_BE_OPEN)
  _check(config)
  return encoders.each(config, run_dir, _evaluate)


def _check(config: ConfigDict) -> None:
  tuning.check_grid(rates=config.rates, epochs=config.epochs)
  if config.data.valid is not None:
    raise UserError(
      f"data.valid is {config.data.valid!r}, and settings are chosen by labelled images"
      " that are held out: leave it out, or give data.held_out"
    )


def _evaluate(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  trials = [
    Trial(each, rate=each["rate"], epochs=each["epochs"])
    for each in sweep.grid(rate=config.rates, epochs=config.epochs)
  ]
  subject = _with_labelled(_published(config), run_dir, len(trials) > 1)
  images = subject.dataset.check(LABELLED)
  runs = Sweep(subject, trials, _SPLITS, classifiers.METRICS)
  with outcomes.begun(subject) as summary:
    if not summary:
      found = runs.run()
      summary = {
        "semi_supervised": {"encoder": found.test["top_1"]},
        "semi_supervised_top5": {"encoder": found.test["top_5"]},
        "labels": config.data.labels,
        **found.trial.setting,
        "labelled_images": images,
        "test_images": found.test_images,
        "sweep": found.of_all,
      }
    # Also of a complete run: results may go to another file by now.
    setting = ("labels", "rate", "epochs")
    classifiers.record(subject, "semi_supervised", summary, setting)
    return outcomes.ended(subject, summary)


def _published(config: ConfigDict) -> ConfigDict:
  """With the published list in place of ImageNet, where there is one.

  Raises:
    UserError: the config names the list of another share.
  """
  name, labels = config.data.name.partition(":")[0], config.data.labels
  for share, of_list in _PUBLISHED.items():
    if name == of_list and labels != share:
      raise UserError(
        f"{name} has {share:g} of ImageNet's labels, and data.labels is {labels:g}:"
        f" give data.labels={share:g}, or data.name=imagenet2012"
      )
  if name != "imagenet2012" or labels not in _PUBLISHED:
    return config
  config = config.copy_and_resolve_references()
  config.data.name = _PUBLISHED[labels]
  return config


def _with_labelled(config: ConfigDict, run_dir: RunDir, choose: bool) -> Subject:
  """Opens everything, with the part `LABELLED` and, to choose by, `FIT` and `HELD_OUT`.

  Raises:
    UserError: there are too few labels, or too few classes.
  """
  subject = frozen.subject(config, run_dir)
  train = subject.config.data.train
  subject = subject.labelled_alone(train, subject.config.data.test)
  dataset = subject.dataset
  labels = labels_of(dataset.split(train))
  test = subject.config.data.test
  warn_of_unseen(test, labels_of(dataset.split(test)), labels)
  is_list = dataset.name.partition(":")[0] in _PUBLISHED.values()
  share = 1.0 if is_list else config.data.labels
  chosen = _labelled(labels, share, config.seed)
  places = {LABELLED: chosen}
  if choose:
    count = _held_out_count(labels[chosen], config.data.held_out)
    held_out = balanced(labels[chosen], count, config.seed, keep=1)
    places |= {FIT: np.delete(chosen, held_out), HELD_OUT: chosen[held_out]}
    logging.info(
      "%d of %d labelled images are held out, to choose by", count, len(chosen)
    )
  parts = {name: (train, of_part) for name, of_part in places.items()}
  subject = subject._replace(dataset=WithParts(dataset, parts))
  if choose:
    subject.check_classes({part: labels[places[part]] for part in (FIT, HELD_OUT)})
  return tuning.with_choices(subject, LABELLED)


def _labelled(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
  """Places of the images to train on."""
  classes, count = len(np.unique(labels)), round(share * len(labels))
  if count < classes:
    raise UserError(
      f"data.labels = {share:g} are {count} of {len(labels)} images, fewer than the"
      f" {classes} classes: give a share of at least one image each"
    )
  return balanced(labels, count, seed)


def _held_out_count(labels: np.ndarray, wanted: int | None) -> int:
  """How many of the labelled images to choose by: one of each class stays to fit to.

  Raises:
    UserError: they leave too few.
  """
  classes = len(np.unique(labels))
  most = len(labels) - classes
  if most < 2:
    raise UserError(
      f"{len(labels)} labelled images of {classes} classes leave none to choose by:"
      " give a larger data.labels, or one of rates and one of epochs"
    )
  if wanted is None:
    return min(max(len(labels) // 10, classes), _MOST_HELD_OUT, most)
  if not 2 <= wanted <= most:
    raise UserError(
      f"data.held_out is {wanted} of {len(labels)} labelled images of {classes}"
      f" classes: give 2 to {most}"
    )
  return wanted
