"""The encoder of a run: images in, features out.

Its description lies in the run's folder, in encoder.json, and says all that is
needed to use it elsewhere: the network, and what its images look like. The data set
that it was trained on is not needed.
"""

import contextlib
import dataclasses
import functools
import json
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
    std: likewise.
    crop: the crop's share of the image's shorter side, in (0, 1].
  """

  size: int
  channels: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  crop: float


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
    network: its functions.
  """

  params: hk.Params = dataclasses.field(repr=False)
  stats: hk.State = dataclasses.field(repr=False)
  description: Description
  step: int
  network: model.EncoderNetwork = dataclasses.field(repr=False)

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
    batch_size = min(max(batch_size, 1), max(len(images), 1))
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
  return Encoder(params, stats, description, step, network)


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
  return Description(found["network"], found["precision"], form)


def _find(run: str | Path, which: str | int) -> dict[str, Any]:
  """What is in encoder.json; made up from config.json for a run that is older."""
  checkpoints = stored.choose(run, which)
  # checkpoints/STEP of a run, a folder of steps, or a step that was moved.
  folders = [*checkpoints[0].parents[1::-1], checkpoints[0]]
  for folder in folders:
    if (folder / FILE).exists():
      return _checked_description(folder / FILE)
  for folder in folders:
    if (folder / "config.json").exists():
      return _of_older_run(folder / "config.json", checkpoints)
  raise UserError(f"{folders[0]} has no {FILE}: is it the folder of a pretraining run?")


def _checked_description(path: Path) -> dict[str, Any]:
  found = read_json(path)
  with _damage(path):
    if found["format"] > FORMAT:
      raise UserError(
        f"{path} is of format {found['format']}, and this byol_jax reads up to"
        f" {FORMAT}: install a newer one"
      )
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
    return to_json(Description(network, config["train"]["precision"], form))


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
  """Turns what a description lacks into one line."""
  try:
    yield
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(f"{path} is damaged ({error!r}): restore it") from error


def _checked(images: np.ndarray, channels: int) -> np.ndarray:
  images = np.asarray(images)
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
