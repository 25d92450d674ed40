import colorsys
import functools
import itertools
import subprocess
import sys

import chex
import cv2
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import scipy.ndimage
import scipy.stats

from byol_jax.data import augment as lib
from byol_jax.errors import UserError

NOTHING = lib.View(jitter=0, grayscale=0, blur=0, solarise=0)
EVERYTHING = lib.View(blur=0.5, solarise=0.5)

augment = jax.jit(lib.augment, static_argnames="view")
blur = jax.jit(lib.gaussian_blur)


@functools.partial(jax.jit, static_argnames="view")
def _draws(keys, view):
  ops = lib._jitter_ops(view)
  return jax.vmap(lambda key: lib._draw(key, view, ops))(keys)


def _keys(n, seed=0):
  return jax.random.split(jax.random.key(seed), n)


def _images(*shape, seed=0):
  return np.random.default_rng(seed).random(shape, dtype=np.float32)


def _corners():
  """Black, white, greys, pure and mixed colours, ties: 125 RGB pixels."""
  levels = [0.0, 0.25, 0.5, 0.75, 1.0]
  pixels = list(itertools.product(levels, repeat=3))
  return np.array(pixels, np.float32).reshape(5, 25, 3)


def _per_pixel(f, image):
  """Applies f((r, g, b)) -> (x, y, z) pixel by pixel, in double precision."""
  rows = [f(*pixel) for pixel in image.reshape(-1, 3).tolist()]
  return np.array(rows).reshape(image.shape)


def _hsv_oracle(hue=0.0, saturation=1.0):
  """Turns the hue and scales the saturation with the standard library."""

  def change(r, g, b):
    h, s, v = colorsys.rgb_to_hsv(r, g, b)
    return colorsys.hsv_to_rgb((h + hue) % 1.0, min(s * saturation, 1.0), v)

  return lambda image: _per_pixel(change, image)


def _blur_oracle(image, sigma):
  radius = int(len(image) / 10 / 2)
  kernel = np.exp(-(np.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
  kernel /= kernel.sum()
  for axis in (0, 1):
    image = scipy.ndimage.correlate1d(image, kernel, axis, mode="constant")
  return image


COLOURS = [_corners(), _images(7, 9, 3)]


# Operations, one by one.


@pytest.mark.parametrize("image", COLOURS)
def test_rgb_to_hsv_and_back_are_those_of_colorsys(image):
  hsv = lib.rgb_to_hsv(image)
  np.testing.assert_allclose(hsv, _per_pixel(colorsys.rgb_to_hsv, image), atol=1e-6)
  np.testing.assert_allclose(lib.hsv_to_rgb(hsv), image, atol=2e-6)


def test_hsv_to_rgb_is_that_of_colorsys():
  hsv = _images(6, 8, 3, seed=1)
  expected = _per_pixel(colorsys.hsv_to_rgb, hsv)
  np.testing.assert_allclose(lib.hsv_to_rgb(hsv), expected, atol=2e-6)


@pytest.mark.parametrize("image", COLOURS)
@pytest.mark.parametrize("factor", [0.0, 0.8, 1.0, 1.2, 5.0])
def test_saturation_scales_that_of_hsv_up_to_one(image, factor):
  expected = _hsv_oracle(saturation=factor)(image)
  np.testing.assert_allclose(lib.adjust_saturation(image, factor), expected, atol=2e-6)


@pytest.mark.parametrize("image", COLOURS)
@pytest.mark.parametrize("delta", [-0.5, -0.1, 0.0, 0.07, 1 / 3])
def test_hue_turns_that_of_hsv(image, delta):
  expected = _hsv_oracle(hue=delta)(image)
  np.testing.assert_allclose(lib.adjust_hue(image, delta), expected, atol=3e-6)


def test_brightness_is_additive():
  image = np.array([[[0.1, 0.5, 0.9]]], np.float32)
  np.testing.assert_allclose(
    lib.adjust_brightness(image, 0.25), [[[0.35, 0.75, 1.15]]], atol=1e-6
  )


def test_contrast_turns_around_the_mean_of_each_channel():
  image = np.array([[[0.0, 0.5], [0.2, 0.5]], [[0.4, 0.5], [0.6, 0.9]]], np.float32)
  # Channel means 0.3 and 0.6.
  expected = [[[0.15, 0.55], [0.25, 0.55]], [[0.35, 0.55], [0.45, 0.75]]]
  np.testing.assert_allclose(lib.adjust_contrast(image, 0.5), expected, atol=1e-6)


def test_contrast_takes_the_mean_of_each_image_alone():
  images = _images(3, 5, 7, 2)
  one_by_one = [lib.adjust_contrast(image, 1.4) for image in images]
  np.testing.assert_allclose(lib.adjust_contrast(images, 1.4), one_by_one, atol=1e-6)


def test_grayscale_is_the_luma():
  image = _images(6, 5, 3)
  gray = np.asarray(lib.to_grayscale(image))
  expected = image @ np.array([0.2989, 0.5870, 0.1140])
  np.testing.assert_allclose(gray, np.stack([expected] * 3, -1), atol=1e-6)
  # OpenCV rounds the first weight to 0.299.
  np.testing.assert_allclose(
    gray[..., 0], cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), atol=2e-4
  )


@pytest.mark.parametrize(
  ("height", "radius"),
  [(8, 0), (19, 0), (20, 1), (28, 1), (32, 1), (96, 4), (128, 6), (224, 11)],
)
def test_blur_kernel_follows_the_height(height, radius):
  assert lib.blur_radius(height) == radius


@pytest.mark.parametrize("shape", [(40, 33, 3), (224, 30, 1), (64, 64, 4)])
@pytest.mark.parametrize("sigma", [0.1, 0.9, 2.0])
def test_blur_is_that_of_scipy_and_opencv(shape, sigma):
  image = _images(*shape)
  blurred = blur(image, sigma)
  np.testing.assert_allclose(blurred, _blur_oracle(image, sigma), atol=2e-6)
  size = 2 * lib.blur_radius(shape[0]) + 1
  theirs = cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_CONSTANT)
  np.testing.assert_allclose(blurred, theirs.reshape(shape), atol=1e-5)


