"""Times colour and blur on one core of a CPU, beside the form of BYOL's code.

`benchmarks.input` runs this.
"""

import functools
from typing import Any

import numpy as np

from benchmarks import jpegs, tables, turns

_LARGE, _SMALL = 224, 32  # pixels a side
_SEED = 0


def reference_augment(draws: Any, images: Any, view: Any) -> Any:
  """What `augment.augment` does of these draws, in the reference's form.

  Whole images through HSV, the blur as a depthwise convolution, and the batch by
  vmap, so that each operation runs on each image and a select takes what counts.
  """
  import jax
  import jax.numpy as jnp

  def brightness(image: jax.Array, delta: jax.Array) -> jax.Array:
    return image + delta

  def contrast(image: jax.Array, factor: jax.Array) -> jax.Array:
    mean = image.mean((0, 1), keepdims=True)
    return factor * (image - mean) + mean

  def to_hsv(image: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value = image.max(-1)
    spread = value - image.min(-1)
    safe = jnp.where(spread > 0, spread, 1.0)
    hue = jnp.where(
      value == red,
      (green - blue) / safe,
      jnp.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = jnp.where(spread > 0, hue / 6 % 1, 0.0)
    saturation = jnp.where(value > 0, spread / jnp.where(value > 0, value, 1.0), 0.0)
    return hue, saturation, value

  def to_rgb(hue: jax.Array, saturation: jax.Array, value: jax.Array) -> jax.Array:
    sector = jnp.floor(hue * 6)
    rest = hue * 6 - sector
    p = value * (1 - saturation)
    q = value * (1 - saturation * rest)
    t = value * (1 - saturation * (1 - rest))
    is_sector = [sector % 6 == i for i in range(6)]
    return jnp.stack(
      [
        jnp.select(is_sector, [value, q, p, p, t, value]),
        jnp.select(is_sector, [t, value, value, q, p, p]),
        jnp.select(is_sector, [p, p, t, value, value, q]),
      ],
      axis=-1,
    )

  def saturation(image: jax.Array, factor: jax.Array) -> jax.Array:
    h, s, v = to_hsv(image)
    return to_rgb(h, jnp.clip(s * factor, 0, 1), v)

  def hue(image: jax.Array, delta: jax.Array) -> jax.Array:
    h, s, v = to_hsv(image)
    return to_rgb((h + delta) % 1, s, v)

  def grayscale(image: jax.Array) -> jax.Array:
    luma = image @ jnp.array([0.2989, 0.5870, 0.1140])
    return jnp.stack([luma] * 3, -1)

  def blur(image: jax.Array, sigma: jax.Array) -> jax.Array:
    radius = int(image.shape[0] / 10 / 2)
    x = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    kernel = jnp.exp(-(x**2) / (2 * sigma**2))
    kernel = jnp.tile((kernel / kernel.sum())[:, None, None, None], (1, 1, 1, 3))
    for axes in ((0, 1, 2, 3), (1, 0, 2, 3)):
      image = jax.lax.conv_general_dilated(
        image[None],
        kernel.transpose(axes),
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=3,
      )[0]
    return image

  def apply(draw: Any, image: jax.Array) -> jax.Array:
    ops = [
      lambda x, amount, op=op: jnp.clip(op(x, amount), 0, 1)
      for op in (brightness, contrast, saturation, hue)
    ]
    jittered = image
    for i in draw.order:
      jittered = jax.lax.switch(i, ops, jittered, draw.amounts[i])
    image = jnp.where(draw.jitter, jittered, image)
    image = jnp.where(draw.grayscale, grayscale(image), image)
    image = jnp.where(draw.blur, blur(image, draw.sigma), image)
    inverted = jnp.where(image < 0.5, image, 1 - image)
    image = jnp.where(draw.solarise if view.solarise else False, inverted, image)
    return jnp.clip(image, 0, 1)

  return jax.vmap(apply)(draws, images)


def prepare_augment(
  folder: str, size: int, number: int, reference: bool
) -> turns.Prepared:
  """Colour and blur of a batch of crops."""
  jpegs.pin()
  import jax

  from byol_jax.data import augment, batches, colour

  count = 64 if size == _LARGE else 1024
  view = jpegs.views()[number]
  chunk = batches.train_chunk(
    0,
    np.arange(count),
    batch_size=count,
    source=jpegs.source(folder),
    views=jpegs.views(),
    size=size,
    seed=_SEED,
  )
  images = colour.to_unit(jax.numpy.asarray(chunk[f"view{number + 1}"]))
  keys = jax.random.split(jax.random.key(_SEED), count)

  def in_reference_form(keys: jax.Array, images: jax.Array) -> jax.Array:
    draw = functools.partial(augment.draw, view=view, ops=augment.jitter_ops(view))
    return reference_augment(jax.vmap(draw)(keys), images, view)

  ours = functools.partial(augment.augment, view=view)
  form = jax.jit(in_reference_form if reference else ours)

  def run() -> None:
    form(keys, images).block_until_ready()

  return {"images": count, "output": np.asarray(form(keys, images))}, run


def table(folder: str, rounds: int) -> None:
  """Prints how fast both forms are on one core, and how much they differ."""
  contestants = {}
  for size in (_LARGE, _SMALL):
    for number in (0, 1):
      for form in ("ours", "reference"):
        settings = {"size": size, "number": number, "reference": form == "reference"}
        contestants[f"{size} px, view {number + 1}, {form}"] = turns.Contestant(
          prepare_augment, {"folder": folder, **settings}
        )
  found = turns.take_turns(contestants, rounds)
  print("Colour and blur on one core, views/s:\n")
  tables.head(("", "ours", "reference's form", "ratio", "largest difference"))
  for name in contestants:
    if not name.endswith(", ours"):
      continue
    row = name.removesuffix(", ours")
    ours, other = found[name], found[f"{row}, reference"]
    images, outputs = ours.facts["images"], [t.facts["output"] for t in (ours, other)]
    difference = np.abs(outputs[0] - outputs[1]).max()
    if not difference < 1e-5:
      raise RuntimeError(f"{row}: the forms differ by {difference}")
    speeds = [
      tables.with_spread(f"{images / timing.median:,.0f}", timing.spread)
      for timing in (ours, other)
    ]
    tables.row((row, *speeds, f"{other.ratio(ours):.1f}", f"{difference:.0e}"))
  print()
