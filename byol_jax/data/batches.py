"""Batches of crops for one host, in an order that nothing but the seed decides.

Training visits positions p = step * batch_size + i, i = 0..batch_size - 1. With
N images, position p belongs to epoch p // N and shows image number p % N of that
epoch's permutation, so each epoch shows every image exactly once. Permutations
and crops come from a counter-based generator (Philox: Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3") keyed by the seed and counted by
epoch or position. So a step's global batch is a function of (seed, step) alone:
hosts, workers and restarts change nothing, and resuming is arithmetic.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import grain
import numpy as np

from byol_jax import machine
from byol_jax.data import crops, processes, reduce
from byol_jax.data.reduce import Read
from byol_jax.data.sources import NO_LABEL, Source, Unreadable
from byol_jax.data.views import View
from byol_jax.errors import UserError

Batch = dict[str, np.ndarray]

_MAX_CHUNK = 64
_BLOCKS = 2  # Philox counter values of 4 numbers each that one crop consumes
_PERMUTATION, _FIRST_VIEW = 0, 1  # streams of random numbers, second half of key


def train_batches(
  source: Source,
  views: Sequence[View],
  *,
  size: int,
  batch_size: int,
  seed: int,
  steps: range,
  host: int = 0,
  hosts: int = 1,
  workers: int = 0,
) -> Iterator[Batch]:
  """Yields this host's part of the batches of some steps.

  Args:
    source: images of any size and their labels.
    views: what to crop, one view after the other.
    size: side of the crops in pixels.
    batch_size: images in a step over all hosts.
    seed: what the order of the images and their crops depend on, at least 0.
    steps: of which a batch each; they count from 0.
    host: number of this host, in 0..hosts - 1.
    hosts: number of hosts; each takes b = batch_size / hosts in a row.
    workers: processes to load images in; with 0, threads of this one do. Each
      process takes a copy of what `source` keeps in memory.

  Yields:
    'view1', 'view2', ...: uint8[b, size, size, C]; 'label': int32[b], -1 where
    the source has none; 'position': int32[b], the place in the global batch;
    'unreadable': int32[b], the image that could not be read, in whose place the next
    one that can is shown, -1 for none.

  Raises:
    UserError: batch_size cannot be divided by hosts.
    Unreadable: no image can be read.
  """
  share = share_of_host(batch_size, hosts)
  load = functools.partial(
    train_chunk,
    batch_size=batch_size,
    source=source,
    views=tuple(views),
    size=size,
    seed=seed,
  )
  return _iterate(load, steps, offset=host * share, share=share, workers=workers)


def eval_batches(
  source: Source,
  *,
  size: int,
  crop: float,
  batch_size: int,
  host: int = 0,
  hosts: int = 1,
  first: int = 0,
) -> Iterator[Batch]:
  """Yields this host's part of every image once, centrally cropped, in order.

  All hosts yield the same number of batches, padded with black images.

  Args:
    source: images of any size and their labels.
    size: side of the crops in pixels.
    crop: the share of the shorter side that it takes; see `crops.central_crop`.
    batch_size: images in a batch over all hosts.
    host: number of this host, in 0..hosts - 1.
    hosts: number of hosts; each takes b = batch_size / hosts in a row.
    first: batches that are passed over at the beginning.

  Yields:
    'image': uint8[b, size, size, C]; 'label': int32[b], -1 where there is none;
    'index': int32[b], the image's place in the source; 'mask': bool[b], False for
    padding and for images that cannot be read.

  Raises:
    UserError: batch_size cannot be divided by hosts.
  """
  share = share_of_host(batch_size, hosts)
  load = functools.partial(
    _eval_chunk, batch_size=batch_size, source=source, size=size, crop=crop
  )
  steps = range(first, -(-len(source) // batch_size))
  return _iterate(load, steps, offset=host * share, share=share, workers=0)


def share_of_host(batch_size: int, hosts: int) -> int:
  """Images of a batch that each host takes; UserError if they are no whole number."""
  if batch_size % hosts:
    raise UserError(
      f"batch_size {batch_size} cannot be divided by {hosts} hosts: choose a"
      f" multiple of {hosts}"
    )
  return batch_size // hosts


def images_together(share: int) -> int:
  """Images that are loaded in one go, of a host's share of a batch."""
  return max(n for n in range(1, min(share, _MAX_CHUNK) + 1) if share % n == 0)


