import colorsys
import itertools

import chex
import cv2
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from byol_jax.data import colour
from byol_jax.errors import UserError
from tests.data import oracles

blur = jax.jit(colour.gaussian_blur)


def _images(*shape, seed=0):
  return np.random.default_rng(seed).random(shape, dtype=np.float32)


def _corners():
  """Black, white, greys, pure and mixed colours, ties: 125 RGB pixels."""
  levels = [0.0, 0.25, 0.5, 0.75, 1.0]
  pixels = list(itertools.product(levels, repeat=3))
  return np.array(pixels, np.float32).reshape(5, 25, 3)


COLOURS = [_corners(), _images(7, 9, 3)]


@pytest.mark.parametrize("image", COLOURS)
def test_rgb_to_hsv_and_back_are_those_of_colorsys(image):
  hsv = colour.rgb_to_hsv(image)
  np.testing.assert_allclose(
    hsv, oracles.per_pixel(colorsys.rgb_to_hsv, image), atol=1e-6
  )
  np.testing.assert_allclose(colour.hsv_to_rgb(hsv), image, atol=2e-6)


def test_hsv_to_rgb_is_that_of_colorsys():
  hsv = _images(6, 8, 3, seed=1)
  expected = oracles.per_pixel(colorsys.hsv_to_rgb, hsv)
  np.testing.assert_allclose(colour.hsv_to_rgb(hsv), expected, atol=2e-6)


@pytest.mark.parametrize("image", COLOURS)
@pytest.mark.parametrize("factor", [0.0, 0.8, 1.0, 1.2, 5.0])
def test_saturation_scales_that_of_hsv_up_to_one(image, factor):
  expected = oracles.turned_hsv(saturation=factor)(image)
  np.testing.assert_allclose(
    colour.adjust_saturation(image, factor), expected, atol=2e-6
  )


@pytest.mark.parametrize("image", COLOURS)
@pytest.mark.parametrize("delta", [-0.5, -0.1, 0.0, 0.07, 1 / 3])
def test_hue_turns_that_of_hsv(image, delta):
  expected = oracles.turned_hsv(hue=delta)(image)
  np.testing.assert_allclose(colour.adjust_hue(image, delta), expected, atol=3e-6)


def test_brightness_is_additive():
  image = np.array([[[0.1, 0.5, 0.9]]], np.float32)
  np.testing.assert_allclose(
    colour.adjust_brightness(image, 0.25), [[[0.35, 0.75, 1.15]]], atol=1e-6
  )


def test_contrast_turns_around_the_mean_of_each_channel():
  image = np.array([[[0.0, 0.5], [0.2, 0.5]], [[0.4, 0.5], [0.6, 0.9]]], np.float32)
  # Channel means 0.3 and 0.6.
  expected = [[[0.15, 0.55], [0.25, 0.55]], [[0.35, 0.55], [0.45, 0.75]]]
  np.testing.assert_allclose(colour.adjust_contrast(image, 0.5), expected, atol=1e-6)


def test_contrast_takes_the_mean_of_each_image_alone():
  images = _images(3, 5, 7, 2)
  one_by_one = [colour.adjust_contrast(image, 1.4) for image in images]
  np.testing.assert_allclose(colour.adjust_contrast(images, 1.4), one_by_one, atol=1e-6)


def test_grayscale_is_the_luma():
  image = _images(6, 5, 3)
  gray = np.asarray(colour.to_grayscale(image))
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
  assert colour.blur_radius(height) == radius


@pytest.mark.parametrize("shape", [(40, 33, 3), (224, 30, 1), (64, 64, 4)])
@pytest.mark.parametrize("sigma", [0.1, 0.9, 2.0])
def test_blur_is_that_of_scipy_and_opencv(shape, sigma):
  image = _images(*shape)
  blurred = blur(image, sigma)
  np.testing.assert_allclose(blurred, oracles.blurred(image, sigma), atol=2e-6)
  size = 2 * colour.blur_radius(shape[0]) + 1
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
  ours = colour.solarise(colour.to_unit(jnp.asarray(image)))
  np.testing.assert_allclose(ours, np.asarray(theirs) / 255, atol=1e-6)
  assert colour.solarise(jnp.float32(0.5)) == 0.5


def test_to_unit_covers_zero_to_one_and_wants_bytes():
  unit = colour.to_unit(jnp.arange(256, dtype=jnp.uint8))
  np.testing.assert_allclose(unit, np.linspace(0, 1, 256), atol=1e-7)
  chex.assert_type(unit, jnp.float32)
  with pytest.raises(AssertionError):
    colour.to_unit(jnp.ones(3))


@pytest.mark.parametrize("length", [1, 3])
def test_standardise_is_per_channel(length):
  images = _images(2, 4, 5, 3)
  mean, std = (0.485, 0.456, 0.406)[:length], (0.229, 0.224, 0.225)[:length]
  expected = (images.astype(np.float64) - mean) / std
  ours = colour.standardise(jnp.asarray(images), mean, std)
  np.testing.assert_allclose(ours, expected, atol=1e-5)
  chex.assert_type(ours, jnp.float32)


def test_standardise_names_the_sequence_of_the_wrong_length():
  images = jnp.zeros([2, 4, 4, 1])
  with pytest.raises(UserError, match=r"std has 3 values .* have 1 channels"):
    colour.standardise(images, [0.5], [0.2, 0.2, 0.2])
