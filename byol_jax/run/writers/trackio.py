"""Trackio; its own variables, such as TRACKIO_DIR and TRACKIO_SPACE_ID, hold."""

import os
from collections.abc import Mapping
from typing import Any

from byol_jax.run.writers.follow import PROJECT, Place


class Run:
  """A run there; see `follow.Service`."""

  def __init__(self, run: Any):
    self._run = run

  def add(self, step: int, scalars: Mapping[str, float]) -> None:
    """Sends the scalars of a step."""
    self._run.log(dict(scalars), step=step)

  def summarise(self, step: int, summary: Mapping[str, Any]) -> None:
    """Sends the results that are numbers, as scalars of the last step."""
    numbers = {k: v for k, v in summary.items() if isinstance(v, int | float)}
    self._run.log({f"summary/{k}": float(v) for k, v in numbers.items()}, step=step)

  def close(self, complete: bool) -> None:
    """Waits until all is sent."""
    del complete
    self._run.finish()


def open_run(place: Place) -> Run:
  """Begins a run, or goes on with it: there a run is known by its name."""
  import trackio

  run = trackio.init(
    project=os.environ.get("TRACKIO_PROJECT", PROJECT),
    name=f"{place.name}-{place.id}",
    resume="allow",
    config=dict(place.config),
  )
  return Run(run)
