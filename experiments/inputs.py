"""The images of a config's data set, as an experiment needs them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import chex
import jax
import ml_collections
import numpy as np
from absl import logging

from byol_jax import features, machine, parallel
from byol_jax.data import (
  batches,
  colour,
  decoded,
  device_crops,
  processes,
  sources,
  views,
)
from byol_jax.data.batches import Batch
from byol_jax.data.folder import FolderDataset, FolderSource
from byol_jax.description import ImageForm
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir

_COPIES = 2  # of a batch, at the least: one is made while another is used


class Inputs:
  """What `config.data` describes: batches to train on, features to probe."""

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    dataset: sources.Dataset,
    splits: Sequence[str] = (),
    channels: int | None = None,
  ):
    """Opens the training split and checks everything else.

    Args:
      config: of it, `data`, `train`, `eval` and `seed` are used.
      dataset: that of `config.data`.
      splits: what will be asked for later on.
      channels: that images must have; None for any.

    Raises:
      UserError: something of it is not there or does not fit.
    """
    self._config = config
    self._data = config.data
    self._sources: dict[str, sources.Source] = {}
    train = config.train
    parallel.check_batch_size("train.batch_size", train.batch_size, train.accumulate)
    parallel.check_batch_size("eval.batch_size", config.eval.batch_size)
    self.dataset = dataset
    self.unreadable = dict(dataset.unreadable)
    self.on_unreadable: Callable[[Mapping[str, str]], None] = lambda unreadable: None
    check_unreadable(dataset, self.unreadable, self._data.max_unreadable)
    sizes = {split: dataset.check(split) for split in (self._data.train, *splits)}
    for split, size in sizes.items():
      if size < 2:
        raise UserError(f"the split {split!r} has one image: give two or more")
    self.train = self.source(self._data.train)
    if channels not in (None, self.train.channels):
      raise UserError(
        f"images of {dataset.name} have {self.train.channels} channels, and the encoder"
        f" was trained on {channels}"
      )
    self.image = ImageForm(
      self._data.size,
      self.train.channels,
      mean=tuple(self._data.mean),
      std=tuple(self._data.std),
      crop=self._data.eval_fraction,
    )
    self.image.check()
    self._check_memory(max((sizes[split] for split in splits), default=1))
    self._warn_of_small_images()
    self._decoded = self._decode() if self._data.on_device else None

  def _check_memory(self, most: int) -> None:
    """Refuses batches that fill the host's memory: the system would kill the run.

    Args:
      most: images of a split, of which batches for evaluation have no more.
    """
    images = max(self._config.train.batch_size, min(self._config.eval.batch_size, most))
    size, _, channels = self.image_shape
    wanted = _COPIES * images * size * size * channels // jax.process_count()
    if wanted > (there := machine.memory()):
      raise UserError(
        f"batches of {images} images of data.size = {size} take {wanted / 2**30:.0f}"
        f" GiB, and there are {there / 2**30:.0f} here: make data.size,"
        " train.batch_size or eval.batch_size smaller"
      )
    if not self._data.on_device:
      share = self._config.train.batch_size // jax.process_count()
      chunk = batches.images_together(share) * 2 * size * size * channels  # two views
      processes.check_memory(self._data.workers, chunk)

  def _warn_of_small_images(self) -> None:
    if isinstance(self.train, FolderSource):
      sides = [min(header.height, header.width) for header in self.train.headers]
      if small := sum(side < self.image.size for side in sides):
        logging.warning(
          "%d of %d images have fewer than data.size = %d pixels a side: they are"
          " enlarged, and show no more than they have",
          small,
          len(sides),
          self.image.size,
        )

  def _decode(self) -> decoded.Decoded:
    """All images to train on, for `data.on_device`; see `decoded.decode`."""
    # CPUs share the host's memory, which alone is known of them.
    of_cpu = machine.memory() // jax.local_device_count()
    return decoded.decode(self.train, parallel.device_memory() or of_cpu)

  def source(self, split: str) -> sources.Source:
    """A split of the data set, opened once."""
    if split not in self._sources:
      self._sources[split] = self.dataset.split(split)
    return self._sources[split]

  @property
  def classes(self) -> int | None:
    """The number of classes, None for a set without labels."""
    return self.train.num_classes

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of what the networks see."""
    return (self.image.size, self.image.size, self.image.channels)

  def batches(
    self, views: Sequence[views.View], first_step: int
  ) -> Iterator[chex.ArrayTree]:
    """Training batches from a step to the last, sharded over the devices.

    What a step makes of one by `cropped` is as `batches.train_batches` has it, with
    leaves [local devices, microbatches, ...].
    """
    steps = range(first_step, self._config.train.steps)
    if self._decoded is None:
      return self._batches(views, steps, self._data.workers)
    return self._batches_of_boxes(self._decoded, views, steps)

  def _batches_of_boxes(
    self, images: decoded.Decoded, views: Sequence[views.View], steps: range
  ) -> Iterator[chex.ArrayTree]:
    """Batches that say what to crop, with all images, which are on the devices."""
    host_batches = decoded.box_batches(
      images,
      views,
      batch_size=self._config.train.batch_size,
      size=self._data.size,
      seed=self._config.seed,
      steps=steps,
      host=jax.process_index(),
      hosts=jax.process_count(),
    )
    on_devices = parallel.copy_to_each(images.images)
    sharded = parallel.prefetch(
      self._noted(host_batches), self._config.train.accumulate
    )
    return (batch | {"images": on_devices} for batch in sharded)

  def cropped(self, batch: chex.ArrayTree) -> chex.ArrayTree:
    """Inside of a step: a batch with its views, cropped here if they are not yet."""
    if "boxes" not in batch:
      return batch
    return device_crops.crop_batch(batch, self._data.size)

  def first_batch(self, views: Sequence[views.View]) -> chex.ArrayTree:
    """The batch of step 0 alone."""
    return next(self._batches(views, range(1), workers=0))

  def _batches(
    self, views: Sequence[views.View], steps: range, workers: int
  ) -> Iterator[chex.ArrayTree]:
    host_batches = batches.train_batches(
      self.train,
      views,
      size=self._data.size,
      batch_size=self._config.train.batch_size,
      seed=self._config.seed,
      steps=steps,
      host=jax.process_index(),
      hosts=jax.process_count(),
      workers=workers,
    )
    return parallel.prefetch(self._noted(host_batches), self._config.train.accumulate)

  def _noted(self, host_batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches, once it is noted which images could not be read."""
    for batch in host_batches:
      indices = batch.pop("unreadable")
      self._note(self.train, set(indices[indices >= 0].tolist()))
      yield batch

  def _note(self, source: sources.Source, indices: set[int]) -> None:
    """Keeps which images could not be read, and why."""
    new = {i for i in indices if source.name(i) not in self.unreadable}
    for index in sorted(new):
      reason = sources.reason(source, index)
      self.unreadable[source.name(index)] = reason
      logging.warning("%s is left out: %s", source.name(index), reason)
    if new:
      self.on_unreadable(self.unreadable)
      check_unreadable(self.dataset, self.unreadable, self._data.max_unreadable)

  def held_out_views(
    self, split: str, views: Sequence[views.View], images: int
  ) -> Iterator[chex.ArrayTree]:
    """Views of some images of a split, the same each time, sharded over the devices.

    Args:
      split: the images.
      views: what to crop of each image.
      images: how many of them, drawn at random by the seed.

    Yields:
      As `batches.train_batches`, without microbatches; "position" counts through all
      batches. The last batch may have more images than were asked for, and some again.
    """
    batch_size = self._images_together(len(views), images)
    host_batches = batches.train_batches(
      self.source(split),
      views,
      size=self._data.size,
      batch_size=batch_size,
      seed=self._config.seed,
      steps=range(-(-images // batch_size)),
      host=jax.process_index(),
      hosts=jax.process_count(),
    )
    numbered = (
      batch | {"position": batch["position"] + np.int32(step * batch_size)}
      for step, batch in enumerate(host_batches)
    )
    return parallel.prefetch(numbered)

  def _images_together(self, views: int, images: int) -> int:
    """How many images to load at a time, so that their views are a batch or less."""
    devices = jax.device_count()
    wanted = min(self._config.eval.batch_size // views, images)
    return devices * max(wanted // devices, 1)

  def standardise(self, images: jax.Array) -> jax.Array:
    """Images in [0, 1] as the networks want them."""
    return colour.standardise(images, self._data.mean, self._data.std)

  def features(
    self,
    forward: Callable[[Any, chex.ArrayTree], dict[str, jax.Array]],
    params: Any,
    split: str,
  ) -> dict[str, np.ndarray]:
    """What a network makes of each image of a split; see `features.extract`."""
    source = self.source(split)
    found = features.extract(
      forward,
      params,
      source,
      size=self._data.size,
      crop=self._data.eval_fraction,
      batch_size=self._config.eval.batch_size,
    )
    self._note(source, set(range(len(source))) - set(found["index"].tolist()))
    return found

  def pixels(self, split: str) -> dict[str, np.ndarray]:
    """The raw-pixel baseline's features of a split; see `features.pixels`."""
    return features.pixels(
      self.source(split), self._data.size, self._data.eval_fraction
    )


def check_unreadable(
  dataset: sources.Dataset, unreadable: Mapping[str, str], most: float
) -> None:
  """Looks whether few enough images are unreadable.

  Args:
    dataset: all images.
    unreadable: name -> reason, of those that are, `dataset.unreadable` among them.
    most: share of all that may be.

  Raises:
    UserError: they are more.
  """
  found, count = len(unreadable), sum(dataset.sizes.values()) + len(dataset.unreadable)
  if found > most * count:
    name, reason = next(iter(unreadable.items()))
    raise UserError(
      f"{found} images of {dataset.name} cannot be read, more than"
      f" data.max_unreadable = {most:g} of all, such as {name} ({reason}): mend or"
      " remove them, or allow more"
    )


def check_folder(
  run_dir: RunDir, dataset: sources.Dataset, name: str
) -> dict[str, Any] | None:
  """Looks whether a run may use a folder for images.

  Args:
    run_dir: the folder.
    dataset: the images.
    name: of the data set, as configs have it.

  Returns:
    The config of the run that is there, None for a new one; the same on all hosts.

  Raises:
    UserError: the folder lies among the images, or its run began with others.
  """
  if isinstance(dataset, FolderDataset):
    dataset.check_outside(run_dir.path, "--workdir")
  before = parallel.value_from_first_host(run_dir.read_config)
  if before and (other := before.get("data", {}).get("name")) != name:
    raise UserError(
      f"{run_dir.path} holds the run of another config (data.name is {other} there, and"
      f" {name} here); choose another --workdir"
    )
  parallel.value_from_first_host(lambda: run_dir.check_images(dataset.listing()))
  return before
