"""Linear classifiers on the same features, a learning rate each, trained at once.

And what evaluations by them have in common: the choice of a rate, and the results.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import logging
from ml_collections import ConfigDict

from byol_jax.errors import UserError
from experiments import optimisers
from experiments.downstream import frozen, outcomes

Weights = dict[str, dict[str, jax.Array]]
Scalars = dict[str, jax.Array]
# "learning_rate", and by keys of `probes.METRICS` what it has come to.
Accuracies = Mapping[str, float]
METRICS = ("top_1", "top_5")


class Classifiers:
  """Softmax regressions by SGD that differ in their learning rate alone.

  The optimiser is made for rate 1, and its updates are multiplied by each rate: all of
  `optim.OPTIMISERS` multiply by the rate last.
  """

  def __init__(self, config: ConfigDict, rates: Sequence[float]):
    """Takes `config.optimiser`, `config.logits` and `config.train`.

    Args:
      config: of the evaluation, its steps and batch size given.
      rates: one for each classifier, R of them.

    Raises:
      UserError: a setting is unknown or out of its range.
    """
    self.rates = tuple(rates)
    self._clip, self._penalty = config.logits.clip, config.logits.penalty
    config = config.copy_and_resolve_references()
    with config.unlocked(), config.ignore_type():
      config.optimiser.update(learning_rate=1.0, predictor_multiplier=1.0)
    self._optimiser, self._schedule = optimisers.from_config(config)

  def init(self, features: int, classes: int) -> tuple[Weights, optax.OptState]:
    """Weights "w" [R, features, classes] and biases "b" [R, classes], all zero."""
    count = len(self.rates)
    weights = jnp.zeros((count, features, classes))
    classifiers = {"classifier": {"w": weights, "b": jnp.zeros((count, classes))}}
    return classifiers, jax.vmap(self._optimiser.init)(classifiers)

  def loss(
    self, classifiers: Weights, features: jax.Array, labels: jax.Array
  ) -> tuple[jax.Array, Scalars]:
    """What is differentiated, and what is watched.

    Args:
      classifiers: as `init` has them.
      features: float32 [n, D].
      labels: int [n], each of a class: one without a label would count in the means.

    Returns:
      The sum of all losses, which is the gradient of each for its own weights; and
      "losses" and "accuracies", [R] each.
    """
    scores = logits(classifiers, features)
    truth = jax.nn.one_hot(labels, scores.shape[-1])
    clipped = clip(scores, self._clip)
    losses = optax.softmax_cross_entropy(clipped, truth).mean(1)
    if self._penalty:
      losses += self._penalty * jnp.mean(jnp.square(clipped), axis=(1, 2))
    right = scores.argmax(-1) == labels
    return losses.sum(), {"losses": losses, "accuracies": right.mean(1)}

  def update(
    self, gradients: Weights, optimiser: optax.OptState, classifiers: Weights
  ) -> tuple[Weights, optax.OptState, jax.Array]:
    """One step of each: the classifiers, the optimisers, lengths of the updates [R]."""
    updates, optimiser = jax.vmap(self._optimiser.update)(
      gradients, optimiser, classifiers
    )
    rates = jnp.asarray(self.rates)
    updates = jax.tree.map(lambda u: jax.vmap(jnp.multiply)(rates, u), updates)
    norms = jax.vmap(optax.tree.norm)(updates)
    return optax.apply_updates(classifiers, updates), optimiser, norms

  def of_step(self, step: jax.Array) -> jax.Array:
    """The learning rate of each at a step, [R]."""
    return self._schedule(step) * jnp.asarray(self.rates)


def logits(classifiers: Weights, features: jax.Array) -> jax.Array:
  """Scores [R, n, classes] of features [n, D].

  In float32 on all devices: accelerators would take fewer bits of features by default,
  and beside an encoder this takes little time.
  """
  of, highest = classifiers["classifier"], jax.lax.Precision.HIGHEST
  product = jnp.einsum("nd,rdc->rnc", features, of["w"], precision=highest)
  return product + of["b"][:, None]


def clip(x: jax.Array, most: float) -> jax.Array:
  """a tanh(x / a), between -a and a (BYOL, App. C.1); x itself for a = 0."""
  return most * jnp.tanh(x / most) if most else x


def check_rates(rates: Sequence[float]) -> None:
  """Raises UserError if a learning rate is there twice."""
  if len(set(rates)) < len(rates):
    raise UserError(f"optimiser.learning_rate is {tuple(rates)}: give each rate once")


def best(held_out: Sequence[Accuracies]) -> float:
  """The learning rate of the highest top-1; of equal ones the lowest.

  That one has moved the weights least: of classifiers that are equally good, it is the
  simplest.
  """
  score, rate = min((-each["top_1"], each["learning_rate"]) for each in held_out)
  rates = [each["learning_rate"] for each in held_out]
  logging.info(
    "of learning rates %s, %g is best on held-out images: %.2f %%",
    ", ".join(f"{each:g}" for each in rates),
    rate,
    -100 * score,
  )
  for end, adjective in ((min, "lowest"), (max, "highest")):
    if rate == end(rates):
      logging.warning(
        "the best learning rate, %g, is the %s: others beyond it may be better; see"
        " optimiser.learning_rate",
        rate,
        adjective,
      )
  return rate


def summary(
  protocol: str, test: Accuracies, test_images: int, held_out: Sequence[Accuracies]
) -> dict[str, Any]:
  """A summary, in the form of a pretraining run's: of the test, and of the sweep."""
  return {
    protocol: {"encoder": test["top_1"]},
    f"{protocol}_top5": {"encoder": test["top_5"]},
    "test_images": test_images,
    "learning_rate": test["learning_rate"],
    "held_out": list(held_out),
  }


def record(
  subject: frozen.Subject,
  protocol: str,
  found: dict[str, Any],
  setting: Sequence[str] = ("learning_rate",),
) -> None:
  """Appends the accuracies of a summary to results.jsonl, unless they are there."""
  accuracies = {"top_1": protocol, "top_5": f"{protocol}_top5"}
  outcomes.record(subject, protocol, accuracies, found, setting)
