"""Layers with a choice: plain or weight-standardised weights, and six norms.

A `Layers` value carries the choice into a network, so that the encoder, the
projector and the predictor can each have their own.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
from jax import lax

from byol_jax.errors import UserError, no_such
from byol_jax.nets import normalise as normalise_lib
from byol_jax.nets.convolve import convolve

# Of every norm, as in the reference code's batch norm (BYOL, App. J).
EPSILON = 1e-5
BATCH_NORM_DECAY = 0.9
_SETTLED = 2**30  # steps, after which an average lacks nothing at any decay
# The code released with weight standardisation (Qiao et al., 1903.10520) adds 1e-5 to
# the deviation: divided by N, as here, in TensorFlow, by N - 1 in PyTorch. The papers
# reproduced here name no value.
STANDARDISATION_EPSILON = 1e-5


@jax.custom_vjp
def standardise(w: jax.Array) -> jax.Array:
  """Weight standardisation: each output unit's weights get mean 0, variance 1.

  Richemond et al. (2010.10241), section 3.3: w_ij <- (w_ij - mean_i) / std_i
  over the fan-in j, with no gain. The gradient goes to the raw weight; it is
  written out as XLA's automatic one takes three times as long on a CPU.

  Args:
    w: [..., fan_in, units]: [I, O] of a linear layer, [H, W, I, O] of a
      convolution; all axes but the last are fan-in.

  Returns:
    The standardised weight, of the same shape.
  """
  return _standardise(w)[0]


def _over_fan_in(w: jax.Array) -> jax.Array:
  return jnp.mean(w, tuple(range(w.ndim - 1)), keepdims=True)


def _standardise(w: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  centred = w - _over_fan_in(w)
  deviation = jnp.sqrt(_over_fan_in(jnp.square(centred)))
  standardised = centred / (deviation + STANDARDISATION_EPSILON)
  return standardised, (standardised, deviation)


def _standardise_backward(
  saved: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array]:
  y, deviation = saved
  along = _over_fan_in(dy * y) / jnp.where(deviation > 0, deviation, 1)
  across = (dy - _over_fan_in(dy)) / (deviation + STANDARDISATION_EPSILON)
  return (across - y * along,)


standardise.defvjp(_standardise, _standardise_backward)


def _weight(
  shape: tuple[int, ...],
  standardised: bool,
  dtype: jnp.dtype,
  init: hk.initializers.Initializer | None = None,
) -> jax.Array:
  """A layer's weight, by default a truncated normal of deviation 1/sqrt(fan-in)."""
  fan_in = math.prod(shape[:-1])
  init = init or hk.initializers.TruncatedNormal(fan_in**-0.5)
  w = hk.get_parameter("w", shape, jnp.float32, init)
  return (standardise(w) if standardised else w).astype(dtype)


class Conv2D(hk.Module):
  """A square convolution without bias, "SAME" padding, NHWC."""

  def __init__(
    self,
    channels: int,
    kernel: int,
    stride: int,
    standardised: bool,
    *,
    name: str,
  ):
    super().__init__(name)
    self.channels = channels
    self.kernel = kernel
    self.stride = stride
    self.standardised = standardised

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [N, H, W, C] to [N, ceil(H / stride), ceil(W / stride), channels]."""
    shape = (self.kernel, self.kernel, x.shape[-1], self.channels)
    return convolve(x, _weight(shape, self.standardised, x.dtype), self.stride)


class Linear(hk.Module):
  """A linear layer."""

  def __init__(
    self,
    units: int,
    with_bias: bool = True,
    standardised: bool = False,
    *,
    w_init: hk.initializers.Initializer | None = None,
    name: str | None = None,
  ):
    super().__init__(name)
    self.units = units
    self.with_bias = with_bias
    self.standardised = standardised
    self.w_init = w_init

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [N, C] to [N, units]."""
    shape = (x.shape[-1], self.units)
    y = x @ _weight(shape, self.standardised, x.dtype, self.w_init)
    if self.with_bias:
      y += hk.get_parameter("b", (self.units,), jnp.float32, jnp.zeros).astype(x.dtype)
    return y


Norm = Callable[..., jax.Array]  # (x, is_training) -> x


class _Affine(hk.Module):
  """What all norms share: a scale and an offset for each channel."""

  def __init__(self, zero_scale: bool, name: str):
    super().__init__(name)
    self._scale_init = jnp.zeros if zero_scale else jnp.ones

  def _affine(self, channels: int) -> tuple[jax.Array, jax.Array]:
    get = hk.get_parameter
    scale = get("scale", (channels,), jnp.float32, self._scale_init)
    return scale, get("offset", (channels,), jnp.float32, jnp.zeros)

  def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
    """Maps [..., C] to the same: scale and offset alone."""
    del is_training
    scale, offset = self._affine(x.shape[-1])
    return (x * scale + offset).astype(x.dtype)


