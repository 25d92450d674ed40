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


def sizes(params):
  """Number of elements by module and name, but for a classifier."""
  return {
    (module, name): leaf.size
    for module, values in params.items()
    for name, leaf in values.items()
    if not module.endswith("logits")
  }


def of_haiku(make):
  """Parameters of a network of Haiku's, as shapes."""
  f = hk.transform_with_state(lambda x, t: make()(x, t))
  init = lambda key: f.init(key, jnp.zeros((2, 64, 64, 3)), True)  # noqa: E731
  return jax.eval_shape(init, jax.random.key(0))[0]


# As byol/utils/networks.py puts Haiku's blocks together.
BYOLS_RESNET18 = {
  "blocks_per_group": (2, 2, 2, 2),
  "bottleneck": False,
  "channels_per_group": (64, 128, 256, 512),
  "use_projection": (True, True, True, True),
  "name": "res_net18",
}


@pytest.mark.parametrize(
  ("settings", "haikus"),
  [
    ({"depth": 50}, lambda: hk.nets.ResNet50(10)),
    (
      {"depth": 50, "projected_shortcuts": "every_stage"},
      lambda: hk.nets.ResNet50(10),
    ),
    ({"depth": 18}, lambda: hk.nets.ResNet18(10)),
    (
      {"depth": 18, "projected_shortcuts": "every_stage"},
      lambda: hk.nets.ResNet(num_classes=10, **BYOLS_RESNET18),
    ),
  ],
)
def test_batch_norm_variant_has_haikus_parameters(settings, haikus):
  assert sizes(shapes(**settings)[0]) == sizes(of_haiku(haikus))


def test_a_projection_in_stage_1_is_a_1x1_convolution_and_its_norm():
  plain, projected = (
    sum(sizes(shapes(depth=18, projected_shortcuts=kind)[0]).values())
    for kind in ("as_needed", "every_stage")
  )
  assert projected - plain == 64 * 64 + 2 * 64


def test_representation_is_the_pooled_output():
  assert shapes(depth=18)[1].shape == (2, 512)
  assert shapes(depth=50, width=2)[1].shape == (2, 4096)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"depth": 51}, "no ResNet of depth 51"),
    ({"stem": "x"}, "no stem 'x'"),
    ({"projected_shortcuts": "all"}, "projected_shortcuts 'all': choose one of as_"),
  ],
)
def test_what_is_in_no_table_is_refused(settings, message):
  with pytest.raises(UserError, match=message):
    shapes(**settings)