def test_blur_has_23_taps_at_224_and_dark_borders():
  point = np.zeros((224, 40, 1), np.float32)
  point[100, 20] = 1
  assert np.count_nonzero(blur(point, 2.0)) == 23**2
  blurred = blur(np.ones((224, 40, 1), np.float32), 2.0)
  np.testing.assert_allclose(blurred[112, 20], 1, atol=1e-6)
  # Half of the kernel and half of its centre: (1 + 0.1995) / 2.
  np.testing.assert_allclose(blurred[112, 0], 0.5997, atol=1e-3)


def test_solarise_is_that_of_pil():
  image = np.arange(256, dtype=np.uint8).reshape(16, 16)
  theirs = PIL.ImageOps.solarize(PIL.Image.fromarray(image), threshold=128)
  ours = lib.solarise(lib.to_unit(jnp.asarray(image)))
  np.testing.assert_allclose(ours, np.asarray(theirs) / 255, atol=1e-6)
  assert lib.solarise(jnp.float32(0.5)) == 0.5


def test_to_unit_covers_zero_to_one_and_wants_bytes():
  unit = lib.to_unit(jnp.arange(256, dtype=jnp.uint8))
  np.testing.assert_allclose(unit, np.linspace(0, 1, 256), atol=1e-7)
  chex.assert_type(unit, jnp.float32)
  with pytest.raises(AssertionError):
    lib.to_unit(jnp.ones(3))


@pytest.mark.parametrize("length", [1, 3])
def test_standardise_is_per_channel(length):
  images = _images(2, 4, 5, 3)
  mean, std = (0.485, 0.456, 0.406)[:length], (0.229, 0.224, 0.225)[:length]
  expected = (images.astype(np.float64) - mean) / std
  ours = lib.standardise(jnp.asarray(images), mean, std)
  np.testing.assert_allclose(ours, expected, atol=1e-5)
  chex.assert_type(ours, jnp.float32)


def test_standardise_names_the_sequence_of_the_wrong_length():
  images = jnp.zeros([2, 4, 4, 1])
  with pytest.raises(UserError, match=r"std has 3 values .* have 1 channels"):
    lib.standardise(images, [0.5], [0.2, 0.2, 0.2])


# Views.


