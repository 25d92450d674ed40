"""The online and the target network, put together from a description."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import haiku as hk
import jax
import jax.numpy as jnp

from byol_jax.errors import UserError, no_such
from byol_jax.nets.heads import MLP
from byol_jax.nets.layers import BATCH_NORM_DECAY, Layers, Linear
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

  `online` and `target` map (parameters, statistics, images [N, H, W, C],
  is_training) to (outputs, statistics).

  Attributes:
    init: (key, images) -> (parameters, statistics) of all of them; images are
      asked for their shape alone, and statistics start at zero.
    online: to `Online`.
    target: to the projection [N, P], by the encoder and the projector alone.
  """

  init: Callable[..., tuple[hk.Params, hk.State]]
  online: Callable[..., tuple[Online, hk.State]]
  target: Callable[..., tuple[jax.Array, hk.State]]


class EncoderNetwork(NamedTuple):
  """The encoder alone, as pure functions.

  Attributes:
    init: as in `Networks`, of the encoder's modules alone.
    embed: (parameters, statistics, images [N, H, W, C]) -> the embedding [N, D], as in
      evaluation.
    train: the same arguments -> (the embedding, statistics), as in training.
  """

  init: Callable[..., tuple[hk.Params, hk.State]]
  embed: Callable[..., jax.Array]
  train: Callable[..., tuple[jax.Array, hk.State]]


