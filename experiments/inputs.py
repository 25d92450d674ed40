"""The images of a config's data set, as an experiment needs them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import chex
import jax
import ml_collections
import numpy as np

from byol_jax import features, parallel
from byol_jax.data import augment, batches, sources


class Inputs:
  """What `config.data` describes: batches to train on, features to probe."""

  def __init__(self, config: ml_collections.ConfigDict):
    self._config = config
    self._data = config.data
    parallel.check_batch_size(config.train.batch_size, config.train.accumulate)
    self.train = self.source(self._data.train)

  def source(self, split: str) -> sources.Source:
    """A split of the data set."""
    return sources.open_source(self._data.name, split, self._data.data_dir)

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
    train = self._config.train
    host_batches = batches.train_batches(
      self.train,
      views,
      self._data.size,
      train.batch_size,
      self._config.seed,
      first_step,
      train.steps,
      jax.process_index(),
      jax.process_count(),
      self._data.workers,
    )
    return parallel.prefetch(host_batches, train.accumulate)

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
