"""Sets that are small enough to be decoded as a whole, to live on the device.

Training then needs little of the host: which images a step shows, and what of them.
That is `box_batches`, the counterpart of `batches.train_batches`: the same seed shows
the same crops of the same images. `device_crops` carries them out.
"""

import concurrent.futures
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from byol_jax import machine, progress
from byol_jax.data import batches, crops
from byol_jax.data.batches import Batch
from byol_jax.data.sources import ArraySource, Source, Unreadable
from byol_jax.data.views import View
from byol_jax.errors import UserError

_MOST = 0.25  # share of a device's memory that a set may take
_BLOCK = 64  # images that one thread decodes in one go
_WAY_OUT = "set data.on_device=False"


class Decoded(NamedTuple):
  """All images of a source.

  Attributes:
    images: uint8[N, H, W, C]; 0 where one cannot be read.
    labels: int32[N], -1 where there is none.
    shown: int32[N], the image that is shown in the place of each: itself, or the next
      one that can be read.
  """

  images: np.ndarray
  labels: np.ndarray
  shown: np.ndarray


def decode(source: Source, memory: int) -> Decoded:
  """Decodes all images of a source, in threads; those in memory are not copied.

  Args:
    source: images of one size.
    memory: bytes of the device on which they are to live.

  Raises:
    UserError: they have different sizes, or take too much of that memory; none can be
      read.
  """
  first, shape = _first_readable(source)
  _check_size(len(source), shape, memory)
  if isinstance(source, ArraySource):
    labels = source.labels.astype(np.int32)
    return Decoded(source.images, labels, np.arange(len(source), dtype=np.int32))
  images = np.zeros((len(source), *shape), np.uint8)
  labels = np.empty(len(source), np.int32)
  readable = np.ones(len(source), bool)

  def decode_block(start: int) -> int:
    block = range(start, min(start + _BLOCK, len(source)))
    for index in block:
      try:
        image, labels[index] = source[index]
      except Unreadable:
        readable[index] = False
        continue
      if image.shape != shape:
        one = _described(source, first, shape)
        other = _described(source, index, image.shape)
        raise UserError(
          f"data.on_device wants images of one size; image {one} pixels, {other}:"
          f" {_WAY_OUT}"
        )
      images[index] = image
    return len(block)

  with (
    progress.shown("decoding", len(source)) as bar,
    concurrent.futures.ThreadPoolExecutor(machine.cores()) as threads,
  ):
    for count in threads.map(decode_block, range(0, len(source), _BLOCK)):
      bar.add(count)
  shown = _next_readable(readable)
  return Decoded(images, labels[shown], shown)


def box_batches(
  decoded: Decoded,
  views: Sequence[View],
  *,
  batch_size: int,
  size: int,
  seed: int,
  steps: range,
  host: int = 0,
  hosts: int = 1,
) -> Iterator[Batch]:
  """Yields this host's part of the batches of some steps, without a pixel.

  Args: as those of `batches.train_batches`.

  Yields:
    'index': int32[b], the image that is shown; 'boxes': int32[b, views, 6], what each
    view shows of it, as `crops.random_boxes` has it; 'label', 'position' and
    'unreadable' as `batches.train_batches` has them.

  Raises:
    UserError: batch_size cannot be divided by hosts.
  """
  count = batches.share_of_host(batch_size, hosts)
  position = np.arange(host * count, (host + 1) * count, dtype=np.int32)
  height, width = decoded.images.shape[1:3]
  for step in steps:
    first = step * batch_size + host * count
    wanted = batches.image_order(seed, first, count, len(decoded.images))
    shown = decoded.shown[wanted]
    draws = [batches.crop_uniforms(seed, v, first, count) for v in range(len(views))]
    yield {
      "index": shown,
      "boxes": crops.random_boxes(
        height, width, uniforms=draws, size=size, views=views
      ),
      "label": decoded.labels[shown],
      "position": position,
      "unreadable": np.where(shown == wanted, -1, wanted).astype(np.int32),
    }


def _first_readable(source: Source) -> tuple[int, tuple[int, ...]]:
  """Index and shape of the first image that can be read."""
  for index in range(len(source)):
    try:
      return index, source[index][0].shape
    except Unreadable as error:
      reason = error
  raise UserError(
    f"none of {len(source)} images can be read, the last because {reason}: mend them"
  )


def _check_size(count: int, shape: tuple[int, ...], memory: int) -> None:
  """Raises UserError if images would take too much memory."""
  size = count * int(np.prod(shape))
  if size > _MOST * memory:
    form = " x ".join(map(str, shape))
    raise UserError(
      f"data.on_device: {count} images of {form} take {size / 2**30:.1f} GiB, more than"
      f" {_MOST:.0%} of the {memory / 2**30:.1f} GiB of a device: {_WAY_OUT}"
    )


def _described(source: Source, index: int, shape: tuple[int, ...]) -> str:
  return f"{source.name(index)} has {shape[0]} x {shape[1]}"


def _next_readable(readable: np.ndarray) -> np.ndarray:
  """For each image the next one, cyclically, that can be read: itself if it can be."""
  there = np.flatnonzero(readable)
  places = np.searchsorted(there, np.arange(len(readable)))
  return there[places % len(there)].astype(np.int32)
