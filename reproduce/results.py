"""Results: what the record of a run says, and those of an arm's seeds together."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from byol_jax import optim
from experiments import systems

PROBES = ("linear", "knn")  # those that must agree

# Name -> steps, and the values there.
Curves = dict[str, tuple[Sequence[int], Sequence[float]]]


class Result(NamedTuple):
  """The record of a run that has come to its end.

  Attributes:
    made: on what commits, machines and days.
    config: its config.json.
    summary: its summary.json.
    curves: steps, and the values there, of what it logged; see `records.CURVES`.
  """

  made: list[dict[str, str]]
  config: dict[str, Any]
  summary: dict[str, Any]
  curves: Curves

  def accuracy(self, probe: str) -> float:
    """Of a probe, as the summary calls it, on the encoder's features, %."""
    return 100 * self.summary[probe]["encoder"]

  def untrained(self, probe: str) -> float:
    """That of the same network untrained, %."""
    return 100 * self.summary[probe]["untrained"]

  def gain(self, probe: str) -> float:
    """How far the one is above the other, points."""
    return self.accuracy(probe) - self.untrained(probe)

  @property
  def raw(self) -> float:
    """Of a linear classifier on features that are not standardised, %."""
    return self.accuracy("linear_raw")

  def health(self, measure: str, network: str = "encoder") -> float:
    """A measure that needs no labels, of test images; see `evaluation.health`."""
    return self.summary["health"][network][measure]

  @property
  def feature_common(self) -> float:
    """The common part of the encoder's features."""
    return self.health("feature_common")

  @property
  def projection_common(self) -> float:
    """The common part of projections."""
    return self.health("projection_common")

  @property
  def lowest_spread(self) -> float:
    """The lowest spread of the projections that was logged on the way."""
    return min(self.curves["spread"][1])

  @property
  def batch_size(self) -> int:
    """Images of a step."""
    return self.config["train"]["batch_size"]

  @property
  def renewals(self) -> np.ndarray:
    """How often the target has been renewed, by the number of steps: sum (1 - tau)."""
    target = {"frozen": 0.0, **self.config["target"]}  # the first trials lack it
    config = ConfigDict({**self.config, "target": target})
    if config.target.kind != "ema":
      return np.zeros(config.train.steps + 1)
    return optim.renewals(systems.tau_from_config(config), config.train.steps)


class Seeds(list[Result]):
  """The results of an arm, a seed each."""

  @property
  def numbers(self) -> list[int]:
    """The seeds, of which one is missing where its run is."""
    return [result.config["seed"] for result in self]

  def accuracies(self, probe: str) -> list[float]:
    """Of a probe, seed by seed, %."""
    return [result.accuracy(probe) for result in self]

  def mean(self, of: Callable[[Result], float]) -> float:
    """Over the seeds."""
    return statistics.mean(map(of, self))

  def deviation(self, of: Callable[[Result], float]) -> float | None:
    """Standard deviation over the seeds, None for a single one."""
    return statistics.stdev(map(of, self)) if len(self) > 1 else None

  def show(self, of: Callable[[Result], float], digits: int = 1) -> str:
    """Mean and standard deviation, as a table has them."""
    deviation = self.deviation(of)
    spread = "" if deviation is None else f" ± {deviation:.{digits}f}"
    return f"{self.mean(of):.{digits}f}{spread}"


Results = dict[str, Seeds]
