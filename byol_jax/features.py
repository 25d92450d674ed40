"""Features of a whole split: what the probes are given."""

from collections.abc import Callable, Iterator
from typing import Any

import chex
import cv2
import jax
import numpy as np

from byol_jax import parallel
from byol_jax.data import batches
from byol_jax.data.sources import Source

# The raw-pixel baseline shrinks images to at most this many pixels a side, as
# a linear probe on more inputs would take longer than the training.
PIXELS_SIZE = 32


def extract(
  forward: Callable[[Any, chex.ArrayTree], dict[str, jax.Array]],
  params: Any,
  source: Source,
  size: int,
  fraction: float,
  batch_size: int,
) -> dict[str, np.ndarray]:
  """Runs a network over every image of a source, once, in order.

  Args:
    forward: (params, {"image": uint8 [n, size, size, C]}) -> {name: [n, ...]},
      mapped by `parallel.pmap`, its outputs gathered by `parallel.gather`.
    params: what `forward` takes first.
    source: the images.
    size: side of the central crop in pixels.
    fraction: its share of the image's shorter side.
    batch_size: images at a time, over all devices.

  Returns:
    What `forward` gives, and "label", [images, ...] each, on every host.
  """
  found: dict[str, list[np.ndarray]] = {}
  for batch in _eval_batches(source, size, fraction, batch_size):
    outputs = jax.device_get(forward(params, batch))
    mask = outputs.pop("mask")
    for name, values in outputs.items():
      found.setdefault(name, []).append(values[mask])
  return {name: np.concatenate(values) for name, values in found.items()}


def gathered(
  forward: Callable[[Any, chex.ArrayTree], dict[str, jax.Array]],
) -> Callable[[Any, chex.ArrayTree], dict[str, jax.Array]]:
  """Maps `forward` of one device's batch as `extract` wants it."""

  def on_device(params, batch):
    outputs = forward(params, batch)
    return parallel.gather(outputs | {k: batch[k] for k in ("label", "mask")})

  return parallel.pmap(on_device)


def pixels(source: Source, size: int, fraction: float) -> dict[str, np.ndarray]:
  """The raw-pixel baseline's features, in the form of `extract`."""
  side = min(size, PIXELS_SIZE)
  found = [
    (_flat(image, side), label)
    for batch in batches.eval_batches(source, size, fraction, 256)
    for image, label, real in zip(
      *(batch[k] for k in ("image", "label", "mask")), strict=True
    )
    if real
  ]
  images, labels = zip(*found, strict=True)
  return {"embedding": np.stack(images), "label": np.array(labels)}


def _flat(image: np.ndarray, side: int) -> np.ndarray:
  """[size, size, C] uint8 -> [side * side * C] float32 in [0, 1]."""
  small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
  return small.reshape(-1).astype(np.float32) / 255


def _eval_batches(source, size, fraction, batch_size) -> Iterator[chex.ArrayTree]:
  return parallel.prefetch(
    batches.eval_batches(
      source,
      size,
      fraction,
      batch_size,
      jax.process_index(),
      jax.process_count(),
    )
  )
