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

from byol_jax import checkpoint, features, figures, optim, parallel
from byol_jax.data import augment
from byol_jax.errors import UserError
from byol_jax.nets import model
from byol_jax.rundir import read_json
from experiments import optimisers
from experiments.inputs import Inputs


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
  classifier: dict[str, dict[str, jax.Array]]
  optimiser: optax.OptState


class LinearEval:
  """Trains a linear classifier on the encoder of a pretraining run."""

  def __init__(self, config: ml_collections.ConfigDict):
    """Opens the data and reads the encoder; writes nothing."""
    if not config.pretrained:
      raise UserError("name the run to evaluate, as in --config.pretrained=FOLDER")
    self.config = config
    self.inputs = Inputs(config, [config.data.test])
    if not self.inputs.classes:
      raise UserError(f"{config.data.name} has no labels to evaluate with")
    self.view = augment.View(**config.view)
    self.optimiser, self.learning_rate = optimisers.from_config(config)
    folder = Path(config.pretrained)
    pretrained = _read_config(folder)
    _check_same_images(pretrained["data"], config.data)
    self.networks = model.make_networks(
      pretrained["encoder"],
      pretrained["projector"],
      pretrained["predictor"],
      precision=config.train.precision,
    )
    self._encoder = _load_encoder(folder, self.networks, self.inputs.image_shape)
    self._extractor = features.gathered(self._forward)

  def init(self) -> State:
    """The state at step 0: a classifier of zeros."""
    online, online_stats = self._encoder
    images = jnp.zeros((1, *self.inputs.image_shape))
    embedding, _ = jax.eval_shape(
      lambda: self.networks.encoder(online, online_stats, images, False)
    )
    classes = self.inputs.classes
    weights = {"w": jnp.zeros((embedding.shape[-1], classes)), "b": jnp.zeros(classes)}
    classifier = {"classifier": weights}
    return State(
      jnp.zeros((), jnp.int32),
      online,
      online_stats,
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

    def loss_fn(classifier, piece):
      logits = _logits(classifier, self._embed(state, piece["view1"]))
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, piece["label"])
      correct = logits.argmax(-1) == piece["label"]
      scalars = {"loss": losses.mean(), "train_linear": correct.mean()}
      return losses.mean(), (None, scalars)

    grads, (_, scalars) = optim.accumulate(
      lambda classifier, _, piece: jax.grad(loss_fn, has_aux=True)(classifier, piece),
      state.classifier,
      None,
      batch,
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
    images = self.inputs.standardise(augment.to_unit(images))
    return self.networks.encoder(state.online, state.online_stats, images, False)[0]

  def _forward(self, state: State, batch: chex.ArrayTree) -> dict[str, jax.Array]:
    """How many classes score higher than the right one, for each image."""
    logits = _logits(state.classifier, self._embed(state, batch["image"]))
    right = jnp.take_along_axis(logits, batch["label"][:, None], 1)
    # Ties count against the network, lest one that says nothing be right.
    return {"rank": jnp.sum(~(logits < right), axis=1) - 1}


make = LinearEval


def _logits(classifier: dict, embedding: jax.Array) -> jax.Array:
  weights = classifier["classifier"]
  return embedding @ weights["w"] + weights["b"]


def _read_config(folder: Path) -> dict[str, Any]:
  """The config of a pretraining run, from its folder or one inside of it."""
  found = [p / "config.json" for p in (folder, *folder.absolute().parents[:2])]
  path = next((p for p in found if p.exists()), found[0])
  config = read_json(path)
  if config.get("experiment") != "pretrain":
    raise UserError(f"{path.parent} is not the folder of a pretraining run")
  return config


def _check_same_images(seen: dict[str, Any], shown: ml_collections.ConfigDict) -> None:
  """Refuses images in another form than the encoder was trained on."""
  for key in ("size", "mean", "std"):
    wanted = tuple(seen[key]) if key != "size" else seen[key]
    if wanted != shown[key]:
      raise UserError(
        f"the run saw images of {key} {wanted}, not {shown[key]}: choose its preset,"
        f" or set '--config.data.{key}={wanted}'"
      )


def _load_encoder(
  folder: Path, networks: model.Networks, image_shape: tuple[int, int, int]
) -> tuple[hk.Params, hk.State]:
  """Parameters and statistics of the encoder in a run's newest checkpoint."""
  shapes = jax.eval_shape(
    networks.init, jax.random.key(0), jnp.zeros((1, *image_shape))
  )
  online, stats = map(model.encoder_part, shapes)
  _, loaded = checkpoint.load(folder, {"online": online, "online_stats": stats})
  return loaded["online"], loaded["online_stats"]
