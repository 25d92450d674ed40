"""What an encoder is, without its parameters: encoder.json.

It says all that is needed to use an encoder elsewhere: the network, and what its
images look like. The data set that it was trained on is not needed.
"""

import contextlib
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from byol_jax.disk import read_json
from byol_jax.errors import UserError
from byol_jax.nets.resnet import ResNet
from byol_jax.run import stored
from byol_jax.valid import TRUE_OR_FALSE, Valid

# Of encoder.json; a reader refuses a higher one. 2 may name projected_shortcuts.
FORMAT = 2
FILE = "encoder.json"
LARGEST = 2**14  # pixels a side: far more would end the process, for want of memory
# What a network's settings must be that are in no table of `nets`.
_SETTINGS = {
  "groups": Valid(
    lambda value: value is None or (type(value) is int and value > 0),
    "a whole number above 0",
  ),
  "standardised": TRUE_OR_FALSE,
  "zero_last_scale": TRUE_OR_FALSE,
}


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
    if self.size > LARGEST:
      raise UserError(f"size of images is {self.size}: at most {LARGEST} are possible")
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

  @property
  def settings(self) -> dict[str, Any]:
    """Those of the network, and the defaults of what it leaves out."""
    parameters = inspect.signature(ResNet).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return defaults | dict(self.network)


def to_json(description: Description) -> dict[str, Any]:
  """A description as encoder.json has it."""
  return {
    "format": FORMAT,
    "network": dict(description.network),
    "precision": description.precision,
    "image": description.image._asdict(),
  }


def from_json(found: Mapping[str, Any]) -> Description:
  """The description in what `checked` has let pass."""
  image = found["image"]
  form = ImageForm(**image | {key: tuple(image[key]) for key in ("mean", "std")})
  form.check()
  network = {**found["network"]}
  for name, valid in _SETTINGS.items():
    if name in network and network[name] not in valid:
      raise UserError(f"{name} of the network is {network[name]!r}: give {valid.words}")
  return Description(network, found["precision"], form)


def of_run(run: str | Path, which: str | int) -> dict[str, Any]:
  """What is in a run's encoder.json; made up from config.json for one that is older.

  Raises:
    UserError: it is no pretraining run, or the file is damaged or of a newer version.
  """
  checkpoints = stored.choose(run, which)
  # checkpoints/STEP of a run, a folder of steps, or a step that was moved.
  for folder in (checkpoints[0], *checkpoints[0].parents[:2]):
    if (folder / FILE).exists():
      return checked(read_json(folder / FILE), folder / FILE)
    if (folder / "config.json").exists():
      return _of_older_run(folder / "config.json", checkpoints)
  raise UserError(
    f"{checkpoints[0]} has no {FILE} beside it: copy it there from the folder of the"
    " pretraining run"
  )


def checked(found: dict[str, Any], path: Path) -> dict[str, Any]:
  """A description as `to_json` makes it, found in a file.

  Raises:
    UserError: it is damaged, or by a newer version.
  """
  number = found.get("format")
  if type(number) is int and number > FORMAT:
    raise UserError(
      f"{path} is of format {number}, and this byol_jax reads up to {FORMAT}: install a"
      " newer one"
    )
  with _damage(path):
    if type(number) is not int or number < 1:
      raise ValueError(f"format is {number!r}")
    from_json(found)
  return found


def _of_older_run(path: Path, checkpoints: Sequence[Path]) -> dict[str, Any]:
  """The description of a run of version 0.1, which wrote no encoder.json."""
  config = read_json(path, "restore it")
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
    from_json(description)
    return description


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
  """Turns what a description lacks into one line."""
  try:
    yield
  except (KeyError, TypeError, ValueError, OverflowError) as error:
    raise UserError(f"{path} is damaged ({error!r}): restore it") from error
  except UserError as error:
    raise UserError(f"{path}: {error}") from error
