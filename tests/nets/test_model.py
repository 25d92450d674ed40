"""The networks together: what each needs, what no gradient reaches."""

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax.errors import UserError
from byol_jax.nets import model
from byol_jax.nets.layers import Layers
from byol_jax.nets.resnet import ResNet

HEAD = {"norm": "group", "groups": 2, "standardised": True, "hidden": 8, "outputs": 4}
ENCODER = {
  "norm": "group",
  "groups": 2,
  "standardised": True,
  "depth": 10,
  "width": 0.0625,
  "stem": "patch",
  "zero_last_scale": False,
}


def make(norm="group", **settings):
  component = {"norm": norm}
  return model.make_networks(
    ENCODER | component, HEAD | component, HEAD | component, classes=3, **settings
  )


def images(n=4):
  return jnp.float32(np.random.default_rng(0).normal(size=(n, 8, 8, 3)))


def test_a_network_starts_as_haikus_init_would_have_it():
  def build():
    return ResNet(Layers("batch", standardised=True), 10, 0.0625)

  blank = jnp.zeros((1, 16, 16, 3))
  haikus = hk.transform_with_state(lambda *args: build()(*args)).init
  expected = jax.jit(haikus, static_argnums=2)(jax.random.key(7), blank, True)
  found = model._initialiser(lambda *args: build()(*args))(jax.random.key(7), images())
  assert not jax.tree.all(jax.tree.map(lambda x: not x.any(), found[0]))
  chex.assert_trees_all_close(found, expected, atol=1e-6)


def test_outputs_and_their_shapes():
  networks = make()
  params, stats = networks.init(jax.random.key(0), images())
  outputs, _ = networks.online(params, stats, images(), True)
  assert jax.tree.map(jnp.shape, outputs) == ((4, 32), (4, 4), (4, 4), (4, 3))
  assert not stats


def test_the_target_needs_its_own_modules_alone():
  networks = make("batch")
  params, stats = networks.init(jax.random.key(0), images())
  outputs, _ = networks.online(params, stats, images(), True)
  target, target_stats = networks.target(
    model.target_part(params), model.target_part(stats), images(), True
  )
  chex.assert_trees_all_close(target, outputs.projection)
  assert {m.split("/")[0] for m in target_stats} == {"res_net10", "projector"}


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_encoder_alone_is_that_of_the_whole(norm):
  networks = make(norm)
  params, stats = networks.init(jax.random.key(0), images())
  _, stats = networks.online(params, stats, images(), True)
  outputs, _ = networks.online(params, stats, images(), False)
  alone = model.make_encoder(ENCODER | {"norm": norm})
  shapes = jax.eval_shape(alone.init, jax.random.key(0), images())
  parts = [
    {module: tree[module] for module in of_encoder}
    for tree, of_encoder in zip((params, stats), shapes, strict=True)
  ]
  chex.assert_trees_all_equal_shapes_and_dtypes(parts, list(shapes))
  chex.assert_trees_all_close(alone.embed(*parts, images()), outputs.embedding)
  trained, after = networks.online(params, stats, images(), True)
  embedding, stats_alone = alone.train(*parts, images())
  chex.assert_trees_all_close(embedding, trained.embedding)
  chex.assert_trees_all_close(stats_alone, {m: after[m] for m in stats_alone})


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"norms": "batch"}, "the encoder cannot be built: .*norms"),
    ({"norm": None}, "no norm None"),
  ],
)
def test_a_description_of_something_else_is_refused(change, message):
  network = model.make_encoder(ENCODER | change)
  with pytest.raises(UserError, match=message):
    jax.eval_shape(network.init, jax.random.key(0), images())


def test_a_description_that_lacks_something_is_refused():
  less = {key: value for key, value in ENCODER.items() if key != "groups"}
  with pytest.raises(UserError, match="the encoder has no setting 'groups': add it"):
    jax.eval_shape(model.make_encoder(less).init, jax.random.key(0), images())


def test_the_classifier_sends_no_gradient_into_the_encoder():
  networks = make()
  params, stats = networks.init(jax.random.key(0), images())
  grads = jax.grad(
    lambda p: jnp.sum(networks.online(p, stats, images(), True)[0].logits)
  )(params)
  nonzero = {m for m, v in grads.items() if any(jnp.any(g != 0) for g in v.values())}
  assert nonzero == {"classifier"}


def test_bfloat16_computes_near_float32_and_keeps_float32_outside():
  outputs = []
  for precision in ("float32", "bfloat16"):
    networks = make(precision=precision)
    params, stats = networks.init(jax.random.key(0), images())
    chex.assert_trees_all_equal_dtypes(params, jax.tree.map(jnp.float32, params))
    outputs.append(networks.online(params, stats, images(), True)[0])
  assert all(leaf.dtype == jnp.float32 for leaf in outputs[1])
  np.testing.assert_allclose(outputs[0].embedding, outputs[1].embedding, atol=0.3)
  assert not np.array_equal(outputs[0].embedding, outputs[1].embedding)


def test_float64_computes_all_of_it_so():
  params, stats = make().init(jax.random.key(0), images())
  expected = make().online(params, stats, images(), True)
  with jax.enable_x64(True):
    wide = jax.tree.map(jnp.float64, (params, stats))
    found = make(precision="float64").online(*wide, images(), True)
    assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(found))
    shifted = jax.tree.map(lambda x: x * (1 + 1e-12), wide[0])
    moved = make(precision="float64").online(shifted, wide[1], images(), True)
  chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-4)
  # What float32 could not tell apart; batch norm hides scales, but for its epsilon.
  change = np.max(np.abs(np.subtract(moved[0].prediction, found[0].prediction)))
  assert 0 < change < 1e-10


def test_float64_without_those_types_is_refused():
  with pytest.raises(UserError, match="float64 needs JAX_ENABLE_X64=1"):
    make(precision="float64")


def test_unknown_precision_is_refused():
  with pytest.raises(UserError, match="no precision 'half'"):
    make(precision="half")
