"""Linear evaluation of a frozen encoder: see configs/linear_eval.py."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from ml_collections import ConfigDict

from byol_jax import features, optim, parallel
from byol_jax.data import views
from byol_jax.data.labelled import labels_of
from byol_jax.description import ImageForm
from byol_jax.errors import UserError, no_such
from byol_jax.run import hosts, loop
from byol_jax.run.folder import RunDir
from configs import linear_eval
from experiments import choices, dial
from experiments.augmented import Augmented
from experiments.downstream import classifiers, encoders, frozen, outcomes
from experiments.downstream.classifiers import Accuracies, Classifiers, Scalars, Weights
from experiments.downstream.frozen import Subject
from experiments.inputs import Inputs
from experiments.labels import FIT, HELD_OUT

_PROTOCOL = "linear"
# What `augmentations` leaves of `view`: a row of BYOL's table 17.
_AUGMENTATIONS = {"crops": "crop_flip", "pretraining": "all"}

FrozenParts = tuple[hk.Params, hk.State]


class State(NamedTuple):
  """What has been learned on top of the encoder, of which nothing is in it.

  Attributes:
    step: number of updates made.
    classifiers: see `Classifiers.init`.
    optimiser: the optimisers' state.
  """

  step: jax.Array
  classifiers: Weights
  optimiser: optax.OptState


class LinearEval:
  """Trains a linear classifier on a frozen encoder, and tests it at the end."""

  def __init__(
    self,
    subject: Subject,
    rates: Sequence[float],
    held_out: Sequence[Accuracies] = (),
  ):
    """Opens the data; compiles and writes nothing.

    Args:
      subject: with a config without open settings.
      rates: the learning rates.
      held_out: what the sweep has found, for the summary.
    """
    self.config = config = subject.config
    self.encoder = subject.encoder
    self._evaluated = outcomes.evaluated(subject)
    self.held_out = list(held_out)
    image = self.encoder.description.image
    self.inputs = Inputs(config, subject.dataset, [config.data.test], image.channels)
    view = views.from_settings(config.view)
    self.view = views.reduced(view, _AUGMENTATIONS[config.augmentations])
    self.augmented = Augmented(config.seed, {"view1": self.view})
    self.classifiers = Classifiers(config, rates)
    self._extractor = features.gathered(self._forward)

  def init(self) -> State:
    """The state at step 0: classifiers of zeros."""
    zeros = self.classifiers.init(self.encoder.features, self.inputs.classes or 0)
    return State(jnp.zeros((), jnp.int32), *zeros)

  def batches(self, first_step: int) -> Iterator[chex.ArrayTree]:
    """Batches from `first_step` on, sharded over the devices, each with the encoder."""
    # In the batch, as the state is saved, and a constant would be compiled.
    encoder = parallel.copy_to_each((self.encoder.params, self.encoder.stats))
    batches = self.inputs.batches([self.view], first_step)
    return (batch | {"encoder": encoder} for batch in batches)

  def step(self, state: State, batch: chex.ArrayTree) -> tuple[State, Scalars]:
    """One update of the classifiers; see `Pretrain.step`, with one view."""
    encoder, crops = batch["encoder"], {k: batch[k] for k in batch if k != "encoder"}

    def gradients(
      weights: Weights, carry: None, microbatch: dict[str, jax.Array]
    ) -> tuple[Weights, tuple[None, Scalars]]:
      del carry
      (view,) = self.augmented.of_step(state.step, microbatch)
      embedding = self._embed(encoder, self.inputs.standardise(view))
      differentiate = jax.grad(self.classifiers.loss, has_aux=True)
      found, scalars = differentiate(weights, embedding, microbatch["label"])
      return found, (None, scalars)

    grads, (_, found) = optim.accumulate(
      gradients, state.classifiers, None, self.inputs.cropped(crops)
    )
    grads, found = jax.lax.pmean((grads, found), parallel.AXIS)
    weights, optimiser, norms = self.classifiers.update(
      grads, state.optimiser, state.classifiers
    )
    scalars = {
      # Those of the best: one of several may diverge.
      "loss": jnp.nanmin(found["losses"]),
      "train_linear": found["accuracies"].max(),
      "update_norm": jnp.nanmin(norms),
      "learning_rate": self.classifiers.of_step(state.step).max(),
    }
    return State(state.step + 1, weights, optimiser), scalars

  def evaluate(self, state: State) -> dict[str, float]:
    """Nothing: test images are looked at once, by `summarise`."""
    del state
    return {}

  def summarise(self, state: State) -> dict[str, Any]:
    """The test accuracies in the form of a pretraining run's summary."""
    images, (found,) = self.accuracies(state)
    summary = classifiers.summary(_PROTOCOL, found, images, self.held_out)
    return {**summary, "evaluated": self._evaluated}

  def accuracies(self, state: State) -> tuple[int, list[Accuracies]]:
    """Top-1 and top-5 of each rate on `data.test`, and of how many images."""
    encoder = parallel.replicate((self.encoder.params, self.encoder.stats))
    split = self.config.data.test
    found = self.inputs.features(self._extractor, (encoder, state.classifiers), split)
    rank = found["rank"]
    rows = zip(self.classifiers.rates, rank.T, strict=True)
    return len(rank), [
      {
        "learning_rate": rate,
        "top_1": float(np.mean(of_rate < 1)),
        "top_5": float(np.mean(of_rate < 5)),
      }
      for rate, of_rate in rows
    ]

  def show_views(self, folder: Path) -> Path:
    """Draws the first batch's first images; returns the file."""
    return self.augmented.draw(self.inputs.first_batch([self.view]), folder)

  def _embed(self, encoder: FrozenParts, images: jax.Array) -> jax.Array:
    """Features, float32 [n, D], of standardised images."""
    return self.encoder.network.embed(*encoder, images).astype(jnp.float32)

  def _forward(
    self, state: tuple[FrozenParts, Weights], batch: chex.ArrayTree
  ) -> dict[str, jax.Array]:
    """How many classes score higher than the right one, for each image and rate."""
    encoder, weights = state
    embedding = self.encoder.embed(*encoder, batch["image"]).astype(jnp.float32)
    scores = classifiers.logits(weights, embedding)
    # What fills the last batch has no label.
    labels = jnp.maximum(batch["label"], 0)[None, :, None]
    right = jnp.take_along_axis(scores, labels, axis=2)
    # Ties count against the classifier, lest one that says nothing be right.
    return {"rank": jnp.sum(~(scores < right), axis=2).T - 1}


