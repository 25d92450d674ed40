"""The images of a config's data set, as an experiment needs them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from byol_jax import features, parallel
from byol_jax.data import augment, batches, sources


class Inputs:
  """What `config.data` describes: batches to train on, features to probe."""

  def __init__(self, config: ml_collections.ConfigDict, splits: Sequence[str] = ()):
    """Opens the training split and checks everything else.

    Args:
      config: of it, `data`, `train`, `eval` and `seed` are used.
      splits: what will be asked for later on.

    Raises:
      UserError: something of it is not there or does not fit.
    """
    self._config = config
    self._data = config.data
    self._sources: dict[str, sources.Source] = {}
    train = config.train
    parallel.check_batch_size("train.batch_size", train.batch_size, train.accumulate)
    parallel.check_batch_size("eval.batch_size", config.eval.batch_size)
    for split in splits:
      sources.check_split(self._data.name, split, self._data.data_dir)
    self.train = self.source(self._data.train)
    jax.eval_shape(self.standardise, jnp.zeros(self.image_shape))

  def source(self, split: str) -> sources.Source:
    """A split of the data set, opened once."""
    if split not in self._sources:
      name, data_dir = self._data.name, self._data.data_dir
      self._sources[split] = sources.open_source(name, split, data_dir)
    return self._sources[split]

  @property
  def classes(self) -> int | None:
    """The number of classes, None for a set without labels."""
    return self.train.num_classes

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of what the networks see."""
    return (self._data.size, self._data.size, self.train.channels)

  def batches(
    self, views: Sequence[augment.View], first_step: int
  ) -> Iterator[chex.ArrayTree]:
    """Training batches from a step to the last, sharded over the devices.

    Leaves are [local devices, accumulation pieces, ...]; see `train_batches`.
    """
    return self._batches(
      views, first_step, self._config.train.steps, self._data.workers
    )

  def first_batch(self, views: Sequence[augment.View]) -> chex.ArrayTree:
    """The batch of step 0 alone."""
    return next(self._batches(views, 0, 1, workers=0))

  def _batches(self, views, first_step, last_step, workers) -> Iterator[chex.ArrayTree]:
    host_batches = batches.train_batches(
      self.train,
      views,
      self._data.size,
      self._config.train.batch_size,
      self._config.seed,
      first_step,
      last_step,
      jax.process_index(),
      jax.process_count(),
      workers,
    )
    return parallel.prefetch(host_batches, self._config.train.accumulate)

  def standardise(self, images: jax.Array) -> jax.Array:
    """Images in [0, 1] as the networks want them."""
    return augment.standardise(images, self._data.mean, self._data.std)

  def features(
    self,
    forward: Callable[[Any, chex.ArrayTree], dict[str, jax.Array]],
    params: Any,
    split: str,
  ) -> dict[str, np.ndarray]:
    """What a network makes of each image of a split; see `features.extract`."""
    return features.extract(
      forward,
      params,
      self.source(split),
      self._data.size,
      self._data.eval_fraction,
      self._config.eval.batch_size,
    )

  def pixels(self, split: str) -> dict[str, np.ndarray]:
    """The raw-pixel baseline's features of a split; see `features.pixels`."""
    return features.pixels(
      self.source(split), self._data.size, self._data.eval_fraction
    )
