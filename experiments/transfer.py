"""Logistic regression on the features of a frozen encoder: see configs/transfer.py."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from byol_jax import parallel, probes, progress
from byol_jax.data import datasets
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir
from configs import transfer
from experiments.downstream import encoders, frozen, outcomes, transfer_sets
from experiments.downstream.frozen import Features, Subject
from experiments.labels import FIT, HELD_OUT


class Choice(NamedTuple):
  """A strength of regularisation, and how good it is on the images held out."""

  strength: float
  value: float


def run(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  """Evaluates one encoder or several, each on one set or several; the summary."""
  frozen.check(config, transfer.get_config(), ("data.name", "metric"))
  for one in transfer_sets.each_set(config).values():
    _check_set(one)
  on_each = functools.partial(transfer_sets.evaluate_each, evaluate=_evaluate)
  return encoders.each(config, run_dir, on_each)


def _check_set(config: ConfigDict) -> None:
  """Looks, before anything is computed, whether a set and its splits are there."""
  dataset = datasets.open_dataset(config.data.name, config.data.data_dir)
  for split in (config.data.train, config.data.valid, config.data.test):
    if split is not None:
      dataset.check(split)


def _evaluate(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  several = probes.METRICS[config.metric].several
  subject = _cropped(frozen.subject(config, run_dir, several))
  with outcomes.begun(subject) as summary:
    summary = summary or _summary(subject)
    # Also of a complete run: results may go to another file by now.
    accuracies = {config.metric: "transfer_linear"}
    outcomes.record(subject, "transfer_linear", accuracies, summary, ("strength",))
    return outcomes.ended(subject, summary)


def _cropped(subject: Subject) -> Subject:
  """With an encoder that sees the share of each image that the config says."""
  description = subject.encoder.description
  image = description.image._replace(crop=subject.config.crop)
  encoder = dataclasses.replace(
    subject.encoder, description=description._replace(image=image)
  )
  return subject._replace(encoder=encoder)


def _summary(subject: Subject) -> dict[str, Any]:
  """The summary: of the first host, while the others wait, so that it is one."""
  splits = FIT, HELD_OUT, subject.config.data.test
  found = [subject.features(split) for split in splits]
  return parallel.value_from_first_host(lambda: _fitted(subject, *found))


def _fitted(
  subject: Subject, fit: Features, held_out: Features, test: Features
) -> dict[str, Any]:
  config, metric = subject.config, probes.METRICS[subject.config.metric]
  train = frozen.together(fit, held_out)
  truth, test_truth = _truth(train.label, test.label, subject.dataset.name)
  if len(config.strengths) > 1 and not metric.several:
    subject.check_classes({FIT: fit.label, HELD_OUT: held_out.label})
  problem = probes.Problem(train.embedding, truth)
  tried, best, weights = _choose(problem, truth, len(fit.label), config)
  weights = problem.fit(best.strength, weights)
  scores = problem.scores(weights, test.embedding)
  if metric.several:  # classes that are not in train say nothing of any image
    scores = np.pad(scores, ((0, 0), (0, test_truth.shape[1] - scores.shape[1])))
  return {
    "transfer_linear": {"encoder": metric.of(scores, test_truth)},
    "set": config.set or config.data.name,
    "metric": config.metric,
    "strength": best.strength,
    "test_images": len(test.label),
    "of_all": [{"strength": s, "held_out": found} for s, found in tried],
  }


def _choose(
  problem: probes.Problem, truth: np.ndarray, images: int, config: ConfigDict
) -> tuple[list[Choice], Choice, np.ndarray]:
  """Fits with each strength to the first images, and looks at the others.

  Args:
    problem: all images.
    truth: of these.
    images: how many come first.
    config: its `strengths` and `metric`.

  Returns:
    All strengths, from the strongest on; the best, of equal ones the strongest; and
    its weights.
  """
  metric = probes.METRICS[config.metric].of
  first = np.arange(len(truth)) < images
  tried, best, best_weights = [], None, np.zeros(0)
  with progress.shown("linear classifier", len(config.strengths), "strengths") as bar:
    for strength, weights in problem.only(first).path(config.strengths):
      value = metric(problem.own_scores(weights, ~first), truth[~first])
      tried.append(Choice(strength, value))
      bar.add()
      logging.info(
        "strength %d of %d, %.3g: %s %.4f held out",
        *(len(tried), len(config.strengths), strength, config.metric, value),
      )
      if best is None or value > best.value:
        best, best_weights = tried[-1], weights
  assert best is not None
  if len(tried) > 1 and best in (tried[0], tried[-1]):
    logging.warning("the best strength, %.3g, is at an end of those tried", best[0])
  return tried, best, best_weights


def _truth(
  train: np.ndarray, test: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
  """Labels in terms of the classes that are there to train on.

  Args:
    train: labels int [N], or bool [N, C].
    test: likewise.
    name: of the data set, for the messages.

  Returns:
    What `train` and `test` become: the places of the classes that are in `train`, other
    ones being -1, -2, ...; or the columns of these classes, in `test` those of others
    behind them.

  Raises:
    UserError: there is but one class to train on.
  """
  if train.ndim == 2:
    seen = train.any(axis=0)
    absent, unseen = np.sum(test.any(axis=0) & ~seen), test[:, ~seen].any(axis=1).sum()
    found = train[:, seen], np.concatenate([test[:, seen], test[:, ~seen]], axis=1)
    classes = np.sum(seen)
  else:
    found = _places(train, test)
    classes, unseen = found[0].max() + 1, np.sum(found[1] < 0)
    absent = -min(found[1].min(), 0)
  if classes < 2:
    raise UserError(
      f"all images of {name} to train on are of one class: give a split with others"
    )
  if unseen:
    logging.warning(
      "%s: %d of %d classes are not among the %d images to train on: the %d test images"
      " of them count as wrong",
      name,
      absent,
      classes + absent,
      len(train),
      unseen,
    )
  return found


def _places(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Labels int [N], [M] as places in the sorted classes of `train`.

  Those of `test` that are not in `train` become -1, -2, ..., one for each class.
  """
  classes, absent = np.unique(train), np.setdiff1d(test, train)
  known = np.searchsorted(classes, test)
  unknown = -1 - np.searchsorted(absent, test)
  return np.searchsorted(classes, train), np.where(
    np.isin(test, classes), known, unknown
  )
