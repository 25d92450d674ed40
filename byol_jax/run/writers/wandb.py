"""Weights & Biases; its own variables, such as WANDB_PROJECT and WANDB_MODE, hold."""

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
    """Sends the results, which tables of runs then have."""
    del step
    self._run.summary.update({f"summary/{k}": v for k, v in summary.items()})

  def close(self, complete: bool) -> None:
    """Waits until all is sent."""
    self._run.finish(exit_code=0 if complete else 1)


def open_run(place: Place) -> Run:
  """Begins a run, or goes on with it; its files lie in wandb/ of the run's folder."""
  import wandb

  run = wandb.init(
    project=os.environ.get("WANDB_PROJECT", PROJECT),
    name=place.name,
    id=place.id,
    resume="allow",
    dir=str(place.folder),
    config=dict(place.config),
    allow_val_change=True,  # as settings of operation may
    settings=wandb.Settings(console="off"),
  )
  return Run(run)
