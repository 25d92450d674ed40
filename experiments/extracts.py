"""What the networks of a state make of images: as they are, and in augmented views."""

import functools

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from byol_jax import features, parallel, progress
from byol_jax.data import colour
from byol_jax.nets import model
from experiments import evaluation
from experiments.augmented import Augmented, Batch
from experiments.inputs import Inputs
from experiments.state import State


class Extractor:
  """Makes an `evaluation.Extract` of a state."""

  def __init__(self, networks: model.Networks, inputs: Inputs, augmented: Augmented):
    """Compiles nothing yet."""
    self._networks = networks
    self._inputs = inputs
    self._augmented = augmented
    self._views = list(augmented.views.values())
    self._of_images = features.gathered(self._forward)
    self._of_views = parallel.pmap(self._forward_views)
    self._statistics_of = parallel.pmap(self._statistics)

  def __call__(self, state: State) -> evaluation.Extract:
    """What the networks of a state, which is on all devices, make of a split."""
    state = self._calibrated(state)
    return evaluation.Extract(
      functools.partial(self._inputs.features, self._of_images, state),
      functools.partial(self._features_of_views, state),
    )

  def first_view(self, state: State, batch: Batch) -> jax.Array:
    """View 1 of a batch, of all its microbatches, as the networks want it."""
    whole = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
    return self._inputs.standardise(self._augmented.of_step(state.step, whole)[0])

  def first_batch(self) -> chex.ArrayTree:
    """The batch of step 0."""
    return self._inputs.first_batch(self._views)

  def _forward(self, state: State, batch: chex.ArrayTree) -> dict[str, jax.Array]:
    images = self._inputs.standardise(colour.to_unit(batch["image"]))
    outputs, _ = self._networks.online(state.online, state.online_stats, images, False)
    return {"embedding": outputs.embedding, "projection": outputs.projection}

  def _features_of_views(self, state: State, split: str) -> dict[str, np.ndarray]:
    """What the networks make of some images' augmented views; see `Extract`."""
    images = min(evaluation.IMAGES, len(self._inputs.source(split)))
    views = [self._views[i % len(self._views)] for i in range(evaluation.VIEWS)]
    found = []
    with progress.shown("features of views", images) as bar:
      for batch in self._inputs.held_out_views(split, views, images):
        found.append(jax.device_get(self._of_views(state, batch)))
        bar.add(len(found[-1]["unreadable"]))
    arrays = jax.tree.map(lambda *parts: np.concatenate(parts)[:images], *found)
    readable = arrays.pop("unreadable") < 0
    return {name: values[readable] for name, values in arrays.items()}

  def _forward_views(self, state: State, batch: Batch) -> dict[str, jax.Array]:
    augmented = self._augmented.held_out(batch, evaluation.VIEWS)
    images = self._inputs.standardise(jnp.concatenate(augmented))
    outputs, _ = self._networks.online(state.online, state.online_stats, images, False)
    target = outputs.projection
    if state.target:
      target, _ = self._networks.target(state.target, state.target_stats, images, False)
    of_views = {
      "embedding": outputs.embedding,
      "projection": outputs.projection,
      "prediction": outputs.prediction,
      "target": target,
    }
    of_images = {
      name: values.reshape(evaluation.VIEWS, -1, values.shape[-1]).swapaxes(0, 1)
      for name, values in of_views.items()
    }
    return parallel.gather(of_images | {"unreadable": batch["unreadable"]})

  def _calibrated(self, state: State) -> State:
    """Gives a state at step 0 statistics; without any, its norms would explode."""
    if state.step > 0 or not state.online_stats:
      return state
    online, target = self._statistics_of(state, self.first_batch())
    return state._replace(online_stats=online, target_stats=target)

  def _statistics(self, state: State, batch: Batch) -> tuple[hk.State, hk.State]:
    images, run = self.first_view(state, batch), self._networks
    _, online = run.online(state.online, state.online_stats, images, True)
    if not state.target:
      return online, state.target_stats
    _, target = run.target(state.target, state.target_stats, images, True)
    return online, target
