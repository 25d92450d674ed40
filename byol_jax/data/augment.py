"""Image augmentation on the device, after the host has cropped and flipped.

The order and the meaning of the operations follow BYOL (Grill et al. 2020,
arXiv 2006.07733, appendix B and table 6); where the text leaves a choice, they
follow the code released with it: colour jitter, grayscale, Gaussian blur,
solarisation, each with its own probability, drawn per image. Standardisation
comes last, in `standardise`.

An image is float32 [H, W, C] in [0, 1]. The operations also take leading
dimensions, [..., H, W, C], and an amount that broadcasts.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from byol_jax.errors import UserError

_TINY = 1e-12  # keeps the hue and saturation of grey and black pixels finite


class View(NamedTuple):
  """How one of the two views of an image is made; BYOL's view 1 by default.

  The crop and the flip happen on the host, the rest in `augment`. A probability
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


def reduced(view: View, name: str) -> View:
  """A view without the operations that a row of `REMOVED` takes away.

  Raises:
    UserError: there is no such row.
  """
  if name not in REMOVED:
    raise UserError(
      f"unknown augmentations {name!r}; choose one of {', '.join(REMOVED)}"
    )
  removed: dict[str, Any] = dict.fromkeys(REMOVED[name], 0.0)
  return view._replace(**removed)


def check_view(view: View) -> None:
  """Raises UserError if a field of `view` is outside of its range."""
  for name, value in view._asdict().items():
    if isinstance(value, Sequence):
      top = 1.0 if name == "crop_area" else float("inf")
      if not (len(value) == 2 and 0 < value[0] <= value[1] <= top):
        raise UserError(
          f"view.{name} is {value}: give (low, high), 0 < low <= high <= {top}."
        )
    else:
      top = 0.5 if name == "hue" else 1.0
      if not 0 <= value <= top:
        raise UserError(f"view.{name} is {value}: give a value in [0, {top}].")


def to_unit(images: jax.Array) -> jax.Array:
  """Pixels of any shape, uint8 in 0..255, as float32 in [0, 1]."""
  chex.assert_type(images, jnp.uint8)
  return images.astype(jnp.float32) / 255


def standardise(
  images: jax.Array, mean: Sequence[float], std: Sequence[float]
) -> jax.Array:
  """(images - mean) / std, per channel.

  Args:
    images: [..., C].
    mean: one value a channel, or one for all.
    std: likewise, above 0.

  Returns:
    An array of the shape of `images`.

  Raises:
    UserError: a length is neither C nor 1.
  """
  channels = images.shape[-1]
  for name, values in (("mean", mean), ("std", std)):
    if len(values) not in (1, channels):
      raise UserError(
        f"{name} has {len(values)} values but the images have {channels}"
        " channels: give one value a channel, or one for all."
      )
  return (images - jnp.asarray(mean)) / jnp.asarray(std)


def augment(keys: jax.Array, images: jax.Array, view: View) -> jax.Array:
  """Randomly changes the colours, blurs and solarises each image.

  What happens to an image depends on its key and its pixels alone, not on the
  batch that it sits in. Images without three channels skip saturation, hue and
  grayscale; those under 20 rows skip the blur, whose kernel is empty there.

  Args:
    keys: [B] typed PRNG keys (`jax.random.key`), one an image, of the default
      generator: others do not draw key by key in a batch.
    images: float32 [B, H, W, C] in [0, 1].
    view: strengths and probabilities; static under `jax.jit`.

  Returns:
    float32 [B, H, W, C] in [0, 1].

  Raises:
    UserError: a field of `view` is outside of its range.
  """
  chex.assert_rank(images, 4)
  chex.assert_shape(keys, images.shape[:1])
  chex.assert_type(images, jnp.float32)
  check_view(view)
  view = _applicable(view, height=images.shape[1], channels=images.shape[3])
  ops = _jitter_ops(view)
  if not (ops or view.grayscale or view.blur or view.solarise):
    return images
  draws = jax.vmap(functools.partial(_draw, view=view, ops=ops))(keys)
  apply = functools.partial(_apply, view=view, ops=ops)
  return _for_each(apply, draws, images)


def adjust_brightness(image: jax.Array, delta: jax.Array) -> jax.Array:
  """Adds `delta` to every pixel. [..., H, W, C], not clipped."""
  return image + delta


