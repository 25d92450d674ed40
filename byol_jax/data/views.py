"""What a view of an image is: its crop, colours and blur. Needs no JAX.

The configs, the host, which crops, and the device, which does the rest, all take it
from here.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from byol_jax.errors import UserError, no_such
from byol_jax.valid import SHARE, Valid, between, pair


class View(NamedTuple):
  """How one of the two views of an image is made; BYOL's view 1 by default.

  The crop and the flip happen on the host (`crops`) or, of images that live on the
  device, there (`device_crops`), the rest in `augment`. A probability
  or a strength of 0 removes its operation from the compiled program.

  Attributes:
    crop_area: range of the crop's share of the image's area, in (0, 1].
    crop_aspect: range of the crop's width / height, log-uniform, above 0.
    flip: probability of a horizontal flip, in [0, 1].
    jitter: probability that the four colour operations apply, in [0, 1].
    brightness: largest value added to or taken from a pixel, in [0, 1].
    contrast: largest relative change of contrast, in [0, 1].
    saturation: largest relative change of saturation, in [0, 1].
    hue: largest shift of the hue, a fraction of its circle, in [0, 0.5].
    grayscale: probability of dropping the colour, in [0, 1].
    blur: probability of the Gaussian blur, in [0, 1].
    blur_sigma: range of its standard deviation in pixels, uniform, above 0.
    solarise: probability of solarisation, in [0, 1].
  """

  crop_area: tuple[float, float] = (0.08, 1.0)
  crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
  flip: float = 0.5
  jitter: float = 0.8
  brightness: float = 0.4
  contrast: float = 0.4
  saturation: float = 0.2
  hue: float = 0.1
  grayscale: float = 0.2
  blur: float = 1.0
  blur_sigma: tuple[float, float] = (0.1, 2.0)
  solarise: float = 0.0


# What each field may be.
VALID: dict[str, Valid] = {
  **dict.fromkeys(View._fields, SHARE),
  "crop_area": pair(1.0),
  "crop_aspect": pair(),
  "blur_sigma": pair(),
  "hue": between(0, 0.5),
}

BYOL_VIEW1 = View()
BYOL_VIEW2 = View(blur=0.1, solarise=0.2)


# BYOL, table 17: the operations, by their probabilities, that are taken away.
_COLOUR = ("jitter", "grayscale")
REMOVED: dict[str, tuple[str, ...]] = {
  "all": (),
  "no_flip": ("flip",),
  "no_blur": ("blur",),
  "no_colour": _COLOUR,
  "no_jitter": ("jitter",),
  "no_grayscale": ("grayscale",),
  "crop_only": ("flip", *_COLOUR, "blur", "solarise"),
  "crop_flip": (*_COLOUR, "blur", "solarise"),
  "crop_colour": ("flip", "blur", "solarise"),
  "crop_blur": ("flip", *_COLOUR, "solarise"),
}


def from_settings(settings: Mapping[str, Any]) -> View:
  """The view that a section of a config describes.

  Raises:
    UserError: a setting is unknown, or out of its range.
  """
  for name in settings:
    if name not in View._fields:
      raise UserError(
        f"a view has no setting {name!r}; it has {', '.join(View._fields)}"
      )
  view = View(**settings)
  check_view(view)
  return view


def reduced(view: View, name: str) -> View:
  """A view without the operations that a row of `REMOVED` takes away.

  Raises:
    UserError: there is no such row.
  """
  if name not in REMOVED:
    raise no_such("set of augmentations", name, REMOVED)
  removed: dict[str, Any] = dict.fromkeys(REMOVED[name], 0.0)
  return view._replace(**removed)


def check_view(view: View) -> None:
  """Raises UserError if a field of `view` is outside of its range."""
  for name, value in view._asdict().items():
    if value not in VALID[name]:
      raise UserError(f"view.{name} is {value}: give {VALID[name].words}")