def test_byol_views_are_those_of_table_6():
  both = {
    "crop_area": (0.08, 1.0),
    "crop_aspect": (3 / 4, 4 / 3),
    "flip": 0.5,
    "jitter": 0.8,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.2,
    "hue": 0.1,
    "grayscale": 0.2,
    "blur_sigma": (0.1, 2.0),
  }
  assert lib.BYOL_VIEW1._asdict() == {**both, "blur": 1.0, "solarise": 0.0}
  assert lib.BYOL_VIEW2._asdict() == {**both, "blur": 0.1, "solarise": 0.2}


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("flip", 1.5),
    ("jitter", -0.1),
    ("contrast", 2.0),
    ("hue", 0.6),
    ("solarise", float("nan")),
    ("blur_sigma", (0.0, 2.0)),
    ("blur_sigma", (2.0, 1.0)),
    ("crop_area", (0.5, 1.1)),
    ("crop_aspect", (1.0, 1.0, 1.0)),
  ],
)
def test_a_value_out_of_range_is_named(field, value):
  view = lib.View()._replace(**{field: value})
  with pytest.raises(UserError, match=f"view.{field} is"):
    lib.augment(_keys(1), jnp.zeros([1, 8, 8, 3]), view)


def test_importing_the_module_starts_no_backend():
  check = (
    "import byol_jax.data.augment, jax._src.xla_bridge as bridge;"
    "assert not bridge.backends_are_initialized()"
  )
  subprocess.run([sys.executable, "-c", check], check=True)


# The whole.


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_augment_carries_out_its_draws_in_their_order(channels):
  images, keys = _images(12, 24, 22, channels), _keys(12, seed=3)
  results = augment(keys, images, view=EVERYTHING)
  view = lib._applicable(EVERYTHING, 24, channels)
  draws = _draws(keys, view)
  for n, (image, result) in enumerate(zip(images, results, strict=True)):
    draw = jax.tree.map(lambda x, n=n: x[n], draws)
    np.testing.assert_allclose(result, _apply_oracle(draw, image), atol=1e-5)


def _apply_oracle(draw, image):
  """Of images that are not RGB only brightness, contrast, blur, solarise."""
  rgb = image.shape[-1] == 3
  brightness, contrast, saturation, hue = (*draw.amounts.tolist(), 1, 0)[:4]
  ops = [
    lambda x: x + brightness,
    lambda x: contrast * x + (1 - contrast) * x.mean((0, 1)),
    _hsv_oracle(saturation=saturation),
    _hsv_oracle(hue=hue),
  ]
  if draw.jitter:
    order = draw.order.tolist()
    assert sorted(order) == list(range(4 if rgb else 2))
    for i in order:
      image = np.clip(ops[i](image), 0, 1)
  if draw.grayscale and rgb:
    image = np.stack([image @ [0.2989, 0.5870, 0.1140]] * 3, -1)
  if draw.blur:
    image = _blur_oracle(image, float(draw.sigma))
  if draw.solarise:
    image = np.where(image < 0.5, image, 1 - image)
  return image


def test_draws_do_not_depend_on_64_bit_types():
  keys, images = _keys(8, seed=1), _images(8, 24, 20, 3)
  expected = lib.augment(keys, images, EVERYTHING)
  with jax.enable_x64(True):
    found = lib.augment(keys, images, EVERYTHING)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_both_forms_agree_whatever_the_batch_and_stay_in_range(monkeypatch):
  keys, images = _keys(40, seed=1), _images(40, 24, 20, 3)
  images[::2] = images[::2] > 0.5  # pixels at the very ends of the range
  results = []
  for backend in ("cpu", "gpu"):
    monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
    apply = jax.jit(lambda keys, images: lib.augment(keys, images, EVERYTHING))
    branches = "cond[" in str(jax.make_jaxpr(apply)(keys, images))
    assert branches == (backend == "cpu")
    together = np.asarray(apply(keys, images))
    alone = apply(keys[4:5], images[4:5])
    np.testing.assert_allclose(alone[0], together[4], atol=1e-6)
    backwards = apply(keys[::-1], images[::-1])
    np.testing.assert_allclose(backwards[::-1], together, atol=1e-6)
    results.append(together)
  np.testing.assert_allclose(*results, atol=1e-5)
  assert np.min(results) >= 0
  assert np.max(results) <= 1
  assert np.any(np.abs(results[0] - images) > 0.01, (1, 2, 3)).mean() > 0.8


