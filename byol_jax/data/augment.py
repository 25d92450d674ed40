"""Image augmentation on the device, after the host has cropped and flipped.

The order and the meaning of the operations follow BYOL (Grill et al. 2020,
arXiv 2006.07733, appendix B and table 6); where the text leaves a choice, they
follow the code released with it: colour jitter, grayscale, Gaussian blur,
solarisation, each with its own probability, drawn per image. Standardisation
comes last, in `colour.standardise`.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from byol_jax.data import colour
from byol_jax.data.views import View, check_view


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
  ops = jitter_ops(view)
  if not (ops or view.grayscale or view.blur or view.solarise):
    return images
  draws = jax.vmap(functools.partial(draw, view=view, ops=ops))(keys)
  apply = functools.partial(_apply, view=view, ops=ops)
  return for_each(apply, draws, images)


class JitterOp(NamedTuple):
  """A colour operation; its amount is uniform in neutral +- strength."""

  adjust: Callable[[jax.Array, jax.Array], jax.Array]
  neutral: float
  strength: float


class Draw(NamedTuple):
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
  if colour.blur_radius(height) == 0:
    view = view._replace(blur=0.0)
  if channels != 3:
    view = view._replace(saturation=0.0, hue=0.0, grayscale=0.0)
  return view


def jitter_ops(view: View) -> list[JitterOp]:
  """The colour operations of a view that do something."""
  ops = [
    JitterOp(colour.adjust_brightness, 0.0, view.brightness),
    JitterOp(colour.adjust_contrast, 1.0, view.contrast),
    JitterOp(colour.adjust_saturation, 1.0, view.saturation),
    JitterOp(colour.adjust_hue, 0.0, view.hue),
  ]
  return [op for op in ops if view.jitter and op.strength]


def draw(key: jax.Array, view: View, ops: list[JitterOp]) -> Draw:
  """Draws for one image."""
  keys = jax.random.split(key, len(Draw._fields))
  neutral = jnp.float32([op.neutral for op in ops])
  strength = jnp.float32([op.strength for op in ops])
  unit = _uniform(keys[2], (len(ops),), minval=-1, maxval=1)
  low, high = view.blur_sigma
  return Draw(
    jitter=_uniform(keys[0]) < view.jitter,
    order=jax.random.permutation(keys[1], len(ops)),
    amounts=neutral + strength * unit,
    grayscale=_uniform(keys[3]) < view.grayscale,
    blur=_uniform(keys[4]) < view.blur,
    sigma=_uniform(keys[5], minval=low, maxval=high),
    solarise=_uniform(keys[6]) < view.solarise,
  )


def _apply(draw: Draw, image: jax.Array, view: View, ops: list[JitterOp]) -> jax.Array:
  """Carries out what was drawn for one image [H, W, C]."""

  def jitter(image: jax.Array) -> jax.Array:
    branches = [functools.partial(_clipped, op.adjust) for op in ops]
    for i in draw.order:
      image = jax.lax.switch(i, branches, image, draw.amounts[i])
    return image

  if ops:
    image = _maybe(draw.jitter, jitter, image)
  if view.grayscale:
    image = _maybe(draw.grayscale, colour.to_grayscale, image)
  if view.blur:
    blur = functools.partial(colour.gaussian_blur, sigma=draw.sigma)
    image = _maybe(draw.blur, blur, image)
  if view.solarise:
    image = _maybe(draw.solarise, colour.solarise, image)
  return jnp.clip(image, 0, 1)


def _clipped(
  adjust: Callable[[jax.Array, jax.Array], jax.Array],
  image: jax.Array,
  amount: jax.Array,
) -> jax.Array:
  return jnp.clip(adjust(image, amount), 0, 1)


def _uniform(
  key: jax.Array, shape: tuple[int, ...] = (), minval: float = 0, maxval: float = 1
) -> jax.Array:
  """The same draws with 64-bit types turned on as without."""
  return jax.random.uniform(key, shape, jnp.float32, minval, maxval)


def _maybe(
  happens: jax.Array, op: Callable[[jax.Array], jax.Array], image: jax.Array
) -> jax.Array:
  return jax.lax.cond(happens, op, lambda image: image, image)


def for_each(f: Callable[..., jax.Array], *arrays: chex.ArrayTree) -> jax.Array:
  """`f` of each image with what belongs to it, in the way that suits the backend.

  Args:
    f: of an element of each of `arrays`.
    arrays: leaves [B, ...].

  Returns:
    What `f` gives, [B, ...].
  """
  # In a batch, branches become selects: every operation runs on every image.
  # An accelerator hides that; on CPU, one image at a time is about ten times faster.
  if jax.default_backend() == "cpu":
    return jax.lax.map(lambda each: f(*each), arrays)
  return jax.vmap(f)(*arrays)
