"""A linear classifier on cached features: see configs/linear_cached.py."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from ml_collections import ConfigDict

from byol_jax import parallel, probes, progress
from byol_jax.data import batches
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir
from configs import linear_cached
from experiments import choices
from experiments.downstream import classifiers, encoders, frozen, outcomes
from experiments.downstream.classifiers import METRICS, Accuracies, Classifiers, Weights
from experiments.downstream.frozen import Features, Subject
from experiments.labels import FIT, HELD_OUT

_PROTOCOL = "linear_cached"

State = tuple[Weights, optax.OptState]


def run(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  """Evaluates one encoder or several; the summary.

  Features are kept until the end, and a killed run goes on with them. SGD on them takes
  seconds to minutes, and begins again.
  """
  frozen.check(config, linear_cached.get_config(), ["train.batch_size"])
  classifiers.check_rates(config.optimiser.learning_rate)
  return encoders.each(config, run_dir, _evaluate)


def _evaluate(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  subject = opened(config, run_dir)
  Classifiers(subject.config, [1.0])  # its settings are checked before anything runs
  with outcomes.begun(subject) as summary:
    summary = summary or outcomes.ended(subject, _summary(subject))
    # Also of a complete run: it may have been killed between its summary and this.
    classifiers.record(subject, _PROTOCOL, summary)
    return summary


def opened(config: ConfigDict, run_dir: RunDir) -> Subject:
  """What a config names, with `train.steps`, as `Classifiers` wants them.

  Epochs are counted of all images that are fitted to in the end, those with labels.

  Raises:
    UserError: something is not there, or does not fit.
  """
  subject = frozen.subject(config, run_dir)
  config, train = subject.config, choices.fitted_split(subject.config)
  parts = (FIT, HELD_OUT)
  subject = subject.labelled_alone(train, config.data.test, *parts)
  images = subject.dataset.check(train)
  with config.unlocked():
    if config.train.batch_size is None:
      config.train.batch_size, _ = choices.evaluation_batch(images)
    config.train.steps, _ = choices.steps_of_epochs(config, images)
  return subject


def _summary(subject: Subject) -> dict[str, Any]:
  config = subject.config
  fit, held_out, test = map(subject.features, (FIT, HELD_OUT, config.data.test))
  train, rates = frozen.together(fit, held_out), config.optimiser.learning_rate
  parts = {FIT: fit, HELD_OUT: held_out}
  used = parts if len(rates) > 1 else {choices.fitted_split(config): train}
  used = {**used, config.data.test: test}
  subject.check_classes({name: found.label for name, found in used.items()})
  accuracies = functools.partial(_accuracies, subject)
  swept = accuracies(rates, fit, held_out) if len(rates) > 1 else []
  rate = classifiers.best(swept) if swept else rates[0]
  (reported,) = accuracies([rate], train, test)
  return classifiers.summary(_PROTOCOL, reported, len(test.label), swept)


def _accuracies(
  subject: Subject, rates: Sequence[float], train: Features, test: Features
) -> list[Accuracies]:
  """Of a classifier for each rate; the same on all hosts."""
  config = subject.config
  classes = subject.dataset.split(config.data.train).num_classes
  assert classes is not None
  weights = _fitted(Classifiers(config, rates), train, classes, config)

  def measured() -> list[Accuracies]:
    of_each = zip(rates, weights["w"], weights["b"], strict=True)
    return [_accuracy(rate, w, b, test) for rate, w, b in of_each]

  return parallel.value_from_first_host(measured)


def _accuracy(rate: float, w: np.ndarray, b: np.ndarray, test: Features) -> Accuracies:
  scores = np.nan_to_num(test.embedding @ w + b, nan=-np.inf)
  of = {name: probes.METRICS[name].of(scores, test.label) for name in METRICS}
  return {"learning_rate": rate, **of}


def _fitted(
  model: Classifiers, train: Features, classes: int, config: ConfigDict
) -> dict[str, np.ndarray]:
  """Classifiers after all steps; in the order of images of `batches.image_order`.

  Raises:
    UserError: none of them is finite.
  """
  x, labels = jnp.asarray(train.embedding), jnp.asarray(train.label)
  state = model.init(x.shape[1], classes)
  steps, size, images = config.train.steps, config.train.batch_size, len(labels)
  of_epoch = -(-images // size)
  with progress.shown("linear classifiers", steps, "steps") as bar:
    for first in range(0, steps, of_epoch):
      count = min(of_epoch, steps - first)
      order = batches.image_order(config.seed, first * size, count * size, images)
      state, losses = _epoch(model, state, x, labels, order.reshape(count, size))
      bar.add(count)
  logging.info("%d steps, lowest loss %.4f", steps, jnp.nanmin(losses[-1]))
  weights: dict[str, np.ndarray] = jax.device_get(state[0]["classifier"])
  finite = [np.isfinite(w).all() for w in weights["w"]]
  if not any(finite):
    raise UserError(
      f"the classifiers have diverged at learning rates {model.rates}: give lower ones"
      " as optimiser.learning_rate"
    )
  return weights


@functools.partial(jax.jit, static_argnums=0)
def _epoch(
  model: Classifiers, state: State, x: jax.Array, labels: jax.Array, order: jax.Array
) -> tuple[State, jax.Array]:
  """Steps on the images of `order`, int [steps, n]; the losses [steps, R] too."""

  def step(state: State, rows: jax.Array) -> tuple[State, jax.Array]:
    weights, optimiser = state
    differentiate = jax.grad(model.loss, has_aux=True)
    gradients, scalars = differentiate(weights, x[rows], labels[rows])
    weights, optimiser, _ = model.update(gradients, optimiser, weights)
    return (weights, optimiser), scalars["losses"]

  return jax.lax.scan(step, state, order)
