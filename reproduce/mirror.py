"""RAFT's runs are those of BYOL' in a mirror (Shi et al., 2011.10944, theorem 5.1).

Short runs on the same real batches: BYOL', RAFT with the sign of the predictor's last
layer W changed at the start, and RAFT as BYOL' starts. The theorem says that the first
two stay together, but for that sign, if the predictor is linear; the same algebra holds
for any whose last layer is. It says nothing of the third. They are made with SGD: Adam
makes whole steps out of the rounding errors of gradients that are zero, such as those
of biases before a batch norm. And in float64: among the millions of
activations of a batch there is always one so near to zero that rounding decides in
float32 on which side of a ReLU it is, which changes the gradient by more than rounding.
The first two are made in float32 too, to show that.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from byol_jax import parallel
from experiments import pretrain
from reproduce import arms

STEPS = 50
LEARNING_RATE = 0.05


def measure(root: Path, data_dir: str | None) -> dict[str, Any]:
  """Follows the runs for `STEPS` steps.

  Returns:
    For each precision what `_follow` does, and the number of steps.
  """
  del root
  with jax.enable_x64(True):
    float64 = _follow("float64", data_dir)
  return {"steps": STEPS, "float64": float64, "float32": _follow("float32", data_dir)}


def _follow(precision: str, data_dir: str | None) -> dict[str, dict[str, list[float]]]:
  """Makes BYOL's run, and RAFT's two.

  Returns:
    "losses" of all three after each step, and for RAFT's "mirrored" and "as it is" the
    "distances" of all parameters (W's sign changed back in the first) from those of
    BYOL', relative to how far BYOL' has come.
  """
  towards, away = (
    _experiment(name, precision, data_dir) for name in ("byol-prime", "raft")
  )
  steps = [parallel.pmap(experiment.step) for experiment in (towards, away)]
  start = _in(precision, towards.init())
  last = last_layer(start.online)
  original = Follower(steps[0], start)
  others = {
    "mirrored": Follower(steps[1], mirrored(start, last)),
    "as it is": Follower(steps[1], start),
  }
  begin = original.online()
  losses: dict[str, list[float]] = {name: [] for name in ("byol-prime", *others)}
  distances: dict[str, list[float]] = {name: [] for name in others}
  batches = towards.batches(0)
  for _ in range(STEPS):
    batch = next(batches)
    losses["byol-prime"].append(original.step(batch))
    there = original.online()
    for name, run in others.items():
      losses[name].append(run.step(batch))
      here = flipped(run.online(), last) if name == "mirrored" else run.online()
      distances[name].append(distance(here, there) / distance(there, begin))
  return {"losses": losses, "distances": distances}


def _experiment(name: str, precision: str, data_dir: str | None) -> pretrain.Pretrain:
  config = arms.first(name).config(data_dir)
  config.optimiser.update(name="sgd", learning_rate=LEARNING_RATE)
  config.train.precision = precision
  return pretrain.Pretrain(config)


def _in(precision: str, state: pretrain.State) -> pretrain.State:
  """The same state, its floating-point numbers in that precision."""
  return jax.tree.map(
    lambda x: x.astype(precision) if jnp.issubdtype(x.dtype, jnp.floating) else x, state
  )


class Follower:
  """A run that is advanced step by step."""

  def __init__(self, step: Callable, state: pretrain.State):
    self._step = step
    self._state = parallel.replicate(state)

  def step(self, batch: Any) -> float:
    """Makes a step; its loss."""
    self._state, scalars = self._step(self._state, batch)
    return float(scalars["loss"])

  def online(self) -> Any:
    """The online network's parameters."""
    return jax.device_get(self._state.online)


def last_layer(online: Any) -> str:
  """Name of the predictor's last layer."""
  return [name for name in online if "predictor/" in name][-1]


def flipped(params: Any, last: str) -> Any:
  """The same, that layer with the other sign."""
  return {**params, last: {name: -value for name, value in params[last].items()}}


def mirrored(state: pretrain.State, last: str) -> pretrain.State:
  """The state from which RAFT runs as BYOL' does from the given one."""
  return state._replace(online=flipped(state.online, last))


def distance(one: Any, other: Any) -> float:
  """Euclidean distance of two trees of parameters."""
  squares = jax.tree.map(
    lambda x, y: np.sum(np.square(x - y, dtype=np.float64)), one, other
  )
  return float(np.sqrt(sum(jax.tree.leaves(squares))))