def adjust_contrast(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Scales the distance from each channel's mean. [..., H, W, C], not clipped.

  1 leaves the image as it is; 0 gives the mean over the pixels.
  """
  # Rows first: a sum over both axes at once is three times slower on CPU.
  mean = jnp.mean(image, -3, keepdims=True).mean(-2, keepdims=True)
  return mean + factor * (image - mean)


def adjust_saturation(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Multiplies the saturation in HSV by `factor`, up to 1. [..., H, W, 3]."""
  # At constant hue and value the distance to the value scales as the
  # saturation does, which saves the way to HSV and back.
  value, spread = _value_and_spread(image)
  factor = jnp.minimum(factor, value / jnp.maximum(spread, _TINY))
  return value - factor * (value - image)


def adjust_hue(image: jax.Array, delta: jax.Array) -> jax.Array:
  """Turns the hue by `delta` circles. [..., H, W, 3]."""
  hue, saturation, value = jnp.split(rgb_to_hsv(image), 3, -1)
  return hsv_to_rgb(jnp.concatenate([hue + delta, saturation, value], -1))


def to_grayscale(image: jax.Array) -> jax.Array:
  """The luma of RGB (ITU-R BT.601), in three equal channels. [..., 3]."""
  red, green, blue = jnp.split(image, 3, -1)
  luma = 0.2989 * red + 0.5870 * green + 0.1140 * blue
  return jnp.broadcast_to(luma, image.shape)


def blur_radius(height: int) -> int:
  """Pixels on each side of the centre of the blur's kernel: height / 20."""
  return int(height / 10 / 2)


def gaussian_blur(image: jax.Array, sigma: jax.Array) -> jax.Array:
  """Blurs with a separable Gaussian of `sigma` pixels. [H, W, C].

  The kernel has 2 * blur_radius(H) + 1 taps and sums to 1; outside of the image
  all is 0, so that borders darken, as they do in BYOL's code.
  """
  height, width, channels = image.shape
  radius = blur_radius(height)
  distance = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
  kernel = jax.nn.softmax(-(distance**2) / (2 * sigma**2))
  # Sums of shifted rows, W and C as one axis: long vectors. On CPU a depthwise
  # convolution takes thirty times as long, banded matrix products twice.
  padded = jnp.pad(image, [(radius, radius), (radius, radius), (0, 0)])
  rows = padded.reshape(height + 2 * radius, -1)
  rows = sum(w * rows[k : k + height] for k, w in enumerate(kernel))
  rows = sum(
    w * rows[:, k * channels : (k + width) * channels] for k, w in enumerate(kernel)
  )
  return rows.reshape(image.shape)


def solarise(image: jax.Array) -> jax.Array:
  """Inverts what is 0.5 or brighter. Any shape."""
  return jnp.where(image < 0.5, image, 1 - image)


def rgb_to_hsv(image: jax.Array) -> jax.Array:
  """RGB in [0, 1] to hue (a fraction of the circle), saturation and value.

  [..., 3] to [..., 3], all three in [0, 1]. Grey has hue 0 and saturation 0.
  """
  red, green, blue = jnp.split(image, 3, -1)
  value, spread = _value_and_spread(image)
  is_red, is_green = value == red, value == green
  offset = jnp.where(is_red, 0.0, jnp.where(is_green, 2.0, 4.0))
  difference = jnp.where(
    is_red, green - blue, jnp.where(is_green, blue - red, red - green)
  )
  hue = (difference / jnp.maximum(spread, _TINY) + offset) / 6
  saturation = spread / jnp.maximum(value, _TINY)
  return jnp.concatenate([hue - jnp.floor(hue), saturation, value], -1)


def hsv_to_rgb(image: jax.Array) -> jax.Array:
  """The inverse of `rgb_to_hsv`; the hue may be any real number. [..., 3]."""
  hue, saturation, value = jnp.split(image, 3, -1)
  # Each channel is a clipped triangle wave of the hue, at its own phase.
  phase = 6 * hue + jnp.float32([5.0, 3.0, 1.0])
  phase = phase - 6 * jnp.floor(phase / 6)
  dip = jnp.clip(jnp.minimum(phase, 4 - phase), 0, 1)
  return value * (1 - saturation * dip)


def _value_and_spread(image: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The largest of RGB, and its distance to the smallest: [..., 1] each."""
  # Not max(-1): a reduction over three neighbours is slow on CPU.
  red, green, blue = jnp.split(image, 3, -1)
  value = jnp.maximum(jnp.maximum(red, green), blue)
  return value, value - jnp.minimum(jnp.minimum(red, green), blue)


class _JitterOp(NamedTuple):
  """A colour operation; its amount is uniform in neutral +- strength."""

  adjust: Callable[[jax.Array, jax.Array], jax.Array]
  neutral: float
  strength: float


class _Draw(NamedTuple):
  """All that chance decides about one image."""

  jitter: jax.Array  # bool
  order: jax.Array  # int [ops], the order of the colour operations
  amounts: jax.Array  # float [ops]
  grayscale: jax.Array  # bool
  blur: jax.Array  # bool
  sigma: jax.Array  # float, pixels
  solarise: jax.Array  # bool


def _applicable(view: View, height: int, channels: int) -> View:
  """`view` without what means nothing for images of this size and kind."""
  if blur_radius(height) == 0:
    view = view._replace(blur=0.0)
  if channels != 3:
    view = view._replace(saturation=0.0, hue=0.0, grayscale=0.0)
  return view


def _jitter_ops(view: View) -> list[_JitterOp]:
  ops = [
    _JitterOp(adjust_brightness, 0.0, view.brightness),
    _JitterOp(adjust_contrast, 1.0, view.contrast),
    _JitterOp(adjust_saturation, 1.0, view.saturation),
    _JitterOp(adjust_hue, 0.0, view.hue),
  ]
  return [op for op in ops if view.jitter and op.strength]


def _draw(key: jax.Array, view: View, ops: list[_JitterOp]) -> _Draw:
  keys = jax.random.split(key, len(_Draw._fields))
  neutral = jnp.float32([op.neutral for op in ops])
  strength = jnp.float32([op.strength for op in ops])
  unit = _uniform(keys[2], (len(ops),), minval=-1, maxval=1)
  low, high = view.blur_sigma
  return _Draw(
    jitter=_uniform(keys[0]) < view.jitter,
    order=jax.random.permutation(keys[1], len(ops)),
    amounts=neutral + strength * unit,
    grayscale=_uniform(keys[3]) < view.grayscale,
    blur=_uniform(keys[4]) < view.blur,
    sigma=_uniform(keys[5], minval=low, maxval=high),
    solarise=_uniform(keys[6]) < view.solarise,
  )


def _apply(
  draw: _Draw, image: jax.Array, view: View, ops: list[_JitterOp]
) -> jax.Array:
  """Carries out what was drawn for one image [H, W, C]."""

  def jitter(image):
    branches = [functools.partial(_clipped, op.adjust) for op in ops]
    for i in draw.order:
      image = jax.lax.switch(i, branches, image, draw.amounts[i])
    return image

  if ops:
    image = _maybe(draw.jitter, jitter, image)
  if view.grayscale:
    image = _maybe(draw.grayscale, to_grayscale, image)
  if view.blur:
    blur = functools.partial(gaussian_blur, sigma=draw.sigma)
    image = _maybe(draw.blur, blur, image)
  if view.solarise:
    image = _maybe(draw.solarise, solarise, image)
  return jnp.clip(image, 0, 1)


def _clipped(adjust, image, amount):
  return jnp.clip(adjust(image, amount), 0, 1)


def _uniform(
  key: jax.Array, shape: tuple[int, ...] = (), minval: float = 0, maxval: float = 1
) -> jax.Array:
  """The same draws with 64-bit types turned on as without."""
  return jax.random.uniform(key, shape, jnp.float32, minval, maxval)


def _maybe(happens, op, image):
  return jax.lax.cond(happens, op, lambda image: image, image)


def _for_each(
  f: Callable[..., jax.Array], draws: _Draw, images: jax.Array
) -> jax.Array:
  """`f` on each image and its draw, the way that suits the backend."""
  # In a batch, branches become selects: every operation runs on every image.
  # An accelerator hides that; on CPU, one image at a time is about ten times faster.
  if jax.default_backend() == "cpu":
    return jax.lax.map(lambda pair: f(*pair), (draws, images))
  return jax.vmap(f)(draws, images)
