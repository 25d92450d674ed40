"""A step's convolutions alone: what all the rest of a step is measured against."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

from benchmarks import turns

# Times that what follows a convolution reads or writes its output: at least once
# each on the way forwards; backwards it reads output and gradient and writes one.
_FORWARDS, _BACKWARDS = 2, 3


class Convolution(NamedTuple):
  """One of a network's: shapes of [N, H, W, C] images and the kernel, and stride."""

  images: tuple[int, ...]
  kernel: tuple[int, ...]
  stride: int


def of_network(experiment: Any, batch: int) -> list[Convolution]:
  """The convolutions of one pass over `batch` images, in order."""
  import jax
  import jax.numpy as jnp

  from byol_jax.nets import convolve, layers

  found = []

  def record(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
    found.append(Convolution(x.shape, w.shape, stride))
    return convolve.plain(x, w, stride)

  state = jax.eval_shape(experiment.init)
  images = jnp.zeros((batch, *experiment.inputs.image_shape))
  with mock.patch.object(layers, "convolve", record):
    jax.eval_shape(
      lambda *state: experiment.networks.online(*state, images, False)[0],
      state.online,
      state.online_stats,
    )
  return found


def prepare(**settings: Any) -> turns.Prepared:
  """The convolutions of a step and their gradients; see `turns.Contestant`.

  Two views pass through the online network and back, and through the target's if
  there is one. Each convolution is a program of its own, in the form that the
  network has it in; its operands come from memory and its results go there. Of the
  facts, `traffic` is the bytes that all that is no convolution moves at the least.
  """
  from byol_jax.run import host

  host.tune()
  import jax

  from benchmarks import workload
  from byol_jax.nets.convolve import convolve

  experiment = workload.make_experiment(**settings)
  layers = of_network(experiment, settings["batch"])

  def both(
    x: jax.Array, w: jax.Array, dy: jax.Array, *, apply: Callable, wanted: slice
  ) -> Any:
    y, pull = jax.vjp(apply, x, w)
    return y, pull(dy)[wanted]

  programs = []
  for number, layer in enumerate(layers):
    apply = functools.partial(convolve, stride=layer.stride)
    # Nobody asks for the gradient of the images.
    wanted = slice(not number, None)
    both_ways = functools.partial(both, apply=apply, wanted=wanted)
    shapes = layer.images, layer.kernel
    x, w = (jax.random.normal(jax.random.key(0), shape) for shape in shapes)
    y = jax.eval_shape(apply, x, w)
    dy = jax.random.normal(jax.random.key(1), y.shape)
    forward = jax.jit(apply).lower(x, w).compile()
    backward = jax.jit(both_ways).lower(x, w, dy).compile()
    programs.append((forward, backward, (x, w, dy)))

  def run() -> None:
    for forward, backward, operands in programs:
      for _ in range(2):
        jax.block_until_ready(backward(*operands))
        if experiment.has_target:
          jax.block_until_ready(forward(*operands[:2]))

  outputs = sum(dy.nbytes for _, _, (_, _, dy) in programs)
  passes = 2 * (_FORWARDS + _BACKWARDS + _FORWARDS * experiment.has_target)
  return {"traffic": passes * outputs}, run
