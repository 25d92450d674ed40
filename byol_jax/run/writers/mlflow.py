"""MLflow; its own variables, such as MLFLOW_TRACKING_URI, hold."""

import itertools
import os
import time
from collections.abc import Mapping
from typing import Any

from byol_jax.run.writers.follow import PROJECT, Place

_TAG = "byol_jax.id"
_TOGETHER = 100  # as many parameters as MLflow takes at a time
_LONGEST = 500  # letters of a parameter, which older servers take


class Run:
  """A run there; see `follow.Service`."""

  def __init__(self, client: Any, run_id: str):
    self._client = client
    self._id = run_id

  def add(self, step: int, scalars: Mapping[str, float]) -> None:
    """Sends the scalars of a step."""
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    metrics = [Metric(name, value, now, step) for name, value in scalars.items()]
    self._client.log_batch(self._id, metrics=metrics)

  def summarise(self, step: int, summary: Mapping[str, Any]) -> None:
    """Sends the results that are numbers, as metrics of the last step."""
    numbers = {k: v for k, v in summary.items() if isinstance(v, int | float)}
    self.add(step, {f"summary/{name}": float(v) for name, v in numbers.items()})

  def close(self, complete: bool) -> None:
    """Says that the run has ended, or was stopped."""
    self._client.set_terminated(self._id, "FINISHED" if complete else "KILLED")


def open_run(place: Place) -> Run:
  """Begins a run, or goes on with the one that has the identity for a tag."""
  from mlflow import MlflowClient
  from mlflow.entities import Param

  client = MlflowClient()
  experiment = _experiment(client)
  found = client.search_runs([experiment], f"tags.`{_TAG}` = '{place.id}'")
  if found:
    run_id = found[0].info.run_id
    client.update_run(run_id, status="RUNNING")
    return Run(client, run_id)
  created = client.create_run(experiment, tags={_TAG: place.id}, run_name=place.name)
  params = (Param(k, str(v)[:_LONGEST]) for k, v in place.config.items())
  while several := list(itertools.islice(params, _TOGETHER)):
    client.log_batch(created.info.run_id, params=several)
  return Run(client, created.info.run_id)


def _experiment(client: Any) -> str:
  name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
  found = client.get_experiment_by_name(name)
  return found.experiment_id if found else client.create_experiment(name)