def _iterate(
  load: Callable[[int, np.ndarray], Batch],
  steps: range,
  *,
  offset: int,
  share: int,
  workers: int,
) -> Iterator[Batch]:
  """Loads `share` images from `offset` on in each step's batch, ahead of time.

  The work is dealt out in chunks, since a thread's round takes longer than a
  small crop. About one batch is loaded ahead of the one that is asked for.
  """
  chunk = images_together(share)
  per_batch = share // chunk

  def load_chunk(index: int) -> Batch:
    step, part = divmod(index, per_batch)
    positions = np.arange(chunk) + offset + part * chunk
    return load(steps[step], positions)

  threads = max(machine.cores() // max(workers, 1), 1)
  ahead = threads + per_batch // max(workers, 1)
  dataset = (
    grain.MapDataset.range(len(steps) * per_batch)
    .map(load_chunk)
    .to_iter_dataset(grain.ReadOptions(threads, ahead))
  )
  dataset = processes.ahead(dataset, workers)
  return processes.iterate(dataset.batch(per_batch, batch_fn=_concatenate))


def _concatenate(chunks: Sequence[Batch]) -> Batch:
  return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}


def train_chunk(
  step: int,
  positions: np.ndarray,
  *,
  batch_size: int,
  source: Source,
  views: tuple[View, ...],
  size: int,
  seed: int,
) -> Batch:
  """Loads the images at consecutive positions of a step's global batch."""
  count = len(positions)
  first = step * batch_size + int(positions[0])
  order = image_order(seed, first, count, len(source)).tolist()
  uniforms = [crop_uniforms(seed, v, first, count) for v in range(len(views))]
  crop_shape = (count, size, size, source.channels)
  cropped = [np.empty(crop_shape, np.uint8) for _ in views]
  labels = np.empty(count, np.int32)
  unreadable = np.full(count, -1, np.int32)
  read = reduce.reader(source)
  for i, index in enumerate(order):
    draws = [uniforms[v][i] for v in range(len(views))]
    scale_for = functools.partial(
      crops.random_scale, uniforms=draws, size=size, views=views
    )
    found, (image, labels[i]) = _next_readable(read, len(source), index, scale_for)
    if found != index:
      unreadable[i] = index
    for v, view in enumerate(views):
      cropped[v][i] = crops.random_crop_flip(image, draws[v], size, view)
  named = {f"view{v}": images for v, images in enumerate(cropped, start=1)}
  position = positions.astype(np.int32)
  return named | {"label": labels, "position": position, "unreadable": unreadable}


def _next_readable(
  read: Read, count: int, first: int, scale_for: Callable[[int, int], int]
) -> tuple[int, tuple[np.ndarray, int]]:
  """The first image from `first` on, cyclically, that can be read, and its index."""
  for index in range(first, first + count):
    try:
      return index % count, read(index % count, scale_for)
    except Unreadable as error:
      reason = error
  raise reason


def _eval_chunk(
  step: int,
  positions: np.ndarray,
  *,
  batch_size: int,
  source: Source,
  size: int,
  crop: float,
) -> Batch:
  indices = step * batch_size + positions
  mask = indices < len(source)
  images = np.zeros((len(indices), size, size, source.channels), np.uint8)
  labels = np.full(len(indices), NO_LABEL, np.int32)
  scale_for = functools.partial(crops.central_scale, size=size, fraction=crop)
  read = reduce.reader(source)
  for i, index in enumerate(indices[mask].tolist()):
    try:
      image, labels[i] = read(index, scale_for)
    except Unreadable:
      mask[i] = False
      continue
    images[i] = crops.central_crop(image, size, crop)
  index = indices.astype(np.int32)
  return {"image": images, "label": labels, "index": index, "mask": mask}


# Raw Philox output never changes between versions of numpy, while the methods of
# its Generator may: hence the sort in place of Generator.permutation.
@functools.lru_cache(maxsize=2)
def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
  """Order of an epoch's images: each of 0..count - 1 once."""
  philox = np.random.Philox(key=[seed, _PERMUTATION], counter=[0, epoch, 0, 0])
  return np.argsort(philox.random_raw(count), kind="stable")


def image_order(seed: int, first: int, count: int, images: int) -> np.ndarray:
  """Which of the images is where: of positions first..first + count - 1."""
  epochs, places = np.divmod(np.arange(first, first + count), images)
  order = np.empty(count, np.int64)
  for epoch in np.unique(epochs).tolist():
    inside = epochs == epoch
    order[inside] = permutation(seed, epoch, images)[places[inside]]
  return order


def crop_uniforms(seed: int, view: int, first: int, count: int) -> np.ndarray:
  """Numbers in [0, 1) for the crops at positions first..first + count - 1.

  Position p owns the counter values 2 p and 2 p + 1, so a number depends on
  (seed, view, p) alone and one generator serves a run of positions.
  """
  philox = np.random.Philox(
    key=[seed, _FIRST_VIEW + view], counter=[first * _BLOCKS, 0, 0, 0]
  )
  raw = philox.random_raw(count * _BLOCKS * 4).reshape(count, -1)
  return (raw[:, : crops.NUM_UNIFORMS] >> 11) * 2.0**-53
