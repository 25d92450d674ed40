"""Linear evaluation on a frozen encoder (BYOL, section 4 and App. C.1)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from byol_jax import features, optim, parallel
from byol_jax.data import datasets, views
from byol_jax.description import ImageForm
from byol_jax.errors import UserError
from byol_jax.pretrained import load_encoder
from byol_jax.run import figures, loop
from byol_jax.run.folder import RunDir
from configs import linear_eval
from experiments import dial, inputs, optimisers, settings
from experiments.inputs import Inputs

Scalars = dict[str, jax.Array]
Classifier = dict[str, dict[str, jax.Array]]


class State(NamedTuple):
  """What is evaluated, and what has been learned on top of it.

  Attributes:
    step: number of updates made.
    online: parameters of the pretrained encoder, frozen.
    online_stats: its running statistics, frozen too.
    classifier: weight "w" [D, classes] and bias "b" [classes].
    optimiser: the optimiser's state.
  """

  step: jax.Array
  online: hk.Params
  online_stats: hk.State
  classifier: Classifier
  optimiser: optax.OptState


class LinearEval:
  """Trains a linear classifier on the encoder of a pretraining run."""

  def __init__(self, config: ml_collections.ConfigDict, run_dir: RunDir | None = None):
    """Opens the data and reads the encoder; writes nothing."""
    example = linear_eval.get_config()
    example.train.epochs = 1.0
    settings.check(config, example, {"train.epochs", *dial.EVALUATION_CHOICES})
    if not config.pretrained:
      raise UserError("name the run to evaluate, as in --config.pretrained=FOLDER")
    dataset = datasets.open_dataset(config.data.name, config.data.data_dir)
    if run_dir:
      inputs.check_folder(run_dir, dataset)
    self.encoder = load_encoder(config.pretrained, precision=config.train.precision)
    image = self.encoder.description.image
    self.config = config = dial.fill_evaluation(config, dataset, image)
    _check_same_images(image, config.data)
    splits = [config.data.test]
    self.inputs = Inputs(config, dataset, splits, channels=image.channels)
    if not self.inputs.classes:
      raise UserError(f"{config.data.name} has no labels to evaluate with")
    self.view = views.from_settings(config.view)
    self.optimiser, self.learning_rate = optimisers.from_config(config)
    self._extractor = features.gathered(self._forward)

  def init(self) -> State:
    """The state at step 0: a classifier of zeros."""
    classes = self.inputs.classes
    weights = jnp.zeros((self.encoder.features, classes))
    classifier = {"classifier": {"w": weights, "b": jnp.zeros(classes)}}
    return State(
      jnp.zeros((), jnp.int32),
      self.encoder.params,
      self.encoder.stats,
      classifier,
      self.optimiser.init(classifier),
    )

  def batches(self, first_step: int) -> Iterator[chex.ArrayTree]:
    """Batches for the steps from `first_step` on, sharded over the devices."""
    return self.inputs.batches([self.view], first_step)

  def step(
    self, state: State, batch: chex.ArrayTree
  ) -> tuple[State, dict[str, jax.Array]]:
    """One update of the classifier; see `Pretrain.step`, with one view."""

    def loss_fn(
      classifier: Classifier, microbatch: dict[str, jax.Array]
    ) -> tuple[jax.Array, tuple[None, Scalars]]:
      logits = _logits(classifier, self._embed(state, microbatch["view1"]))
      labels = microbatch["label"]
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      correct = logits.argmax(-1) == labels
      scalars = {"loss": losses.mean(), "train_linear": correct.mean()}
      return losses.mean(), (None, scalars)

    def gradients(
      classifier: Classifier, carry: None, microbatch: dict[str, jax.Array]
    ) -> tuple[Classifier, tuple[None, Scalars]]:
      del carry
      return jax.grad(loss_fn, has_aux=True)(classifier, microbatch)

    grads, (_, scalars) = optim.accumulate(
      gradients, state.classifier, None, self.inputs.cropped(batch)
    )
    grads, scalars = jax.lax.pmean((grads, scalars), parallel.AXIS)
    updates, optimiser = self.optimiser.update(grads, state.optimiser, state.classifier)
    scalars |= {
      "learning_rate": self.learning_rate(state.step),
      "update_norm": optax.tree.norm(updates),
    }
    classifier = optax.apply_updates(state.classifier, updates)
    state = state._replace(
      step=state.step + 1, classifier=classifier, optimiser=optimiser
    )
    return state, scalars

  def evaluate(self, state: State) -> dict[str, float]:
    """Top-1 and top-5 accuracy on the whole test split, in [0, 1]."""
    found = self.inputs.features(self._extractor, state, self.config.data.test)
    rank = found["rank"]
    return {
      "test_linear": float(np.mean(rank < 1)),
      "test_linear_top5": float(np.mean(rank < 5)),
    }

  def summarise(self, state: State) -> dict[str, Any]:
    """The test accuracies in the form of a pretraining run's summary."""
    found = self.evaluate(state)
    return {
      "test_images": len(self.inputs.source(self.config.data.test)),
      "linear": {"encoder": found["test_linear"]},
      "linear_top5": {"encoder": found["test_linear_top5"]},
    }

  def show_views(self, folder: Path, images: int = 12) -> Path:
    """Draws the first batch's first images; returns the file."""
    path = folder / "views.png"
    batch = self.inputs.first_batch([self.view])
    drawn = np.asarray(batch["view1"][0, 0, :images]) / 255
    figures.contact_sheet([drawn], path)
    return path

  def _embed(self, state: State, images: jax.Array) -> jax.Array:
    return self.encoder.embed(state.online, state.online_stats, images)

  def _forward(self, state: State, batch: chex.ArrayTree) -> dict[str, jax.Array]:
    """How many classes score higher than the right one, for each image."""
    logits = _logits(state.classifier, self._embed(state, batch["image"]))
    right = jnp.take_along_axis(logits, batch["label"][:, None], 1)
    # Ties count against the network, lest one that says nothing be right.
    return {"rank": jnp.sum(~(logits < right), axis=1) - 1}


def run(config: ml_collections.ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  """Evaluates, or goes on with it; the summary."""
  experiment = LinearEval(config, run_dir)
  loop.check(experiment.config)
  with run_dir:
    if run_dir.claim(experiment.config, experiment.inputs.dataset.listing()):
      run_dir.write_skipped(experiment.inputs.unreadable)
      experiment.show_views(run_dir.figures)
    experiment.inputs.on_unreadable = run_dir.write_skipped
    return loop.run(experiment, experiment.config, run_dir)


def show_views(config: ml_collections.ConfigDict, folder: Path) -> Path:
  """Draws some images as the classifier sees them; returns the file."""
  return LinearEval(config).show_views(folder)


def _logits(classifier: Classifier, embedding: jax.Array) -> jax.Array:
  weights = classifier["classifier"]
  return embedding @ weights["w"] + weights["b"]


def _check_same_images(seen: ImageForm, shown: ml_collections.ConfigDict) -> None:
  """Refuses images in another form than the encoder was trained on."""
  for key in ("size", "mean", "std"):
    if getattr(seen, key) != shown[key]:
      wanted = getattr(seen, key)
      raise UserError(
        f"the run saw images of {key} {wanted}, not {shown[key]}: choose its preset,"
        f" or set '--config.data.{key}={wanted}'"
      )
