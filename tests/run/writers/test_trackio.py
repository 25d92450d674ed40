"""What Trackio is told; with the package, what it keeps on this machine."""

import json
import sqlite3
import sys
import types

import pytest

from byol_jax.run.writers import trackio as ours
from byol_jax.run.writers.follow import Place
from tests.run.writers.service import follow_twice


class FakeRun:
  def __init__(self):
    self.logged, self.ended = [], False

  def log(self, scalars, step):
    self.logged.append((step, scalars))

  def finish(self):
    self.ended = True


def test_a_run_is_one_run_there_at_each_start(tmp_path, monkeypatch):
  begun = []

  def init(**options):
    begun.append(options)
    return FakeRun()

  monkeypatch.setitem(sys.modules, "trackio", types.SimpleNamespace(init=init))
  monkeypatch.delenv("TRACKIO_PROJECT", raising=False)
  run = ours.open_run(Place("mine", tmp_path, "abc", {"train.steps": 4}))
  run.add(3, {"loss": 0.5})
  run.summarise(4, {"knn.encoder": 0.25, "note": "no number"})
  run.close(complete=True)
  assert begun == [
    {
      "project": "byol_jax",
      "name": "mine-abc",
      "resume": "allow",
      "config": {"train.steps": 4},
    }
  ]
  assert run._run.logged == [(3, {"loss": 0.5}), (4, {"summary/knn.encoder": 0.25})]
  assert run._run.ended


def test_a_project_has_each_step_of_a_run_that_goes_on_once(tmp_path):
  pytest.importorskip("trackio")
  kept = tmp_path / "kept"
  identity = follow_twice("trackio", tmp_path / "mine", TRACKIO_DIR=str(kept))
  with sqlite3.connect(kept / "byol_jax.db") as database:
    rows = database.execute("select run_name, step, metrics from metrics").fetchall()
  found = [(step, json.loads(metrics)) for _, step, metrics in rows]
  assert {name for name, _, _ in rows} == {f"mine-{identity}"}
  assert found[:5] == [(step, {"loss": step / 2}) for step in range(5)]
  (step, results) = found[5]
  assert (step, results["summary/knn.encoder"]) == (4, 0.5)
