"""Weight standardisation and the norms beside PyTorch, forward and backward."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from byol_jax.nets import layers, normalise
from byol_jax.nets.convolve import convolve

RNG = np.random.default_rng(0)


def standardised(w):
  """Qiao et al. (1903.10520) as published, but for the biased deviation."""
  flat = w.reshape(w.shape[0], -1)
  flat = flat - flat.mean(1, keepdim=True)
  flat = flat / (flat.std(1, keepdim=True, unbiased=False) + 1e-5)
  return flat.reshape(w.shape)


def tensor(x):
  return torch.tensor(np.array(x), dtype=torch.float64, requires_grad=True)


def assert_close(ours, theirs):
  theirs = theirs.detach().numpy()
  atol = 1e-5 * np.abs(theirs).max()
  np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("stride", [1, 2])
def test_standardised_convolution_group_norm_and_relu(stride):
  # An even stride pads "SAME" to one side only, so torch is given the padding.
  x, w = RNG.normal(size=(4, 8, 8, 6)), RNG.normal(0.5, 2.0, size=(3, 3, 6, 8))
  scale, offset = RNG.normal(size=8), RNG.normal(size=8)
  cotangent = RNG.normal(size=(4, 8 // stride, 8 // stride, 8))

  def ours(x, w, scale, offset):
    y = convolve(x, layers.standardise(w), stride)
    pool = normalise.Pool(False, groups=4)
    flat = y.reshape(len(x), -1, 8)
    y, *_ = normalise.normalise(
      flat, scale, offset, None, pool=pool, eps=layers.EPSILON
    )
    return jax.nn.relu(y.reshape(cotangent.shape))

  y, backward = jax.vjp(ours, *map(jnp.float32, (x, w, scale, offset)))
  gradients = backward(jnp.float32(cotangent))

  arguments = tx, tw, tscale, toffset = list(map(tensor, (x, w, scale, offset)))
  padded = torch.nn.functional.pad(
    tx.permute(0, 3, 1, 2), (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
  )
  convolved = torch.nn.functional.conv2d(
    padded, standardised(tw.permute(3, 2, 0, 1)), stride=stride
  )
  normed = torch.nn.functional.group_norm(convolved, 4, tscale, toffset, layers.EPSILON)
  expected = torch.relu(normed).permute(0, 2, 3, 1)
  expected.backward(torch.tensor(cotangent))

  assert_close(y, expected)
  for gradient, argument in zip(gradients, arguments, strict=True):
    assert_close(gradient, argument.grad)


def test_standardised_linear_layer():
  x, w, cotangent = (RNG.normal(1.0, 2.0, size) for size in ((5, 7), (7, 3), (5, 3)))
  y, backward = jax.vjp(
    lambda x, w: x @ layers.standardise(w), jnp.float32(x), jnp.float32(w)
  )
  gradients = backward(jnp.float32(cotangent))
  tx, tw = tensor(x), tensor(w)
  expected = torch.nn.functional.linear(tx, standardised(tw.T))
  expected.backward(torch.tensor(cotangent))
  assert_close(y, expected)
  for gradient, argument in zip(gradients, (tx, tw), strict=True):
    assert_close(gradient, argument.grad)


TORCH_NORMS = {
  "batch": lambda x, scale, offset: torch.nn.functional.batch_norm(
    x, None, None, scale, offset, training=True, eps=layers.EPSILON
  ),
  "group": lambda x, *affine: torch.nn.functional.group_norm(
    x, 4, *affine, layers.EPSILON
  ),
  "layer": lambda x, *affine: torch.nn.functional.group_norm(
    x, 1, *affine, layers.EPSILON
  ),
  "instance": lambda x, scale, offset: torch.nn.functional.instance_norm(
    x, weight=scale, bias=offset, eps=layers.EPSILON
  ),
  "affine": lambda x, scale, offset: x * scale[:, None, None] + offset[:, None, None],
  "none": lambda x, scale, offset: x,
}


@pytest.mark.parametrize("kind", TORCH_NORMS)
def test_norms_and_their_gradients(kind):
  x, cotangent = RNG.normal(3.0, 2.0, (5, 4, 6, 8)), RNG.normal(size=(5, 4, 6, 8))
  scale, offset = RNG.normal(size=8), RNG.normal(size=8)
  norm = hk.transform_with_state(
    lambda x: layers.Layers(kind, groups=4).norm(name="norm")(x, True)
  )
  params, state = norm.init(jax.random.key(0), jnp.float32(x))

  def ours(x, scale, offset):
    given = {module: {"scale": scale, "offset": offset} for module in params}
    return norm.apply(given, state, None, x)[0]

  y, backward = jax.vjp(ours, *map(jnp.float32, (x, scale, offset)))
  gradients = backward(jnp.float32(cotangent))

  tx, *affine = map(tensor, (x, scale, offset))
  expected = TORCH_NORMS[kind](tx.permute(0, 3, 1, 2), *affine).permute(0, 2, 3, 1)
  expected.backward(torch.tensor(cotangent))

  assert_close(y, expected)
  for gradient, argument in zip(gradients, (tx, *affine), strict=True):
    if kind == "none" and argument is not tx:
      assert not gradient.any()
    else:
      assert_close(gradient, argument.grad)
