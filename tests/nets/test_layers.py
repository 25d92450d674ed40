"""Layers: weight standardisation, the six norms, what they are called."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax.errors import UserError
from byol_jax.nets import layers
from byol_jax.nets.layers import Layers


def run(fn, x, is_training=True):
  f = hk.transform_with_state(fn)
  params, state = f.init(jax.random.key(0), x, is_training)
  (y, new_state) = f.apply(params, state, None, x, is_training)
  return y, params, state, new_state, f


def images(shape=(4, 3, 3, 8)):
  return jnp.float32(np.random.default_rng(0).normal(2.0, 3.0, shape))


@pytest.mark.parametrize("shape", [(3, 3, 4, 5), (7, 5)])
def test_standardised_weights_have_mean_zero_and_variance_one(shape):
  w = np.random.default_rng(0).normal(3.0, 2.0, shape)
  standard = np.asarray(layers.standardise(jnp.float32(w))).reshape(-1, shape[-1])
  np.testing.assert_allclose(standard.mean(0), 0.0, atol=1e-5)
  np.testing.assert_allclose(standard.var(0), 1.0, rtol=1e-4)
  rows = w.reshape(-1, shape[-1])
  expected = (rows - rows.mean(0)) / rows.std(0)
  np.testing.assert_allclose(standard, expected, rtol=1e-3, atol=1e-4)


def test_gradient_goes_to_the_raw_weight_and_is_orthogonal_to_it():
  w = jnp.float32(np.random.default_rng(0).normal(size=(20, 4)))
  gradient = jax.grad(lambda w: jnp.sum(jnp.sin(layers.standardise(w))))(w)
  # Scaling or shifting a unit's weights changes nothing.
  np.testing.assert_allclose(np.sum(gradient * w, 0), 0.0, atol=1e-4)
  np.testing.assert_allclose(np.sum(gradient, 0), 0.0, atol=1e-5)
  assert np.abs(gradient).max() > 0.01


@pytest.mark.parametrize("shape", [(3, 3, 4, 5), (7, 5)])
def test_gradient_of_standardisation_is_that_of_its_formula(shape):
  rng = np.random.default_rng(0)
  w, dy = (jnp.float32(rng.normal(3.0, 2.0, shape)) for _ in range(2))

  def formula(w):
    axes = tuple(range(w.ndim - 1))
    return (w - w.mean(axes)) / (w.std(axes) + layers.STANDARDISATION_EPSILON)

  ours, expected = (jax.vjp(f, w)[1](dy)[0] for f in (layers.standardise, formula))
  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
  same = jnp.ones(shape)  # deviation 0
  np.testing.assert_array_equal(jax.vjp(layers.standardise, same)[0], 0.0)
  assert np.isfinite(jax.vjp(layers.standardise, same)[1](dy)[0]).all()


def test_weight_standardisation_adds_no_parameters():
  def net(standardised):
    def fn(x, is_training):
      kind = Layers(standardised=standardised)
      y = kind.conv(6, 3, name="conv")(x).mean((1, 2))
      return kind.linear(2, name="linear")(y)

    return fn

  plain, standardised = (run(net(flag), images()) for flag in (False, True))
  assert jax.tree.map(jnp.shape, plain[1]) == jax.tree.map(jnp.shape, standardised[1])
  assert not np.allclose(plain[0], standardised[0])


@pytest.mark.parametrize("kind", [k for k in layers.NORMS if k != "none"])
def test_norms_are_named_after_their_kind_and_have_scale_and_offset(kind):
  norm = lambda x, t: Layers(kind, groups=4).norm(name="initial_norm")(x, t)  # noqa: E731
  _, params, *_ = run(norm, images())
  assert list(params) == [f"initial_{kind}norm"]
  values = params[f"initial_{kind}norm"]
  assert {k: v.shape for k, v in values.items()} == {"scale": (8,), "offset": (8,)}


def test_no_norm_has_no_parameters_and_changes_nothing():
  y, params, *_ = run(lambda x, t: Layers("none").norm(name="norm")(x, t), images())
  assert not params
  np.testing.assert_array_equal(y, images())


def test_a_scale_that_starts_at_zero_starts_a_norm_at_zero():
  norm = lambda x, t: Layers("group", 4).norm(name="norm", zero_scale=True)(x, t)  # noqa: E731
  np.testing.assert_array_equal(run(norm, images())[0], 0.0)


@pytest.mark.parametrize("kind", ["group", "layer", "instance", "affine", "none"])
def test_an_image_does_not_depend_on_its_batch(kind):
  norm = lambda x, t: Layers(kind, groups=4).norm(name="norm")(x, t)  # noqa: E731
  x = images()
  other = x.at[1:].set(5.0)
  np.testing.assert_array_equal(run(norm, x)[0][0], run(norm, other)[0][0])


def test_with_batch_norm_it_does():
  norm = lambda x, t: Layers("batch").norm(name="norm")(x, t)  # noqa: E731
  x = images()
  assert not np.allclose(run(norm, x)[0][0], run(norm, x.at[1:].set(5.0))[0][0])


def test_batch_norm_equals_haikus_over_several_steps():
  x = [images() * scale for scale in (1.0, 2.0, 0.5)]
  ours = hk.transform_with_state(lambda x, t: Layers("batch").norm(name="norm")(x, t))
  haikus = hk.transform_with_state(lambda x, t: hk.BatchNorm(True, True, 0.9)(x, t))
  results = []
  for f in (ours, haikus):
    params, state = f.init(jax.random.key(0), x[0], True)
    outputs = []
    for batch in x:
      y, state = f.apply(params, state, None, batch, True)
      outputs.append(y)
    outputs.append(f.apply(params, state, None, x[0], False)[0])
    results.append(np.stack(outputs))
  np.testing.assert_allclose(*results, atol=2e-5)


def test_group_norm_equals_haikus():
  ours = run(lambda x, t: Layers("group", 4).norm(name="norm")(x, t), images())[0]
  haikus = run(lambda x, t: hk.GroupNorm(4)(x), images())[0]
  np.testing.assert_allclose(ours, haikus, atol=2e-6)


@pytest.mark.parametrize(
  ("kind", "groups", "shape", "message"),
  [
    ("group", 3, (2, 4, 4, 8), "8 channels do not divide into 3 groups"),
    ("instance", 1, (2, 8), "would leave nothing but zeros"),
    ("group", 8, (2, 8), "would leave nothing but zeros"),
    ("instance", 1, (2, 1, 1, 8), "would leave nothing but zeros"),
    ("wrong", 1, (2, 8), "no norm 'wrong'"),
  ],
)
def test_a_norm_that_cannot_be_is_refused(kind, groups, shape, message):
  with pytest.raises(UserError, match=message):
    run(lambda x, t: Layers(kind, groups).norm(name="norm")(x, t), images(shape))


def averaged(decay, stats, batches):
  """The running mean of a batch norm after some batches, from these statistics."""
  norm = hk.transform_with_state(
    lambda x, t: Layers("batch", decay=decay).norm(name="norm")(x, t)
  )
  params, empty = norm.init(jax.random.key(0), batches[0], True)
  stats = stats or empty
  for batch in batches:
    _, stats = norm.apply(params, stats, None, batch, True)
  name = next(name for name in stats if name.endswith("mean_ema"))
  return stats, stats[name]["average"]


BATCHES = [images() + shift for shift in (0.0, 5.0, -3.0)]


@pytest.mark.parametrize("count", [0, 2])  # torchvision's older files have no counters
def test_settled_statistics_go_on_from_their_average_at_another_decay(count):
  stats, before = averaged(0.9, None, BATCHES[:2])
  stats = {
    module: average | {"counter": jnp.int32(count)} for module, average in stats.items()
  }
  _, after = averaged(0.75, layers.settled(stats), BATCHES[2:])
  expected = 0.75 * before + 0.25 * BATCHES[2].mean((0, 1, 2))
  np.testing.assert_allclose(after, expected, rtol=1e-5)


def test_settled_statistics_of_an_untrained_network_are_those_of_its_first_batch():
  none = jax.tree.map(jnp.zeros_like, averaged(0.9, None, BATCHES[:1])[0])
  _, after = averaged(0.75, layers.settled(none), BATCHES[:1])
  np.testing.assert_allclose(after, BATCHES[0].mean((0, 1, 2)), rtol=1e-5)