class Sweep(LinearEval):
  """Trains with all learning rates at once, and compares them on held-out images."""

  def evaluate(self, state: State) -> dict[str, float]:
    """Held-out accuracy of each rate, and the highest."""
    _, found = self.accuracies(state)
    of_each = {f"valid_linear_{e['learning_rate']:g}": e["top_1"] for e in found}
    return {"valid_linear": max(of_each.values()), **of_each}

  def summarise(self, state: State) -> dict[str, Any]:
    """Held-out accuracies of all rates."""
    images, found = self.accuracies(state)
    return {"held_out_images": images, "of_all": found}


def run(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  """Evaluates one encoder or several, or goes on with it; the summary."""
  _check(config)
  return encoders.each(config, run_dir, _evaluate)


def show_views(config: ConfigDict, folder: Path) -> Path:
  """Draws some images as the classifiers see them; returns the file."""
  _check(config)
  subject = _on_all(opened(config, RunDir(folder.parent, writes=False)))
  return LinearEval(subject, [1.0]).show_views(folder)


def opened(config: ConfigDict, run_dir: RunDir) -> Subject:
  """What a config names, of it the images with labels, with no setting left open.

  Epochs are counted of all images that are fitted to in the end.

  Raises:
    UserError: something is not there, or does not fit.
  """
  subject = frozen.subject(config, run_dir)
  train, test = choices.fitted_split(subject.config), subject.config.data.test
  parts = (FIT, HELD_OUT) if _is_swept(config) else ()
  subject = subject.labelled_alone(train, test, *parts)
  image = subject.encoder.description.image
  filled = dial.fill_evaluation(subject.config, subject.dataset, image)
  _check_same_images(image, filled.data)
  return subject._replace(config=filled)


def _evaluate(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  subject = opened(config, run_dir)
  # What does not fit is found here, before anything is written.
  LinearEval(_on_all(subject), subject.config.optimiser.learning_rate)
  with outcomes.begun(subject) as summary:
    summary = summary or _trained(subject)
    # Also of a complete run: it may have been killed between its summary and this.
    classifiers.record(subject, _PROTOCOL, summary)
    return summary


def _trained(subject: Subject) -> dict[str, Any]:
  """The summary of a run on all images to fit to, at the best rate."""
  rates, is_swept = subject.config.optimiser.learning_rate, _is_swept(subject.config)
  on_all = _on_all(subject)
  train, test = on_all.config.data.train, on_all.config.data.test
  parts = (FIT, HELD_OUT) if is_swept else (train,)
  subject.check_classes(
    {name: labels_of(subject.dataset.split(name)) for name in (*parts, test)}
  )
  subject.look(train)
  held_out = _swept(subject, rates) if is_swept else []
  rate = classifiers.best(held_out) if is_swept else rates[0]
  logging.info("the run itself: learning rate %g, on all of %s", rate, train)
  experiment = LinearEval(on_all, [rate], held_out)
  if subject.run_dir.writes:
    experiment.show_views(subject.run_dir.figures)
  return _run(experiment, subject.run_dir)


def _is_swept(config: ConfigDict) -> bool:
  return len(config.optimiser.learning_rate) > 1


def _on(subject: Subject, train: str, test: str) -> Subject:
  """With other splits or parts to train and to test on."""
  config = subject.config.copy_and_resolve_references()
  config.data.update(train=train, test=test)
  return subject._replace(config=config)


def _on_all(subject: Subject) -> Subject:
  """With all images to fit to, also those that settings were chosen by."""
  config = subject.config
  return _on(subject, choices.fitted_split(config), config.data.test)


def _swept(subject: Subject, rates: Sequence[float]) -> list[Accuracies]:
  """Held-out accuracies of all rates, by a run of its own within the run's folder.

  It makes as many steps as the run itself.
  """
  part = _on(subject, FIT, HELD_OUT)
  logging.info("the sweep: %d learning rates at once, on what is to fit", len(rates))
  with subject.run_dir.inside("sweep") as run_dir:
    hosts.claim(run_dir, part.config, subject.dataset.listing())
    part = part._replace(run_dir=run_dir)
    return _run(Sweep(part, rates), run_dir)["of_all"]


def _run(experiment: LinearEval, run_dir: RunDir) -> dict[str, Any]:
  run_dir.write_skipped(experiment.inputs.unreadable)
  experiment.inputs.on_unreadable = run_dir.write_skipped
  return loop.run(experiment, experiment.config, run_dir)


def _check(config: ConfigDict) -> None:
  """Raises UserError for settings that are wrong whatever the images are."""
  example = linear_eval.get_config()
  example.data.update(size=224, eval_fraction=0.875, mean=(0.5,), std=(0.5,))
  example.train.update(steps=1, epochs=1.0)
  example.eval.every_steps = 1
  frozen.check(config, example, dial.EVALUATION_CHOICES)
  classifiers.check_rates(config.optimiser.learning_rate)
  if config.augmentations not in _AUGMENTATIONS:
    raise no_such("set of augmentations", config.augmentations, _AUGMENTATIONS)


def _check_same_images(seen: ImageForm, shown: ConfigDict) -> None:
  """Refuses images in another form than the encoder was trained on."""
  of_encoder = {
    **{key: getattr(seen, key) for key in ("size", "mean", "std")},
    "eval_fraction": seen.crop,  # of which results do not say that it is another
  }
  for key, wanted in of_encoder.items():
    if shown[key] != wanted:
      raise UserError(
        f"the encoder saw images of {key} {wanted}, not {shown[key]}: leave out"
        f" data.{key}, and images of all kinds are shown to it in its own form"
      )
