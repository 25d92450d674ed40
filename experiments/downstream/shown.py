"""How an encoder is shown images that are not like its own."""

import contextlib

import numpy as np
from absl import logging

from byol_jax.data.sources import Source, Unreadable
from byol_jax.description import ImageForm
from byol_jax.errors import UserError
from experiments.choices import SAMPLE


def conversion(source: Source, form: ImageForm, name: str) -> str | None:
  """Says, and warns, that grey images are shown in colour, or small ones enlarged.

  Args:
    source: the images as they are.
    form: what the encoder sees.
    name: of the data set, for the messages.

  Returns:
    Such as "28 x 28 x 1 shown as 32 x 32 x 3", of 64 images in the middle; None where
    images are of the encoder's size or larger, and have its channels.

  Raises:
    UserError: they have other channels, and are not grey ones for an encoder of RGB.
  """
  if source.channels != form.channels and (source.channels, form.channels) != (1, 3):
    raise UserError(
      f"the images of {name} have {source.channels} channels, and the encoder was"
      f" trained on {form.channels}: choose another set, or another encoder"
    )
  height, width = _size(source)
  if source.channels == form.channels and min(height, width) >= form.size:
    return None
  size = form.size
  text = (
    f"{height} x {width} x {source.channels} shown as {size} x {size} x {form.channels}"
  )
  logging.warning(
    "%s: images are %s, which changes the accuracy: it is not that of an encoder of"
    " such images",
    name,
    text,
  )
  return text


def _size(source: Source) -> tuple[int, int]:
  """Height and width, medians of a sample."""
  sizes = []
  for index in np.unique(np.linspace(0, len(source) - 1, SAMPLE).astype(int)).tolist():
    with contextlib.suppress(Unreadable):
      sizes.append(source[index][0].shape[:2])
  if not sizes:
    raise UserError(f"none of {SAMPLE} images can be read")
  height, width = np.median(sizes, axis=0).astype(int).tolist()
  return height, width
