"""BN as an initialisation: the affine network is the batch norm one, layer by layer."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax.errors import UserError
from byol_jax.nets import bn_init, model

HEAD = {
  "norm": "affine",
  "groups": 1,
  "standardised": False,
  "hidden": 8,
  "outputs": 4,
}
ENCODER = {
  "norm": "affine",
  "groups": 1,
  "standardised": False,
  "depth": 50,
  "width": 0.0625,
  "stem": "patch",
  "zero_last_scale": False,
}


def make(change=lambda description: description):
  return model.make_networks(change(ENCODER), change(HEAD), change(HEAD))


def images(seed=0):
  x = np.random.default_rng(seed).normal(size=(8, 32, 32, 3))
  return jnp.float32(2.0 + 3.0 * x)


def activations(function):
  """What each module of the network returned, by the module's name."""
  seen = {}

  def note(call, args, kwargs, context):
    found = call(*args, **kwargs)
    if context.method_name == "__call__" and isinstance(found, jax.Array):
      seen[context.module.module_name.replace("affinenorm", "batchnorm")] = found
    return found

  with jax.disable_jit(), hk.intercept_methods(note):
    function()
  return seen


@pytest.fixture(scope="module")
def calibrated():
  """Both networks, the parameters at the start and as calibrated, and statistics."""
  affine, twin = make(), make(bn_init.with_batch_norm)
  params, _ = affine.init(jax.random.key(0), images())
  # Scales and offsets that are not 1 and 0.
  noise = iter(jax.random.split(jax.random.key(1), 1000))
  params = jax.tree.map(
    lambda p: p + 0.1 * jax.random.normal(next(noise), p.shape), params
  )
  _, stats = jax.eval_shape(twin.init, jax.random.key(0), images())
  found = jax.jit(lambda p: bn_init.calibrate(twin.online, stats, p, images()))(params)
  return affine, twin, params, found, stats


def test_activations_equal_batch_norms_layer_by_layer(calibrated):
  affine, twin, params, found, stats = calibrated
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), stats)
  with_bn = {k.replace("affinenorm", "batchnorm"): v for k, v in params.items()}
  ours = activations(lambda: affine.online(found, {}, images(), True))
  theirs = activations(lambda: twin.online(with_bn, zeros, images(), True))
  norms = [name for name in theirs if name.split("/")[-1].endswith("norm")]
  # 53 in ResNet-50, one in each head.
  assert sum("batchnorm" in name.split("/")[-1] for name in theirs) == 55, norms
  for name, expected in theirs.items():
    if name.endswith("_ema"):  # a batch norm's running average
      continue
    np.testing.assert_allclose(ours[name], expected, rtol=1e-3, atol=2e-3, err_msg=name)


def test_afterwards_no_batch_statistics_are_used(calibrated):
  affine, _, _, found, _ = calibrated
  run = jax.jit(lambda x: affine.online(found, {}, x, True)[0].prediction)
  x = images()
  np.testing.assert_array_equal(run(x)[0], run(x.at[1:].set(0.0))[0])


def test_only_scales_and_offsets_change(calibrated):
  _, _, params, found, _ = calibrated
  for module, values in params.items():
    for name, before in values.items():
      same = np.array_equal(before, found[module][name])
      assert same == (name in ("w", "b")), (module, name)


def test_other_norms_are_refused():
  with pytest.raises(UserError, match="a norm is 'group': set norm=affine"):
    make(lambda c: bn_init.with_batch_norm(c | {"norm": "group"}))
