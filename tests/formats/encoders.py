"""Encoders of any kind, their weights drawn at random, none of them 0 or 1."""

import jax
import numpy as np

from byol_jax.description import Description, ImageForm
from byol_jax.pretrained import Encoder, shapes


def make(norm="batch", depth=18, stem="cifar", *, size=16, channels=3, **network):
  """A narrow encoder of images of one size."""
  settings = {"width": 0.125, "groups": 2, "standardised": False} | network
  network = {"norm": norm, "depth": depth, "stem": stem, **settings}
  form = ImageForm(size, channels, (0.4, 0.5, 0.6)[:channels], (0.25,), 1.0)
  description = Description(network, "float32", form)
  params, stats = drawn(shapes(description), count=300)
  return Encoder(params, stats, description, 1234)


def images(encoder, count=3, seed=1):
  """Noise that the encoder sees as it is, uint8 [count, size, size, C]."""
  form = encoder.description.image
  shape = (count, form.size, form.size, form.channels)
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def drawn(shapes, count):
  """Parameters and statistics of these shapes at random; counters show `count`."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    name = path[-1].key
    if name == "counter":
      return np.array(count, np.int32)
    if name == "w":
      found = rng.normal(0, np.prod(leaf.shape[:-1]) ** -0.5, leaf.shape)
    elif name == "scale" or "var_ema" in path[1].key:
      found = rng.uniform(0.5, 1.5, leaf.shape)
    else:
      found = rng.normal(0, 0.2, leaf.shape)
    return found.astype(leaf.dtype)

  return jax.tree.map_with_path(draw, shapes)
