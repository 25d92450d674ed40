"""Fine-tuning of a pretrained encoder with a linear classifier, as one run.

What chooses its settings is `experiments/downstream/sweep.py`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from byol_jax import features, optim, parallel, probes
from byol_jax.data import colour, views
from byol_jax.data.parts import WithParts
from byol_jax.errors import Diverged
from byol_jax.nets import layers, model
from byol_jax.pretrained import Encoder
from experiments.inputs import Inputs

Scalars = dict[str, jax.Array]


class Plan(NamedTuple):
  """In what the runs of a sweep differ: values of the state, so that one program does.

  Attributes:
    rate: the highest learning rate.
    weight_decay: of all weights.
    steps: of the run.
  """

  rate: jax.Array
  weight_decay: jax.Array
  steps: jax.Array


class State(NamedTuple):
  """What is trained.

  Attributes:
    step: number of updates made.
    online: parameters of the encoder, and the module "classifier": weight "w"
      [D, classes] and bias "b" [classes].
    online_stats: the encoder's running statistics.
    optimiser: the optimiser's state.
    plan: of the run.
  """

  step: jax.Array
  online: hk.Params
  online_stats: hk.State
  optimiser: optax.OptState
  plan: Plan


class Finetune:
  """Trains all of an encoder, and a linear classifier that starts from zeros."""

  def __init__(self, config: ConfigDict, encoder: Encoder, dataset: WithParts):
    """Opens the images; compiles and writes nothing.

    Args:
      config: of the run, as `sweep.Sweep` makes it.
      encoder: where it starts from.
      dataset: the images, with the splits or parts that `config.data` names, in which
        all images have labels, or are numbered and of several classes each.

    Raises:
      UserError: something of it is not there or does not fit.
    """
    self.config = config
    self.encoder = encoder
    about = encoder.description
    splits = [config.data.test]
    self.inputs = Inputs(config, dataset, splits, channels=about.image.channels)
    self._truth = {
      split: dataset.truth(split) for split in (config.data.train, config.data.test)
    }
    self.view = views.from_settings(config.view)
    # Its length is 1: it is asked for the share of the run that is over.
    self._schedule = optim.make_schedule(config.optimiser.schedule, 1.0, 0.0, 1)
    self._network = model.make_encoder(
      about.network,
      about.precision,
      axis=parallel.AXIS,
      decay=config.optimiser.statistics_decay,
    )
    self._extractor = features.gathered(self._forward)

  def init(self) -> State:
    """The state at step 0; of copies, as the loop gives its memory away."""
    truth = self._truth[self.config.data.train]
    classes = self.inputs.classes if truth is None else truth.shape[1]
    weights = jnp.zeros((self.encoder.features, classes))
    online = jax.tree.map(jnp.array, self.encoder.params)
    online = {**online, "classifier": {"w": weights, "b": jnp.zeros(classes)}}
    settings = self.config.optimiser
    plan = Plan(
      jnp.float32(settings.learning_rate),
      jnp.float32(settings.weight_decay),
      jnp.int32(self.config.train.steps),
    )
    return State(
      jnp.zeros((), jnp.int32),
      online,
      layers.settled(self.encoder.stats),
      self._optimiser(plan.rate, plan).init(online),
      plan,
    )

  def _optimiser(self, rate: jax.Array, plan: Plan) -> optax.GradientTransformation:
    momentum = self.config.optimiser.momentum
    return optim.sgd(lambda _: rate, plan.weight_decay, momentum)

  def batches(self, first_step: int) -> Iterator[chex.ArrayTree]:
    """Batches for the steps from `first_step` on, sharded over the devices.

    Where images are of several classes, a label is a row of "truth", bool [N, classes].
    """
    batches = self.inputs.batches([self.view], first_step)
    truth = self._truth[self.config.data.train]
    if truth is None:
      return batches
    table = parallel.copy_to_each(truth)
    return (batch | {"truth": table} for batch in batches)

  def step(self, state: State, batch: chex.ArrayTree) -> tuple[State, Scalars]:
    """One update of everything; see `Pretrain.step`, with one view."""
    grads, (stats, scalars) = optim.accumulate(
      jax.grad(self._loss, has_aux=True),
      state.online,
      state.online_stats,
      self._seen(batch),
    )
    grads, scalars = jax.lax.pmean((grads, scalars), parallel.AXIS)
    rate = state.plan.rate * self._schedule(state.step / state.plan.steps)
    updates, optimiser = self._optimiser(rate, state.plan).update(
      grads, state.optimiser, state.online
    )
    scalars |= {"learning_rate": rate, "update_norm": optax.tree.norm(updates)}
    online = optax.apply_updates(state.online, updates)
    return State(state.step + 1, online, stats, optimiser, state.plan), scalars

  def _seen(self, batch: chex.ArrayTree) -> chex.ArrayTree:
    """A batch with its crops, and of several classes the truth in place of labels."""
    truth = batch.get("truth")
    seen = self.inputs.cropped({k: v for k, v in batch.items() if k != "truth"})
    return seen if truth is None else seen | {"label": truth[seen["label"]]}

  def _loss(
    self, online: hk.Params, stats: hk.State, microbatch: dict[str, jax.Array]
  ) -> tuple[jax.Array, tuple[hk.State, Scalars]]:
    """Cross-entropy; batch norm's statistics are those of the batch, on all devices.

    Of several classes it is the sum of each one's own, which is our choice.
    """
    images = self.inputs.standardise(colour.to_unit(microbatch["view1"]))
    embedding, stats = self._network.train(online, stats, images)
    logits, labels = _logits(online, embedding), microbatch["label"]
    if labels.ndim == 1:
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      correct = logits.argmax(-1) == labels
    else:
      losses = optax.sigmoid_binary_cross_entropy(logits, labels).sum(axis=-1)
      correct = (logits > 0) == labels
    scalars = {"loss": losses.mean(), "train_accuracy": correct.mean()}
    return losses.mean(), (stats, scalars)

  def evaluate(self, state: State) -> dict[str, float]:
    """Nothing on the way: what is tested on is looked at once."""
    del state
    return {}

  def summarise(self, state: State) -> dict[str, Any]:
    """Accuracy by each of `config.metrics` on `config.data.test`, each image once.

    Raises:
      Diverged: what the classifier says of them is infinite or no number.
    """
    params = state.online, state.online_stats
    split = self.config.data.test
    found = self.inputs.features(self._extractor, params, split)
    logits, labels, truth = found["logits"], found["label"], self._truth[split]
    if not np.isfinite(logits).all():
      raise Diverged(
        "the fine-tuned network says NaN or infinity of test images: lower the learning"
        " rate, and start a new run"
      )
    right = labels if truth is None else truth[labels]
    accuracies = {
      name: probes.METRICS[name].of(logits, right) for name in self.config.metrics
    }
    return {"test_images": len(logits), **accuracies}

  def _forward(
    self, params: tuple[hk.Params, hk.State], batch: chex.ArrayTree
  ) -> dict[str, jax.Array]:
    online, stats = params
    return {
      "logits": _logits(online, self.encoder.embed(online, stats, batch["image"]))
    }


def _logits(online: hk.Params, embedding: jax.Array) -> jax.Array:
  classifier = online["classifier"]
  return embedding @ classifier["w"] + classifier["b"]
