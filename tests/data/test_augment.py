import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from byol_jax.data import augment as lib
from byol_jax.data import colour
from byol_jax.data.views import BYOL_VIEW1, View
from byol_jax.errors import UserError
from tests.data import oracles

NOTHING = View(jitter=0, grayscale=0, blur=0, solarise=0)
EVERYTHING = View(blur=0.5, solarise=0.5)

augment = jax.jit(lib.augment, static_argnames="view")


@functools.partial(jax.jit, static_argnames="view")
def _draws(keys, view):
  ops = lib.jitter_ops(view)
  return jax.vmap(lambda key: lib.draw(key, view, ops))(keys)


def _keys(n, seed=0):
  return jax.random.split(jax.random.key(seed), n)


def _images(*shape, seed=0):
  return np.random.default_rng(seed).random(shape, dtype=np.float32)


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
    oracles.turned_hsv(saturation=saturation),
    oracles.turned_hsv(hue=hue),
  ]
  if draw.jitter:
    order = draw.order.tolist()
    assert sorted(order) == list(range(4 if rgb else 2))
    for i in order:
      image = np.clip(ops[i](image), 0, 1)
  if draw.grayscale and rgb:
    image = np.stack([image @ [0.2989, 0.5870, 0.1140]] * 3, -1)
  if draw.blur:
    image = oracles.blurred(image, float(draw.sigma))
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
  original = getattr(colour, op)

  def spy(*args, **kwargs):
    traced.append(op)
    return original(*args, **kwargs)

  monkeypatch.setattr(colour, op, spy)
  # Trace only: compiling 16 programs would take long.
  monkeypatch.setattr(lib, "for_each", lambda f, *xs: jax.eval_shape(jax.vmap(f), *xs))
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


def test_a_view_out_of_range_is_refused():
  with pytest.raises(UserError, match=r"view\.hue is 0\.6"):
    lib.augment(_keys(1), jnp.zeros([1, 8, 8, 3]), View(hue=0.6))


def test_importing_the_module_starts_no_backend():
  check = (
    "import byol_jax.data.augment, jax._src.xla_bridge as bridge;"
    "assert not bridge.backends_are_initialized()"
  )
  subprocess.run([sys.executable, "-c", check], check=True)


def test_keys_must_be_one_an_image():
  with pytest.raises(AssertionError):
    lib.augment(_keys(3), jnp.zeros([2, 8, 8, 3]), BYOL_VIEW1)
