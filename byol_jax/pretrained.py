"""A pretrained encoder: images in, features out.

It is that of a run, or of a file that `Encoder.save` wrote.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from byol_jax import description as describe
from byol_jax import parallel
from byol_jax.data import colour, crops, reduce
from byol_jax.description import Description
from byol_jax.disk import absolute
from byol_jax.errors import UserError
from byol_jax.formats import saved
from byol_jax.nets import model
from byol_jax.run import stored


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
  """A pretrained encoder, frozen.

  Attributes:
    params: its parameters.
    stats: its running statistics; empty without batch norm.
    description: its network, and what it sees of an image.
    step: updates that it was trained for.
  """

  params: hk.Params = dataclasses.field(repr=False)
  stats: hk.State = dataclasses.field(repr=False)
  description: Description
  step: int

  def __getstate__(self) -> dict[str, Any]:
    """The fields, without what is made from them: functions cannot be pickled."""
    return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

  @functools.cached_property
  def network(self) -> model.EncoderNetwork:
    """Its functions."""
    return model.make_encoder(self.description.network, self.description.precision)

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes the encoder to one file in the format of safetensors.

    The file says itself what it is: `load_encoder` needs nothing else. Other readers
    of safetensors (torch, numpy) find the arrays in it under Haiku's names.

    Args:
      path: of a new file, such as "encoder.safetensors".

    Raises:
      UserError: it is there already, or cannot be written.
    """
    saved.write(path, self.params, self.stats, self.description, self.step)

  def __call__(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Features of images, each by itself.

    Images are prepared as in evaluation: averaged over squares where they are more than
    twice as large as the encoder sees, central crop, bicubic resizing, standardisation.
    So `embed` finds the same features in a file, up to rounding in a JPEG's decoder.

    Args:
      images: uint8 [N, H, W, C], of any height and width.
      batch_size: images that pass through the network together; it changes nothing
        but time, memory and rounding.

    Returns:
      float32 [N, D].

    Raises:
      UserError: the images have another form.
    """
    form = self.description.image
    images = _checked(images, form.channels)
    if type(batch_size) is not int or batch_size < 1:
      raise UserError(f"batch_size is {batch_size!r}: give a whole number above 0")
    batch_size = min(batch_size, max(len(images), 1))
    _, height, width, _ = images.shape
    scale = crops.central_scale(height, width, form.size, form.crop)
    # The last batch is filled up, so that one program serves all.
    crop = np.zeros((batch_size, form.size, form.size, form.channels), np.uint8)
    features = [np.zeros((0, self.features), np.float32)]
    for start in range(0, len(images), batch_size):
      batch = images[start : start + batch_size]
      for i, image in enumerate(batch):
        smaller = reduce.averaged(image, scale)
        crop[i] = crops.central_crop(smaller, form.size, form.crop)
      found = self._compiled(self.params, self.stats, crop)
      features.append(np.asarray(found[: len(batch)], np.float32))
    return np.concatenate(features)

  @functools.cached_property
  def features(self) -> int:
    """D, the number of features."""
    form = self.description.image
    crop = jax.ShapeDtypeStruct((1, form.size, form.size, form.channels), np.uint8)
    return jax.eval_shape(self.embed, self.params, self.stats, crop).shape[-1]

  @functools.cached_property
  def checksum(self) -> str:
    """SHA-256 of its parameters and statistics: names, types, shapes and bytes."""
    arrays = stored.named({"params": self.params, "stats": self.stats})
    total = hashlib.sha256()
    for name, leaf in sorted(arrays.items()):
      array = np.ascontiguousarray(leaf)
      total.update(f"{name} {array.dtype} {array.shape}\n".encode())
      total.update(array.tobytes())
    return total.hexdigest()

  def untrained(self, crop: np.ndarray) -> tuple[hk.Params, hk.State]:
    """Parameters and statistics of a network of the same form before any training.

    Args:
      crop: uint8 [N, size, size, C], of which batch norm takes its statistics.
    """

    def begun(crop: jax.Array) -> tuple[hk.Params, hk.State]:
      images = self._standardised(crop)
      params, stats = self.network.init(jax.random.key(0), images)
      return params, self.network.train(params, stats, images)[1]

    return jax.jit(begun)(crop)

  def embed(self, params: hk.Params, stats: hk.State, crop: jax.Array) -> jax.Array:
    """Features [N, D] of crops uint8 [N, size, size, C]; a pure function, for a step.

    Args:
      params: `self.params`, or others of the same shapes.
      stats: `self.stats`, likewise.
      crop: of the size that the encoder sees.
    """
    return self.network.embed(params, stats, self._standardised(crop))

  def _standardised(self, crop: jax.Array) -> jax.Array:
    form = self.description.image
    return colour.standardise(colour.to_unit(crop), form.mean, form.std)

  @functools.cached_property
  def _compiled(self) -> Callable[[hk.Params, hk.State, np.ndarray], jax.Array]:
    return jax.jit(self.embed)


def load_encoder(
  path: str | os.PathLike[str],
  which: str | int = "newest",
  precision: str | None = None,
) -> Encoder:
  """Opens the encoder of a pretraining run, or a file that `Encoder.save` wrote.

  The data set that it was trained on need not be there.

  >>> encoder = byol_jax.load_encoder("runs/byol_gn_ws")
  >>> encoder(images).shape  # uint8 [N, H, W, C]
  (N, 256)

  Args:
    path: the folder of the run, its `checkpoints/` folder, one step's folder; or a
      file.
    which: "newest", the last checkpoint that is whole; "best", that of the highest
      held-out score; or a step. A file has one encoder, its newest.
    precision: in which to compute, in place of the run's own.

  Raises:
    UserError: it is neither, or the run has no such checkpoint; what is there is
      damaged, or by a newer version.
  """
  if not path:
    raise UserError("name the run whose encoder is wanted")
  is_file, found = parallel.value_from_first_host(lambda: _find(path, which))
  description = describe.from_json(found)
  if precision:
    description = description._replace(precision=precision)
  try:
    params, stats = shapes(description)
  except UserError as error:
    raise UserError(
      f"{path} describes no network ({error}): restore it, or its {describe.FILE}"
    ) from error
  if is_file:
    step, (params, stats) = saved.load(absolute(path), (params, stats))
  else:
    template = {"online": params, "online_stats": stats}
    step, state = stored.load(absolute(path), template, which)
    params, stats = state["online"], state["online_stats"]
  params, stats = jax.device_put((params, stats))
  return Encoder(params, stats, description, step)


def shapes(description: Description) -> tuple[hk.Params, hk.State]:
  """What the parameters and the running statistics of an encoder look like."""
  network = model.make_encoder(description.network, description.precision)
  size, channels = description.image.size, description.image.channels
  images = jnp.zeros((1, size, size, channels))
  return jax.eval_shape(network.init, jax.random.key(0), images)


def _find(path: Any, which: str | int) -> tuple[bool, dict[str, Any]]:
  """Whether it is a file, and the description of the encoder there."""
  if not saved.is_file(path):
    return False, describe.of_run(path, which)
  description = saved.description(absolute(path))
  step = saved.read_metadata(absolute(path)).get("step")
  if str(which) not in ("newest", step):
    raise UserError(
      f"{path} has one encoder, of step {step}, and not {which!r}: leave out which"
    )
  return True, description


def _checked(images: np.ndarray, channels: int) -> np.ndarray:
  try:
    images = np.asarray(images)
  except ValueError as error:  # A list of images of several sizes.
    raise UserError(
      "images are of several sizes: give them one by one, as image[None]"
    ) from error
  if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape[1:]:
    raise UserError(
      f"images are {images.dtype}{list(images.shape)}: give uint8 [N, H, W, C], pixels"
      " from 0 to 255 (one image as image[None])"
    )
  if images.shape[-1] != channels:
    raise UserError(
      f"images have {images.shape[-1]} channels, and the encoder was trained on"
      f" {channels}"
    )
  return images
