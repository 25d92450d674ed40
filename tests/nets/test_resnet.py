"""The ResNets' sizes, shapes and names."""

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

from byol_jax.errors import UserError
from byol_jax.nets.layers import Layers
from byol_jax.nets.resnet import ResNet


def shapes(size=64, layers=Layers(), **settings):  # noqa: B008
  f = hk.transform_with_state(lambda x, t: ResNet(layers, **settings)(x, t))
  x = jnp.zeros((2, size, size, 3))
  params, state = jax.eval_shape(lambda k: f.init(k, x, True), jax.random.key(0))
  outputs, _ = jax.eval_shape(lambda p, s: f.apply(p, s, None, x, True), params, state)
  return params, outputs


# With the classifier of 1000 classes: He et al. 2016 and torchvision's models.
@pytest.mark.parametrize(
  ("depth", "published"),
  [
    (18, 11_689_512),
    (34, 21_797_672),
    (50, 25_557_032),
    (101, 44_549_160),
    (152, 60_192_808),
  ],
)
def test_parameter_counts_are_the_published_ones(depth, published):
  params, outputs = shapes(depth=depth)
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert count + (outputs.shape[-1] + 1) * 1000 == published


# In millions, BYOL table 9, which rounds and counts no classifier.
@pytest.mark.parametrize(
  ("depth", "width", "millions"),
  [(50, 2, 94), (200, 1, 63), (200, 2, 250), (50, 4, 375)],
)
def test_wide_and_deep_ones_have_the_papers_size(depth, width, millions):
  params, _ = shapes(depth=depth, width=width)
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert abs(count / 1e6 - millions) < 1


@pytest.mark.parametrize(
  ("stem", "side"), [("imagenet", 2), ("cifar", 8), ("patch", 2)]
)
def test_stems_shrink_as_they_should(stem, side):
  f = hk.transform_with_state(lambda x: ResNet(Layers(), depth=18, stem=stem).groups)
  del f
  seen = []
  original = ResNet.__call__

  def net(x, t):
    module = ResNet(Layers("none"), depth=10, width=0.125, stem=stem)
    last = module.groups[-1]
    module.groups[-1] = lambda x, t: seen.append((y := last(x, t)).shape) or y
    return original(module, x, t)

  jax.eval_shape(
    lambda: hk.transform_with_state(net).init(
      jax.random.key(0), jnp.zeros((1, 64, 64, 3)), True
    )
  )
  assert seen[-1][1:3] == (side, side)


def test_batch_norm_variant_has_haikus_names():
  params, _ = shapes(depth=50)
  ours = {(module, name) for module, values in params.items() for name in values}
  f = hk.transform_with_state(lambda x, t: hk.nets.ResNet50(10)(x, t))
  haikus, _ = jax.eval_shape(
    lambda k: f.init(k, jnp.zeros((2, 64, 64, 3)), True), jax.random.key(0)
  )
  theirs = {
    (module.replace("res_net50", "res_net50"), name)
    for module, values in haikus.items()
    for name in values
    if not module.endswith("logits")
  }
  assert ours == theirs


def test_representation_is_the_pooled_output():
  assert shapes(depth=18)[1].shape == (2, 512)
  assert shapes(depth=50, width=2)[1].shape == (2, 4096)


@pytest.mark.parametrize(
  ("settings", "message"),
  [({"depth": 51}, "no ResNet of depth 51"), ({"stem": "x"}, "unknown stem 'x'")],
)
def test_unknown_depth_or_stem_is_refused(settings, message):
  with pytest.raises(UserError, match=message):
    shapes(**settings)
