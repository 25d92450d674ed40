"""Model FLOPs utilisation: the share of the devices' peak that a training step uses.

As in PaLM (Chowdhery et al., 2204.02311, App. B), what counts is what the model's
arithmetic asks for: its convolutions and matrix products, forwards and backwards. What
a device computes again, or in another form, does not count.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jax.extend import core

_TERA = 1e12


class Peaks(NamedTuple):
  """What one device of JAX can do, in TFLOP/s, dense; None where it cannot.

  Attributes:
    bfloat16: of products of bfloat16, summed in float32.
    float32: of products of float32 as JAX has them by default: in TF32 where the
      device has it, and on TPUs in bfloat16.
  """

  bfloat16: float | None
  float32: float


# A device_kind of JAX, as a pattern for all of it -> its peaks by the vendor. Figures
# that are given with sparsity alone are halved.
PEAKS: Mapping[str, Peaks] = {
  # NVIDIA's data sheets of V100, T4, A100, A40, RTX A6000, L4, L40, L40S, H100, H200,
  # GH200, and of HGX B200 and GB200 NVL72. V100 and T4 have no bfloat16, and no TF32.
  r"Tesla V100-SXM2-(16|32)GB": Peaks(None, 15.7),
  r"Tesla V100-PCIE-(16|32)GB": Peaks(None, 14.0),
  r"Tesla T4": Peaks(None, 8.1),
  r"NVIDIA A100(-SXM4-[48]0GB|-PCIE-40GB| 80GB PCIe)": Peaks(312, 156),
  r"NVIDIA A40": Peaks(149.7, 74.8),
  r"NVIDIA RTX A6000": Peaks(154.8, 77.4),
  r"NVIDIA L4": Peaks(121, 60),
  r"NVIDIA L40": Peaks(181.05, 90.5),
  r"NVIDIA L40S": Peaks(362.05, 183),
  r"NVIDIA H100 80GB HBM3": Peaks(989.4, 494.7),  # SXM
  r"NVIDIA H100 PCIe": Peaks(756, 378),
  r"NVIDIA H200": Peaks(989.4, 494.7),
  r"NVIDIA GH200 (120GB|480GB|144G HBM3e)": Peaks(990, 494),
  r"NVIDIA B200": Peaks(2250, 1100),
  r"NVIDIA GB200": Peaks(2500, 1250),
  # NVIDIA's white papers of GA102, of Ada and of RTX Blackwell, appendix A.
  r"NVIDIA GeForce RTX 3090": Peaks(71, 35.6),
  r"NVIDIA GeForce RTX 4090": Peaks(165.2, 82.6),
  r"NVIDIA GeForce RTX 5090": Peaks(209.5, 104.8),
  # Google's pages on each TPU. A device of JAX is a chip, but one of the two cores of a
  # v3's, of which the page has 123 for both.
  r"TPU v3": Peaks(61.5, 61.5),
  r"TPU v4": Peaks(275, 275),
  r"TPU v5( lite|e)": Peaks(197, 197),
  r"TPU v5p?": Peaks(459, 459),
  r"TPU v6( lite|e)": Peaks(918, 918),
}


def peak(kind: str, precision: str) -> float | None:
  """The FLOP/s of a device at its best, None where that is not known.

  Args:
    kind: its `device_kind`.
    precision: of the arithmetic, a key of `nets.model.PRECISIONS`.
  """
  for pattern, peaks in PEAKS.items():
    if re.fullmatch(pattern, kind):
      tera = getattr(peaks, precision, None)
      return None if tera is None else tera * _TERA
  return None


def steps_per_second_at_peak(experiment: Any) -> float | None:
  """How many steps all devices could make at their peak; None where it is not known.

  Args:
    experiment: of `run.loop`; it may have `flops()`, and then has `precision` too.
  """
  if not hasattr(experiment, "flops"):
    return None
  best = peak(jax.devices()[0].device_kind, experiment.precision)
  return best * jax.device_count() / experiment.flops() if best else None


def products(function: Callable, *args: Any) -> list[float]:
  """FLOPs of each convolution and matrix product of function(*args), in order.

  A multiplication and an addition are two, and none is counted of padding, as by XLA;
  what is in a loop counts once. Nothing is compiled or run: the function is traced for
  the shapes of its arguments.
  """
  return list(_products(jax.make_jaxpr(function)(*args).jaxpr))


def training_flops(forward: list[float]) -> float:
  """FLOPs of forward and backward pass, given the forward pass's `products`.

  Backwards each product is two, the gradients of its two operands; of the first one
  nobody asks for that of the images.
  """
  return 3 * sum(forward) - forward[0]


def _products(jaxpr: core.Jaxpr) -> Iterator[float]:
  for equation in jaxpr.eqns:
    if count := _COUNTS.get(equation.primitive.name):
      yield count(equation)
    for inner in core.jaxprs_in_params(equation.params):
      yield from _products(inner)


def _shapes(equation: core.JaxprEqn) -> list[tuple[int, ...]]:
  """Of both operands and the result."""
  avals: list[Any] = [v.aval for v in (*equation.invars, *equation.outvars)]
  return [aval.shape for aval in avals]


def _of_convolution(equation: core.JaxprEqn) -> float:
  """Of one without dilation."""
  numbers, given = equation.params["dimension_numbers"], equation.params
  images, kernel, outputs = (
    [shape[axis] for axis in spec]
    for shape, spec in zip(_shapes(equation), numbers, strict=True)
  )  # [N, C, H, W], [O, C / groups, H, W], [N, O, H, W]
  taps = 1
  for i, (stride, (low, _)) in enumerate(
    zip(given["window_strides"], given["padding"], strict=True), start=2
  ):
    starts = range(-low, stride * outputs[i] - low, stride)
    taps *= sum(0 <= a + b < images[i] for a in starts for b in range(kernel[i]))
  return 2 * images[0] * kernel[0] * kernel[1] * taps


def _of_product(equation: core.JaxprEqn) -> float:
  (contracted, _), _ = equation.params["dimension_numbers"]
  left, _, result = _shapes(equation)
  return 2 * math.prod(result) * math.prod(left[axis] for axis in contracted)


_COUNTS = {"conv_general_dilated": _of_convolution, "dot_general": _of_product}
