"""Features of a whole split: what the probes are given."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import chex
import cv2
import haiku as hk
import jax
import numpy as np

from byol_jax import parallel, progress
from byol_jax.data import batches
from byol_jax.data.sources import Source
from byol_jax.errors import UserError
from byol_jax.pretrained import Encoder

# The raw-pixel baseline shrinks images to at most this many pixels a side, as
# a linear probe on more inputs would take longer than the training.
PIXELS_SIZE = 32


def extract(
  forward: Callable[[Any, chex.ArrayTree], dict[str, jax.Array]],
  params: Any,
  source: Source,
  *,
  size: int,
  crop: float,
  batch_size: int,
) -> dict[str, np.ndarray]:
  """Runs a network over every image of a source, once, in order.

  Args:
    forward: (params, {"image": uint8 [n, size, size, C]}) -> {name: [n, ...]},
      mapped by `parallel.pmap`, its outputs gathered by `parallel.gather`.
    params: what `forward` takes first.
    source: the images.
    size: side of the central crop in pixels.
    crop: its share of the image's shorter side.
    batch_size: images at a time, over all devices.

  Returns:
    What `forward` gives, "label" and "index", [images, ...] each, on every host.
    Images that cannot be read are left out: "index" says which are there.
  """
  batches = _eval_batches(source, size, crop, batch_size)
  return _concatenated(_outputs(forward, params, batches), len(source))


def _outputs(
  forward: Callable[[Any, chex.ArrayTree], dict[str, jax.Array]],
  params: Any,
  batches: Iterator[chex.ArrayTree],
) -> Iterator[dict[str, np.ndarray]]:
  """What `extract` gives, batch by batch."""
  running: dict[str, jax.Array] = {}
  for batch in batches:
    # Accelerators are at work on this batch while the one before is fetched.
    before, running = running, forward(params, batch)
    if before:
      yield _real(before)
  if running:
    yield _real(running)


def _real(outputs: dict[str, jax.Array]) -> dict[str, np.ndarray]:
  """Fetches outputs, without those of padding and of images that cannot be read."""
  found = jax.device_get(outputs)
  mask = found.pop("mask")
  return {name: values[mask] for name, values in found.items()}


def _concatenated(
  parts: Iterable[dict[str, np.ndarray]], images: int
) -> dict[str, np.ndarray]:
  found = []
  with progress.shown("features", images) as bar:
    for part in parts:
      found.append(part)
      bar.add(len(part["index"]))
  return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def gathered(
  forward: Callable[[Any, chex.ArrayTree], dict[str, jax.Array]],
) -> Callable[[Any, chex.ArrayTree], dict[str, jax.Array]]:
  """Maps `forward` of one device's batch as `extract` wants it."""

  def on_device(params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    outputs = forward(params, batch)
    return parallel.gather(outputs | {k: batch[k] for k in ("label", "index", "mask")})

  return parallel.pmap(on_device)


def of_encoder(
  encoder: Encoder, source: Source, batch_size: int = 256
) -> dict[str, np.ndarray]:
  """A pretrained encoder's features of every image of a source, in order.

  Args:
    encoder: the encoder.
    source: images of any size, with as many channels as it sees.
    batch_size: images at a time, over all devices.

  Returns:
    "embedding" float32 [images, D], "label" and "index" [images], on every host.

  Raises:
    UserError: the images have other channels, or the devices cannot share a batch.
  """
  return _concatenated(stream(encoder, source, batch_size), len(source))


def stream(
  encoder: Encoder, source: Source, batch_size: int, first: int = 0
) -> Iterator[dict[str, np.ndarray]]:
  """What `of_encoder` gives, batch by batch, from batch number `first` on.

  Raises:
    UserError: as `of_encoder`, at once.
  """
  check(encoder, source, batch_size)
  form = encoder.description.image

  def forward(
    state: tuple[hk.Params, hk.State], batch: dict[str, jax.Array]
  ) -> dict[str, jax.Array]:
    params, stats = state
    return {"embedding": encoder.embed(params, stats, batch["image"])}

  return _outputs(
    gathered(forward),
    parallel.replicate((encoder.params, encoder.stats)),
    _eval_batches(source, form.size, form.crop, batch_size, first),
  )


def check(encoder: Encoder, source: Source, batch_size: int) -> None:
  """Raises UserError where `of_encoder` would."""
  channels = encoder.description.image.channels
  if source.channels != channels:
    raise UserError(
      f"images have {source.channels} channels, and the encoder was trained on"
      f" {channels}"
    )
  parallel.check_batch_size("batch_size", batch_size)


def pixels(source: Source, size: int, crop: float) -> dict[str, np.ndarray]:
  """The raw-pixel baseline's features, in the form of `extract`."""
  side = min(size, PIXELS_SIZE)
  found = []
  with progress.shown("pixels", len(source)) as bar:
    for batch in batches.eval_batches(source, size=size, crop=crop, batch_size=256):
      columns = (batch[k][batch["mask"]] for k in ("image", "label"))
      pairs = zip(*columns, strict=True)
      found += [(_flat(image, side), label) for image, label in pairs]
      bar.add(int(batch["mask"].sum()))
  images, labels = zip(*found, strict=True)
  return {"embedding": np.stack(images), "label": np.array(labels)}


def _flat(image: np.ndarray, side: int) -> np.ndarray:
  """[size, size, C] uint8 -> [side * side * C] float32 in [0, 1]."""
  small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
  return small.reshape(-1).astype(np.float32) / 255


def _eval_batches(
  source: Source, size: int, crop: float, batch_size: int, first: int = 0
) -> Iterator[chex.ArrayTree]:
  return parallel.prefetch(
    batches.eval_batches(
      source,
      size=size,
      crop=crop,
      batch_size=batch_size,
      host=jax.process_index(),
      hosts=jax.process_count(),
      first=first,
    )
  )