def make_networks(
  encoder: Mapping[str, Any],
  projector: Mapping[str, Any],
  predictor: Mapping[str, Any],
  classes: int | None = None,
  *,
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
  dtype = _dtype(precision)

  def embed(images: jax.Array, is_training: bool) -> jax.Array:
    encode = _component("encoder", ResNet, encoder, axis, remat=remat)
    return encode(images.astype(dtype), is_training)

  def project(embedding: jax.Array, is_training: bool) -> jax.Array:
    head = _component("projector", MLP, projector, axis, name="projector")
    return head(embedding, is_training)

  def predict(projection: jax.Array, is_training: bool) -> jax.Array:
    head = _component("predictor", MLP, predictor, axis, name="predictor")
    return head(projection, is_training)

  def classify(embedding: jax.Array) -> jax.Array | None:
    if not classes:
      return None
    frozen = jax.lax.stop_gradient(at_least_float32(embedding))
    return Linear(classes, name="classifier")(frozen)

  def online(images: jax.Array, is_training: bool) -> Online:
    embedding = embed(images, is_training)
    projection = project(embedding, is_training)
    prediction = predict(projection, is_training)
    if prediction.shape != projection.shape:
      raise UserError(
        f"the predictor has {prediction.shape[-1]} outputs and the projector"
        f" {projection.shape[-1]}: they are compared, so give the same number"
      )
    outputs = Online(embedding, projection, prediction, classify(embedding))
    return jax.tree.map(at_least_float32, outputs)

  def target(images: jax.Array, is_training: bool) -> jax.Array:
    return at_least_float32(project(embed(images, is_training), is_training))

  return Networks(_initialiser(online), _apply(online), _apply(target))


def make_encoder(
  encoder: Mapping[str, Any],
  precision: str = "float32",
  *,
  axis: str | None = None,
  decay: float = BATCH_NORM_DECAY,
) -> EncoderNetwork:
  """Builds the encoder alone, its modules named as in `make_networks`.

  Args:
    encoder: as for `make_networks`.
    precision: likewise.
    axis: likewise.
    decay: of batch norm's running statistics in training; see `Layers`.

  Raises:
    UserError: as `make_networks`.
  """
  dtype = _dtype(precision)

  def run(images: jax.Array, is_training: bool) -> jax.Array:
    encode = _component("encoder", ResNet, encoder, axis, decay)
    return at_least_float32(encode(images.astype(dtype), is_training))

  apply = _apply(run)

  def embed(params: hk.Params, stats: hk.State, images: jax.Array) -> jax.Array:
    return apply(params, stats, images, False)[0]

  def train(
    params: hk.Params, stats: hk.State, images: jax.Array
  ) -> tuple[jax.Array, hk.State]:
    return apply(params, stats, images, True)

  return EncoderNetwork(_initialiser(run), embed, train)


def _component(
  part: str,
  module: type[M],
  description: Mapping[str, Any],
  axis: str | None,
  decay: float = BATCH_NORM_DECAY,
  **rest: Any,
) -> M:
  """A module, its layers chosen by the description's first three settings."""
  settings = dict(description)
  try:
    layers = Layers(
      settings.pop("norm"),
      settings.pop("groups"),
      settings.pop("standardised"),
      axis,
      decay,
    )
    return module(layers, **settings, **rest)
  except KeyError as error:
    raise UserError(f"the {part} has no setting {error}: add it") from error
  except TypeError as error:
    raise UserError(f"the {part} cannot be built: {error}") from error


def _dtype(precision: str) -> jnp.dtype:
  if not isinstance(precision, str) or precision not in PRECISIONS:
    raise no_such("precision", precision, PRECISIONS)
  if jax.dtypes.canonicalize_dtype(precision) != PRECISIONS[precision]:
    raise UserError(f"precision {precision} needs JAX_ENABLE_X64=1 in the environment")
  return PRECISIONS[precision]


def _apply(
  run: Callable[[jax.Array, bool], Any],
) -> Callable[..., tuple[Any, hk.State]]:
  """(parameters, statistics, images, is_training) -> (outputs, statistics)."""
  apply = hk.transform_with_state(run).apply

  # Traced once, although a step calls it for each view.
  @functools.partial(jax.jit, static_argnums=3)
  def deterministic(
    params: hk.Params, stats: hk.State, images: jax.Array, is_training: bool
  ) -> tuple[Any, hk.State]:
    return apply(params, stats, None, images, is_training)

  return deterministic


class _Request(NamedTuple):
  """A parameter that a network asks for."""

  module: str
  name: str
  shape: tuple[int, ...]
  dtype: Any
  init: hk.initializers.Initializer


def _initialiser(
  run: Callable[[jax.Array, bool], Any],
) -> Callable[[jax.Array, jax.Array], tuple[hk.Params, hk.State]]:
  """Haiku's `init`, up to rounding, without the network's outputs.

  The network is traced for its images' shape, which tells what parameters it asks
  for, and each of them is drawn by itself: few differ in shape, while one program of
  all draws takes longer to compile, and even to load.
  """

  @functools.cache
  def trace(shape: tuple[int, ...], dtype: Any) -> tuple[list[_Request], hk.State]:
    requests: list[_Request] = []

    # Haiku's signature of a creator.
    def note(
      create: Callable, shape: Any, dtype: Any, init: Any, context: Any
    ) -> jax.Array:
      requests.append(_Request(context.module_name, context.name, shape, dtype, init))
      return create(shape, dtype, init)

    def noted(images: jax.Array) -> None:
      with hk.custom_creator(note):
        run(images, True)

    init = hk.transform_with_state(noted).init
    images = jax.ShapeDtypeStruct(shape, dtype)
    _, stats = jax.eval_shape(init, jax.random.key(0), images)
    return requests, stats

  def init(key: jax.Array, images: jax.Array) -> tuple[hk.Params, hk.State]:
    requests, stats = trace(images.shape, images.dtype)

    def draw() -> dict[str, dict[str, jax.Array]]:
      params: dict[str, dict[str, jax.Array]] = {}
      for request in requests:
        value = request.init(request.shape, request.dtype)
        params.setdefault(request.module, {})[request.name] = value
      return params

    # In a transform, where initialisers find their random numbers.
    params = hk.transform(draw).apply({}, key)
    return params, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), stats)

  return init


def target_part(tree: Mapping[str, Any]) -> dict[str, Any]:
  """The modules of parameters or statistics that the target network has too."""
  online_alone = ("predictor", "classifier")
  return {
    module: values
    for module, values in tree.items()
    if module.split("/")[0] not in online_alone
  }
