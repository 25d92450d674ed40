"""Without batch norm, no image is seen through the others of its batch.

This is the point of Richemond et al. (2010.10241): BYOL with group norm and weight
standardisation learns although nothing about other images can reach an image's
outputs or gradients, so that no implicit contrast within the batch explains it.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax.nets import model
from byol_jax.nets.layers import NORMS

POOLING = ("batch",)  # norms through which an image sees the others
WITHOUT = [norm for norm in NORMS if norm not in POOLING]


def networks(norm, standardised):
  """Encoder, projector and predictor, with parameters and statistics."""
  # Instance norm has nothing to normalise over in a head.
  head = {
    "norm": "layer" if norm == "instance" else norm,
    "groups": 2,
    "standardised": standardised,
    "hidden": 8,
    "outputs": 4,
  }
  encoder = {
    "norm": norm,
    "groups": 2,
    "standardised": standardised,
    "depth": 10,
    "width": 0.0625,
    "stem": "patch",
    "zero_last_scale": False,
  }
  made = model.make_networks(encoder, head, head, classes=3)
  params, stats = made.init(jax.random.key(0), images())
  # No scale or offset is left at 1 or 0.
  return made, jax.tree.map(lambda p: p + 0.1, params), stats


def images():
  return jnp.float32(np.random.default_rng(0).normal(size=(4, 64, 64, 3)))


def of_the_first_image(norm, standardised):
  """Images -> all outputs for the first one, and their sum's gradients."""
  made, params, stats = networks(norm, standardised)

  def outputs(params, x):
    found, _ = made.online(params, stats, x, True)
    return jax.tree.map(lambda y: y[0], found)

  def total(params, x):
    return sum(map(jnp.sum, outputs(params, x)))

  @jax.jit
  def function(x):
    to_params, to_images = jax.grad(total, (0, 1))(params, x)
    return outputs(params, x), to_params, to_images

  return function


def with_other_companions(x):
  return x.at[1:].set(3.0 - 2.0 * x[1:])


@pytest.mark.parametrize("norm", WITHOUT)
@pytest.mark.parametrize("standardised", [False, True], ids=["plain", "standardised"])
def test_without_batch_norm_an_image_is_alone(norm, standardised):
  function = of_the_first_image(norm, standardised)
  x = images()
  found, to_params, to_images = function(x)
  others = function(with_other_companions(x))
  # To the bit, forward and backward: the other images might as well not be there.
  chex.assert_trees_all_equal(found, others[0])
  chex.assert_trees_all_equal(to_params, others[1])
  np.testing.assert_array_equal(to_images[0], others[2][0])
  np.testing.assert_array_equal(to_images[1:], 0.0)
  assert jnp.abs(to_images[0]).max() > 1e-4


@pytest.mark.parametrize("norm", WITHOUT)
def test_without_batch_norm_the_size_of_the_batch_does_not_matter(norm):
  made, params, stats = networks(norm, standardised=False)
  run = jax.jit(lambda x: made.online(params, stats, x, True)[0])
  four, one = run(images()), run(images()[:1])
  # Up to rounding, which differs between programs for other shapes.
  for name, found in one._asdict().items():
    expected = getattr(four, name)[:1]
    tolerance = 1e-4 * jnp.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=name)


def test_with_batch_norm_it_is_not():
  function = of_the_first_image("batch", standardised=False)
  x = images()
  found, _, to_images = function(x)
  others, _, _ = function(with_other_companions(x))
  assert not np.allclose(found.prediction, others.prediction, atol=1e-2)
  assert jnp.abs(to_images[1:]).max() > 1e-4