class _BatchNorm(_Affine):
  """Statistics of the batch, over all devices of an axis; running ones in eval.

  The running statistics are zero-debiased exponential moving averages, and the
  variance is the biased one, as in Haiku.
  """

  def __init__(self, axis: str | None, decay: float, *, zero_scale: bool, name: str):
    super().__init__(zero_scale, name)
    self._axis = axis
    self._averages = [
      hk.ExponentialMovingAverage(decay, name=name) for name in ("mean_ema", "var_ema")
    ]

  def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
    channels = x.shape[-1]
    scale, offset = self._affine(channels)
    if not is_training:
      mean, variance = (average.average for average in self._averages)
      gain = lax.rsqrt(variance + EPSILON) * scale
      return (x * gain + (offset - mean * gain)).astype(x.dtype)
    first = hk.running_init()
    y, mean, variance = normalise_lib.normalise(
      _positions(x),
      scale,
      offset,
      jnp.zeros(channels) if first else self._averages[0].average,
      pool=normalise_lib.Pool(True, axis=None if first else self._axis),
      eps=EPSILON,
    )
    for average, moment in zip(self._averages, (mean, variance), strict=True):
      average(lax.stop_gradient(moment.reshape(channels)))
    return y.reshape(x.shape)


def settled(stats: hk.State) -> hk.State:
  """Running statistics that go on from their averages, with whatever decay.

  Haiku's averages are sums, divided by what they lack to a whole one at their decay and
  their number of steps. At another decay they would jump: here the sums are the
  averages, and the number so large that nothing is lacking. Those of an encoder that
  was never trained stay as they are, so that its first batch counts for all.

  Args:
    stats: {module: {"counter", "hidden", "average"}} of `_BatchNorm`; {} without any.
  """

  def settle(average: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    known = (average["counter"] > 0) | jnp.any(average["average"] != 0)
    return {
      "counter": jnp.where(known, _SETTLED, average["counter"]),
      "hidden": jnp.where(known, average["average"], average["hidden"]),
      "average": jnp.array(average["average"]),
    }

  return {module: settle(average) for module, average in stats.items()}


class _GroupNorm(_Affine):
  """Statistics of one image's groups of channels (Wu & He, 1803.08494)."""

  def __init__(self, groups: int | None, *, zero_scale: bool, name: str):
    super().__init__(zero_scale, name)
    self._groups = groups  # None: as many as channels

  def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
    del is_training
    channels = x.shape[-1]
    groups = self._groups or channels
    if channels % groups:
      raise UserError(
        f"group norm {self.module_name}: {channels} channels do not divide into"
        f" {groups} groups; choose a number of groups that divides {channels}"
      )
    if groups == channels and math.prod(x.shape[1:-1]) == 1:
      raise UserError(
        f"norm {self.module_name} would leave nothing but zeros, as each group has one"
        " channel of one pixel: choose fewer groups, another norm or larger images"
      )
    y, _, _ = normalise_lib.normalise(
      _positions(x),
      *self._affine(channels),
      None,
      pool=normalise_lib.Pool(False, groups),
      eps=EPSILON,
    )
    return y.reshape(x.shape)


def _positions(x: jax.Array) -> jax.Array:
  """[N, ..., C] -> [N, M, C]."""
  return x.reshape(x.shape[0], -1, x.shape[-1])


def _identity(x: jax.Array, is_training: bool) -> jax.Array:
  del is_training
  return x


# Each takes (layers, zero_scale, name) and gives a `Norm`.
NORMS: dict[str, Callable[["Layers", bool, str], Norm]] = {
  "batch": lambda layers, zero, name: _BatchNorm(
    layers.axis, layers.decay, zero_scale=zero, name=name
  ),
  "group": lambda layers, zero, name: _GroupNorm(
    layers.groups, zero_scale=zero, name=name
  ),
  "layer": lambda _, zero, name: _GroupNorm(1, zero_scale=zero, name=name),
  "instance": lambda _, zero, name: _GroupNorm(None, zero_scale=zero, name=name),
  "affine": lambda _, zero, name: _Affine(zero_scale=zero, name=name),
  "none": lambda _, zero, name: _identity,
}


class Layers(NamedTuple):
  """The kinds of layers that a network, or a part of one, is built from.

  Attributes:
    norm_kind: a key of `NORMS`.
    groups: number of groups of group norm.
    standardised: whether conv and linear layers standardise their weights.
    axis: the device axis over which batch norm pools its statistics.
    decay: what batch norm's running statistics keep of themselves in a step, in [0, 1).
  """

  norm_kind: str = "batch"
  groups: int = 16
  standardised: bool = False
  axis: str | None = None
  decay: float = BATCH_NORM_DECAY

  def conv(self, channels: int, kernel: int, stride: int = 1, *, name: str) -> Conv2D:
    """A convolution without bias."""
    return Conv2D(channels, kernel, stride, self.standardised, name=name)

  def linear(
    self,
    units: int,
    with_bias: bool = True,
    *,
    w_init: hk.initializers.Initializer | None = None,
    name: str,
  ) -> Linear:
    """A linear layer."""
    return Linear(units, with_bias, self.standardised, w_init=w_init, name=name)

  def norm(self, *, name: str, zero_scale: bool = False) -> Norm:
    """A norm, called as norm(x, is_training).

    Args:
      name: must contain "norm", which the kind is put before, so that the batch
        norms bear Haiku's names ("initial_norm" -> "initial_batchnorm").
      zero_scale: whether the scale starts at 0 rather than 1.

    Raises:
      UserError: for an unknown kind.
    """
    if self.norm_kind not in NORMS:
      raise no_such("norm", self.norm_kind, NORMS)
    name = name.replace("norm", f"{self.norm_kind}norm")
    return NORMS[self.norm_kind](self, zero_scale, name)
