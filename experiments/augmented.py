"""The views that a run draws: their chance is that of (seed, step, position) alone."""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from byol_jax.data import augment, colour
from byol_jax.data.views import View
from byol_jax.run import figures

Batch = dict[str, jax.Array]

_SHOWN = 12  # images of a drawing


class Augmented:
  """Draws the augmentations of crops, under jit too."""

  def __init__(self, seed: int, views: Mapping[str, View]):
    """Takes the run's seed and, by its name in a batch, each view."""
    self.views = views
    self._seed = seed

  def init_key(self) -> jax.Array:
    """Of what a run starts from; no draw of it is that of a step."""
    return self._keys()[0]

  def of_step(self, step: jax.Array, microbatch: Batch) -> list[jax.Array]:
    """The views of a microbatch in [0, 1]."""
    step_key = jax.random.fold_in(self._keys()[1], step)
    augmented = []
    for number, (name, view) in enumerate(self.views.items()):
      keys = _view_keys(step_key, number, microbatch["position"])
      pixels = colour.to_unit(microbatch[name])
      augmented.append(augment.augment(keys, pixels, view))
    return augmented

  def held_out(self, batch: Batch, count: int) -> list[jax.Array]:
    """Views in [0, 1] of a batch of `count` crops an image, the same at any step.

    One array for each kind of view: first crops 1, 3, ... of all images, then 2, 4, ...
    """
    augmented = []
    for kind, view in enumerate(self.views.values()):
      numbers = range(kind, count, len(self.views))
      keys = [_view_keys(self._keys()[1], i, batch["position"]) for i in numbers]
      crops = jnp.concatenate([batch[f"view{i + 1}"] for i in numbers])
      pixels = colour.to_unit(crops)
      augmented.append(augment.augment(jnp.concatenate(keys), pixels, view))
    return augmented

  def draw(self, batch: Batch, folder: Path) -> Path:
    """Draws views of the first images of a batch of all devices; returns the file."""
    path = folder / "views.png"
    shown = jax.tree.map(lambda x: x[0, 0, :_SHOWN], batch)
    drawn = jax.jit(self.of_step)(jnp.zeros((), jnp.int32), shown)
    figures.contact_sheet([np.asarray(view) for view in drawn], path)
    return path

  def _keys(self) -> jax.Array:
    return jax.random.split(jax.random.key(self._seed))


def _view_keys(key: jax.Array, view: int, positions: jax.Array) -> jax.Array:
  """A key for each image's view of that number."""
  return jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.fold_in(key, view), positions
  )