@pytest.mark.parametrize(
  ("view", "probability"),
  [
    (NOTHING._replace(jitter=0.8, contrast=0, saturation=0, hue=0), 0.8),
    (NOTHING._replace(grayscale=0.2), 0.2),
    (NOTHING._replace(blur=0.1, blur_sigma=(1.0, 2.0)), 0.1),
    (NOTHING._replace(blur=1, blur_sigma=(1.0, 2.0)), 1),
    (NOTHING._replace(solarise=0.2), 0.2),
  ],
)
def test_an_operation_happens_with_its_probability(view, probability):
  n = 2000
  image = 0.3 + 0.5 * _images(20, 4, 3)
  images = np.broadcast_to(image, (n, *image.shape))
  result = augment(_keys(n), images, view=view)
  happened = np.any(np.abs(result - images) > 1e-6, (1, 2, 3)).sum()
  # A right implementation is outside of these bounds once in 100 000 seeds.
  low, high = scipy.stats.binom.interval(1 - 1e-5, n, probability)
  assert low <= happened <= high


def test_amounts_are_uniform_in_byols_ranges():
  draws = _draws(_keys(4800), EVERYTHING)
  ranges = [(-0.4, 0.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1), (0.1, 2.0)]
  amounts = np.column_stack([draws.amounts, draws.sigma])
  for amount, (low, high) in zip(amounts.T, ranges, strict=True):
    uniform = scipy.stats.uniform(low, high - low)
    assert low - 1e-6 <= amount.min() <= amount.max() <= high + 1e-6
    assert scipy.stats.kstest(amount, uniform.cdf).pvalue > 1e-3


def test_every_order_is_as_likely():
  draws = _draws(_keys(4800), EVERYTHING)
  orders, counts = np.unique(draws.order, axis=0, return_counts=True)
  assert len(orders) == 24
  assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_draws_of_different_things_are_unrelated():
  n = 4800
  draws = _draws(_keys(n), EVERYTHING)
  columns = np.column_stack(draws._replace(order=draws.order[:, 0]))
  correlation = np.corrcoef(columns, rowvar=False) - np.eye(columns.shape[1])
  assert np.abs(correlation).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize(
  ("op", "off"),
  [
    ("adjust_brightness", {"brightness": 0}),
    ("adjust_contrast", {"contrast": 0}),
    ("adjust_saturation", {"saturation": 0}),
    ("adjust_hue", {"hue": 0}),
    ("adjust_hue", {"jitter": 0}),
    ("to_grayscale", {"grayscale": 0}),
    ("gaussian_blur", {"blur": 0}),
    ("solarise", {"solarise": 0}),
  ],
)
def test_an_operation_that_is_off_is_not_compiled(op, off, monkeypatch):
  traced = []
  original = getattr(lib, op)

  def spy(*args, **kwargs):
    traced.append(op)
    return original(*args, **kwargs)

  monkeypatch.setattr(lib, op, spy)
  # Trace only: compiling 16 programs would take long.
  monkeypatch.setattr(lib, "_for_each", lambda f, *xs: jax.eval_shape(jax.vmap(f), *xs))
  keys, images = _keys(2), jnp.zeros([2, 20, 20, 3])
  lib.augment(keys, images, EVERYTHING._replace(**off))
  assert not traced
  lib.augment(keys, images, EVERYTHING)
  assert traced


def test_nothing_to_do_returns_the_images_themselves():
  images = jnp.ones([2, 8, 8, 3])
  assert lib.augment(_keys(2), images, NOTHING) is images
  # An 8-pixel image has a blur kernel of one pixel.
  assert lib.augment(_keys(2), images, NOTHING._replace(blur=1)) is images


def test_augment_runs_on_each_device():
  keys, images = _keys(4), _images(4, 20, 20, 3)
  view = NOTHING._replace(grayscale=0.5)
  on_devices = jax.pmap(lambda keys, images: lib.augment(keys, images, view))
  result = on_devices(keys[None], images[None])
  np.testing.assert_allclose(result[0], augment(keys, images, view=view), atol=1e-6)


def test_keys_must_be_one_an_image():
  with pytest.raises(AssertionError):
    lib.augment(_keys(3), jnp.zeros([2, 8, 8, 3]), lib.BYOL_VIEW1)
