"""The online and the target network, put together from a description."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import haiku as hk
import jax
import jax.numpy as jnp

from byol_jax.errors import UserError
from byol_jax.nets.heads import MLP
from byol_jax.nets.layers import Layers, Linear
from byol_jax.nets.normalise import at_least_float32
from byol_jax.nets.resnet import ResNet

PRECISIONS = {name: jnp.dtype(name) for name in ("float32", "bfloat16", "float64")}


M = TypeVar("M", ResNet, MLP)


class Online(NamedTuple):
  """What the online network makes of N images, in float32 at least.

  Attributes:
    embedding: [N, D] the encoder's representation.
    projection: [N, P] z.
    prediction: [N, P] q(z); z itself for a predictor of depth 0.
    logits: [N, classes] of a linear classifier on the embedding, which sends no
      gradient into it; None without classes.
  """

  embedding: jax.Array
  projection: jax.Array
  prediction: jax.Array
  logits: jax.Array | None


class Networks(NamedTuple):
  """BYOL's networks as pure functions over one tree of parameters.

  Each function but `init` maps (parameters, statistics, images [N, H, W, C],
  is_training) to (outputs, statistics).

  Attributes:
    init: (key, images) -> (parameters, statistics) of all of them; images are
      asked for their shape alone, and statistics start at zero.
    online: to `Online`.
    target: to the projection [N, P], by the encoder and the projector alone.
    encoder: to the embedding [N, D].
  """

  init: Callable[..., tuple[hk.Params, hk.State]]
  online: Callable[..., tuple[Online, hk.State]]
  target: Callable[..., tuple[jax.Array, hk.State]]
  encoder: Callable[..., tuple[jax.Array, hk.State]]


def _component(
  module: type[M], description: Mapping[str, Any], axis: str | None, **rest: Any
) -> M:
  """A module, its layers chosen by the description's first three settings."""
  settings = dict(description)
  layers = Layers(
    settings.pop("norm"), settings.pop("groups"), settings.pop("standardised"), axis
  )
  return module(layers, **settings, **rest)


def make_networks(
  encoder: Mapping[str, Any],
  projector: Mapping[str, Any],
  predictor: Mapping[str, Any],
  classes: int | None = None,
  precision: str = "float32",
  axis: str | None = None,
  remat: bool = False,
) -> Networks:
  """Builds BYOL's networks (section 3.3).

  Args:
    encoder: norm, groups, standardised (see `Layers`), and the settings of
      `ResNet`.
    projector: norm, groups, standardised, and the settings of `MLP`.
    predictor: the same.
    classes: number of classes of the online classifier, None for none.
    precision: a key of `PRECISIONS`, in which activations are computed; float64
      needs JAX_ENABLE_X64. Parameters are drawn in float32 whatever it is; statistics
      and outputs are float32 at least.
    axis: the device axis over which batch norm pools in training.
    remat: whether the encoder's blocks are recomputed in the backward pass.

  Raises:
    UserError: for an unknown precision, or float64 without JAX_ENABLE_X64; from
      `init`, for a description that makes no network.
  """
  if precision not in PRECISIONS:
    raise UserError(
      f"unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}"
    )
  if jax.dtypes.canonicalize_dtype(precision) != PRECISIONS[precision]:
    raise UserError(f"precision {precision} needs JAX_ENABLE_X64=1 in the environment")

  def build():
    encode = _component(ResNet, encoder, axis, remat=remat)
    project = _component(MLP, projector, axis, name="projector")
    predict = _component(MLP, predictor, axis, name="predictor")
    classify = Linear(classes, name="classifier") if classes else None

    def embed(images, is_training):
      return encode(images.astype(PRECISIONS[precision]), is_training)

    def wide(outputs):
      return jax.tree.map(at_least_float32, outputs)

    def online(images, is_training):
      embedding = embed(images, is_training)
      projection = project(embedding, is_training)
      prediction = predict(projection, is_training)
      if prediction.shape != projection.shape:
        raise UserError(
          f"the predictor has {prediction.shape[-1]} outputs and the projector"
          f" {projection.shape[-1]}: they are compared, so give the same number"
        )
      frozen = jax.lax.stop_gradient(wide(embedding))
      logits = classify(frozen) if classify else None
      return wide(Online(embedding, projection, prediction, logits))

    def target(images, is_training):
      return wide(project(embed(images, is_training), is_training))

    def encoder_alone(images, is_training):
      return wide(embed(images, is_training))

    return online, (online, target, encoder_alone)

  _, functions = hk.multi_transform_with_state(build)

  def deterministic(function):
    # Traced once, although a step calls it for each view.
    @functools.partial(jax.jit, static_argnums=3)
    def apply(params, state, images, is_training):
      return function(params, state, None, images, is_training)

    return apply

  return Networks(_initialiser(lambda: build()[0]), *map(deterministic, functions))


class _Request(NamedTuple):
  """A parameter that a network asks for."""

  module: str
  name: str
  shape: tuple[int, ...]
  dtype: Any
  init: hk.initializers.Initializer


def _initialiser(
  build: Callable[[], Callable[[jax.Array, bool], Any]],
) -> Callable[[jax.Array, jax.Array], tuple[hk.Params, hk.State]]:
  """Haiku's `init`, up to rounding, without the network's outputs.

  The network is traced once for images of a shape, to hear what it asks for, and
  each parameter is drawn by itself: few differ in shape, while one program of all
  draws takes longer to compile, and even to load.
  """

  @functools.cache
  def traced(shape, dtype):
    requests: list[_Request] = []

    def note(next_creator, shape, dtype, init, context):
      module, name = context.module_name, context.name
      requests.append(_Request(module, name, shape, dtype, init))
      return next_creator(shape, dtype, init)

    def run(images):
      with hk.custom_creator(note):
        build()(images, True)

    images = jax.ShapeDtypeStruct(shape, dtype)
    init = hk.transform_with_state(run).init
    return requests, jax.eval_shape(init, jax.random.key(0), images)[1]

  def init(key, images):
    requests, stats = traced(images.shape, images.dtype)

    def draw():
      params: dict[str, dict[str, jax.Array]] = {}
      for module, name, *shape_and_dtype, initialise in requests:
        params.setdefault(module, {})[name] = initialise(*shape_and_dtype)
      return params

    params = hk.transform(draw).apply({}, key)
    return params, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), stats)

  return init


HEADS = ("projector", "predictor", "classifier")


def target_part(tree: Mapping[str, Any]) -> dict[str, Any]:
  """The modules of parameters or statistics that the target network has too."""
  return _without(tree, HEADS[1:])


def encoder_part(tree: Mapping[str, Any]) -> dict[str, Any]:
  """The encoder's modules of parameters or statistics."""
  return _without(tree, HEADS)


def _without(tree: Mapping[str, Any], heads: Sequence[str]) -> dict[str, Any]:
  return {
    module: values
    for module, values in tree.items()
    if module.split("/")[0] not in heads
  }
