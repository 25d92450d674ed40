"""RAFT's runs are those of BYOL' in a mirror (Shi et al., 2011.10944, theorem 5.1).

Three short runs on the same real batches: BYOL', RAFT with the sign of the
predictor's last layer changed at the start, and RAFT as BYOL' starts. The theorem
says that the first two stay together, but for that sign, and says nothing of the
third. They are made with plain SGD: Adam makes whole steps out of the rounding errors
of gradients that are zero, such as those of biases before a batch norm.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from byol_jax import parallel
from experiments import pretrain
from reproduce import arms

STEPS = 100
LEARNING_RATE = 0.005


def measure(root: Path, data_dir: str | None) -> dict[str, Any]:
  """Follows the three runs for `STEPS` steps.

  Returns:
    For RAFT's two runs, "mirrored" and "as it is", after each step: the distance of
    all parameters but W from those of BYOL', and of W from the opposite of that of
    BYOL', relative to how far BYOL' has come; and the losses of all three.
  """
  del root
  towards, away = (_experiment(name, data_dir) for name in ("byol-prime", "raft"))
  steps = [parallel.pmap(experiment.step) for experiment in (towards, away)]
  start = towards.init()
  last = last_layer(start.online)
  runs = {
    "byol-prime": Run(steps[0], start),
    "mirrored": Run(steps[1], mirrored(start, last)),
    "as it is": Run(steps[1], start),
  }
  found: dict[str, Any] = {"steps": STEPS, "losses": {name: [] for name in runs}}
  found |= {name: {"rest": [], "W": []} for name in ("mirrored", "as it is")}
  batches = towards.batches(0)
  begin = jax.device_get(start.online)
  for _ in range(STEPS):
    batch = next(batches)
    for name, run in runs.items():
      found["losses"][name].append(run.step(batch))
    there = runs["byol-prime"].online()
    for name in ("mirrored", "as it is"):
      opposite = flipped(runs[name].online(), last)
      rest = [module for module in there if module != last]
      for key, modules in (("rest", rest), ("W", [last])):
        apart = distance(opposite, there, modules)
        found[name][key].append(apart / distance(there, begin, modules))
  return found


def _experiment(name: str, data_dir: str | None) -> pretrain.Pretrain:
  config = arms.config(name, 0, data_dir)
  config.optimiser.update(name="sgd", learning_rate=LEARNING_RATE)
  return pretrain.Pretrain(config)


class Run:
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


def distance(one: Any, other: Any, modules: list[str]) -> float:
  """Euclidean distance of the parameters of some modules."""
  squares = (
    np.sum(np.square(one[module][name] - other[module][name], dtype=np.float64))
    for module in modules
    for name in one[module]
  )
  return float(np.sqrt(sum(squares)))
