"""An encoder as a compiled program's source: `jax.export`, without this package."""

from pathlib import Path

import jax
import numpy as np
from jax import export

from byol_jax.formats import output
from byol_jax.pretrained import Encoder

PLATFORMS = ("cpu", "cuda", "tpu")


def write(encoder: Encoder, path: str | Path) -> None:
  """Writes a program with the weights in it, for any number of images.

  It maps uint8 [N, size, size, C], crops of the size that the encoder sees, to float32
  [N, D]. JAX alone runs it, on the platforms above:

  >>> program = jax.export.deserialize(bytearray(open("encoder.jax", "rb").read()))
  >>> features = program.call(crops)

  Raises:
    UserError: something is there, or it cannot be written.
  """
  with output.new(path) as file:
    file.write_bytes(_exported(encoder).serialize())


def _exported(encoder: Encoder) -> export.Exported:
  form = encoder.description.image
  shape = export.symbolic_shape(f"n, {form.size}, {form.size}, {form.channels}")

  def embed(crops: jax.Array) -> jax.Array:
    return encoder.embed(encoder.params, encoder.stats, crops)

  images = jax.ShapeDtypeStruct(shape, np.uint8)
  return export.export(jax.jit(embed), platforms=PLATFORMS)(images)
