"""The encoder of a run: images in, features out.

Its description lies in the run's folder, in encoder.json, and says all that is
needed to use it elsewhere: the network, and what its images look like. The data set
that it was trained on is not needed.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from byol_jax import parallel
from byol_jax.data import colour, crops
from byol_jax.errors import UserError
from byol_jax.nets import model
from byol_jax.run import stored
from byol_jax.run.folder import read_json

FORMAT = 1  # of encoder.json; a reader refuses a higher one
FILE = "encoder.json"


class ImageForm(NamedTuple):
  """What an encoder sees of an image.

  Attributes:
    size: pixels a side of the central crop, resized.
    channels: 1, 3 or 4.
    mean: of the standardisation of pixels in [0, 1], one value a channel or one.
    std: likewise, above 0.
    crop: the crop's share of the image's shorter side, in (0, 1].
  """

  size: int
  channels: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  crop: float

  def check(self) -> None:
    """Raises UserError if a field is outside of its range."""
    for name in ("size", "channels"):
      value = getattr(self, name)
      if type(value) is not int or value < 1:
        raise UserError(f"{name} of images is {value!r}: give a whole number above 0")
    for name in ("mean", "std"):
      values = getattr(self, name)
      if not all(map(_is_finite, values)) or len(values) not in (1, self.channels):
        raise UserError(
          f"{name} of images is {values}: give {self.channels} numbers, or one for all"
        )
    if min(self.std) <= 0:
      raise UserError(f"std of images is {self.std}: give numbers above 0")
    if not (_is_finite(self.crop) and 0 < self.crop <= 1):
      raise UserError(f"eval_fraction of images is {self.crop}: give a share in (0, 1]")


def _is_finite(value: Any) -> bool:
  return isinstance(value, int | float) and math.isfinite(value)


class Description(NamedTuple):
  """An encoder without its parameters.

  Attributes:
    network: norm, groups, standardised, and the settings of `nets.resnet.ResNet`.
    precision: in which it computes, a key of `nets.model.PRECISIONS`.
    image: what it sees.
  """

  network: Mapping[str, Any]
  precision: str
  image: ImageForm


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

  def __call__(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Features of images, each by itself.

    Images are prepared as in evaluation: central crop, bicubic resizing,
    standardisation.

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
    # The last batch is filled up, so that one program serves all.
    crop = np.zeros((batch_size, form.size, form.size, form.channels), np.uint8)
    features = [np.zeros((0, self.features), np.float32)]
    for start in range(0, len(images), batch_size):
      batch = images[start : start + batch_size]
      for i, image in enumerate(batch):
        crop[i] = crops.central_crop(image, form.size, form.crop)
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

  def embed(self, params: hk.Params, stats: hk.State, crop: jax.Array) -> jax.Array:
    """Features [N, D] of crops uint8 [N, size, size, C]; a pure function, for a step.

    Args:
      params: `self.params`, or others of the same shapes.
      stats: `self.stats`, likewise.
      crop: of the size that the encoder sees.
    """
    form = self.description.image
    images = colour.standardise(colour.to_unit(crop), form.mean, form.std)
    return self.network.embed(params, stats, images)

  @functools.cached_property
  def _compiled(self) -> Callable[[hk.Params, hk.State, np.ndarray], jax.Array]:
    return jax.jit(self.embed)


def load_encoder(
  run: str | Path, which: str | int = "newest", precision: str | None = None
) -> Encoder:
  """Opens the encoder of a pretraining run; its data set need not be there.

  >>> encoder = byol_jax.load_encoder("runs/byol_gn_ws")
  >>> encoder(images).shape  # uint8 [N, H, W, C]
  (N, 256)

  Args:
    run: the folder of the run, its `checkpoints/` folder, or one step's folder.
    which: "newest", the last checkpoint that is whole; "best", that of the highest
      held-out score; or a step.
    precision: in which to compute, in place of the run's own.

  Raises:
    UserError: it is no pretraining run, or it has no such checkpoint; what is there
      is damaged, or by a newer version.
  """
  if not run:
    raise UserError("name the run whose encoder is wanted")
  text = parallel.text_from_first_host(lambda: json.dumps(_find(run, which)))
  description = _from_json(json.loads(text))
  if precision:
    description = description._replace(precision=precision)
  network = model.make_encoder(description.network, description.precision)
  size, channels = description.image.size, description.image.channels
  params, stats = jax.eval_shape(
    network.init, jax.random.key(0), jnp.zeros((1, size, size, channels))
  )
  step, found = stored.load(run, {"online": params, "online_stats": stats}, which)
  params, stats = jax.device_put((found["online"], found["online_stats"]))
  return Encoder(params, stats, description, step)


def to_json(description: Description) -> dict[str, Any]:
  """A description as encoder.json has it."""
  return {
    "format": FORMAT,
    "network": dict(description.network),
    "precision": description.precision,
    "image": description.image._asdict(),
  }


def _from_json(found: Mapping[str, Any]) -> Description:
  image = found["image"]
  form = ImageForm(**image | {key: tuple(image[key]) for key in ("mean", "std")})
  form.check()
  return Description({**found["network"]}, found["precision"], form)


def _find(run: str | Path, which: str | int) -> dict[str, Any]:
  """What is in encoder.json; made up from config.json for a run that is older."""
  checkpoints = stored.choose(run, which)
  # checkpoints/STEP of a run, a folder of steps, or a step that was moved.
  for folder in (checkpoints[0], *checkpoints[0].parents[:2]):
    if (folder / FILE).exists():
      return _checked_description(folder / FILE)
    if (folder / "config.json").exists():
      return _of_older_run(folder / "config.json", checkpoints)
  raise UserError(
    f"{checkpoints[0]} has no {FILE} beside it: copy it there from the folder of the"
    " pretraining run"
  )


def _checked_description(path: Path) -> dict[str, Any]:
  found = read_json(path)
  number = found.get("format")
  if type(number) is int and number > FORMAT:
    raise UserError(
      f"{path} is of format {number}, and this byol_jax reads up to {FORMAT}: install a"
      " newer one"
    )
  with _damage(path):
    if number != FORMAT:
      raise ValueError(f"format is {number!r}")
    _from_json(found)
  return found


def _of_older_run(path: Path, checkpoints: Sequence[Path]) -> dict[str, Any]:
  """The description of a run of version 0.1, which wrote no encoder.json."""
  config = read_json(path)
  if config.get("experiment") != "pretrain":
    raise UserError(f"{path.parent} is not the folder of a pretraining run")
  with _damage(path):
    network, data = config["encoder"], config["data"]
    first = f"online:res_net{network['depth']}/~/initial_conv:w"
    *_, channels, _ = stored.shape(checkpoints, first)
    form = ImageForm(
      size=data["size"],
      channels=channels,
      mean=data["mean"],
      std=data["std"],
      crop=data["eval_fraction"],
    )
    description = to_json(Description(network, config["train"]["precision"], form))
    _from_json(description)
    return description


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
  """Turns what a description lacks into one line."""
  try:
    yield
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(f"{path} is damaged ({error!r}): restore it") from error
  except UserError as error:
    raise UserError(f"{path}: {error}") from error


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
