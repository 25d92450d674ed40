"""What MLflow is told; with the package, what its store keeps."""

import sys
import types
from typing import NamedTuple

import pytest

from byol_jax.run.writers import mlflow as ours
from byol_jax.run.writers.follow import Place
from tests.run.writers.service import follow_twice


class Param(NamedTuple):
  key: str
  value: str


class Metric(NamedTuple):
  key: str
  value: float
  timestamp: int
  step: int


class FakeClient:
  """A store of one experiment."""

  def __init__(self):
    self.runs = {}
    self.params = []
    self.metrics = []
    self.status = None

  def get_experiment_by_name(self, name):
    return None

  def create_experiment(self, name):
    return f"experiment {name}"

  def search_runs(self, experiments, query):
    (tag,) = [tag for tag in self.runs if query == f"tags.`byol_jax.id` = '{tag}'"] or [
      None
    ]
    return [] if tag is None else [self.runs[tag]]

  def create_run(self, experiment, tags, run_name):
    info = types.SimpleNamespace(run_id="1", experiment=experiment, name=run_name)
    run = types.SimpleNamespace(info=info)
    self.runs[tags["byol_jax.id"]] = run
    return run

  def update_run(self, run_id, status):
    self.status = status

  def set_terminated(self, run_id, status):
    self.status = status

  def log_batch(self, run_id, metrics=(), params=()):
    assert len(params) <= 100
    self.params += params
    self.metrics += metrics


def test_a_run_is_one_run_there_at_each_start(tmp_path, monkeypatch):
  client = FakeClient()
  entities = types.SimpleNamespace(Metric=Metric, Param=Param)
  fake = types.SimpleNamespace(MlflowClient=lambda: client, entities=entities)
  monkeypatch.setitem(sys.modules, "mlflow", fake)
  monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
  monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
  settings = {f"setting{i}": i for i in range(150)} | {"long": 1000 * "x"}
  place = Place("mine", tmp_path, "abc", settings)
  run = ours.open_run(place)
  run.add(3, {"loss": 0.5})
  run.close(complete=False)
  assert client.status == "KILLED"
  again = ours.open_run(place)
  assert client.status == "RUNNING"
  again.summarise(4, {"knn.encoder": 0.25, "note": "no number"})
  again.close(complete=True)
  assert client.status == "FINISHED"
  (made,) = client.runs.values()
  assert (made.info.experiment, made.info.name) == ("experiment byol_jax", "mine")
  assert len(client.params) == 151  # once, as none can be set again
  assert client.params[-1] == Param("long", 500 * "x")
  assert [(m.key, m.value, m.step) for m in client.metrics] == [
    ("loss", 0.5, 3),
    ("summary/knn.encoder", 0.25, 4),
  ]


def test_a_store_has_each_step_of_a_run_that_goes_on_once(tmp_path):
  mlflow = pytest.importorskip("mlflow")
  uri = f"sqlite:///{tmp_path}/store.db"
  identity = follow_twice("mlflow", tmp_path / "mine", MLFLOW_TRACKING_URI=uri)
  client = mlflow.MlflowClient(tracking_uri=uri)
  experiment = client.get_experiment_by_name("byol_jax").experiment_id
  (run,) = client.search_runs([experiment])
  assert run.data.tags["byol_jax.id"] == identity
  assert (run.info.run_name, run.info.status) == ("mine", "FINISHED")
  assert run.data.params == {"train.steps": "4", "seed": "7"}
  assert run.data.metrics["summary/knn.encoder"] == 0.5
  history = client.get_metric_history(run.info.run_id, "loss")
  assert [(m.step, m.value) for m in history] == [(s, s / 2) for s in range(5)]
