"""What W&B is told; with the package, what it keeps offline."""

import struct
import sys
import types
from pathlib import Path

import pytest

from byol_jax.run.writers import wandb as ours
from byol_jax.run.writers.follow import Place
from tests.run.writers.service import follow_twice


class FakeRun:
  def __init__(self):
    self.summary, self.logged, self.ended = {}, [], None

  def log(self, scalars, step):
    self.logged.append((step, scalars))

  def finish(self, exit_code):
    self.ended = exit_code


def test_a_run_is_one_run_there_at_each_start(tmp_path, monkeypatch):
  begun = []

  def init(**options):
    begun.append(options)
    return FakeRun()

  settings = lambda **options: options  # noqa: E731
  fake = types.SimpleNamespace(init=init, Settings=settings)
  monkeypatch.setitem(sys.modules, "wandb", fake)
  monkeypatch.delenv("WANDB_PROJECT", raising=False)
  run = ours.open_run(Place("mine", tmp_path, "abc", {"train.steps": 4}))
  run.add(3, {"loss": 0.5})
  run.summarise(4, {"knn.encoder": 0.25})
  run.close(complete=True)
  (options,) = begun
  assert (options["id"], options["resume"]) == ("abc", "allow")
  assert (options["project"], options["name"]) == ("byol_jax", "mine")
  assert options["dir"] == str(tmp_path)
  assert options["config"] == {"train.steps": 4}
  assert run._run.logged == [(3, {"loss": 0.5})]
  assert run._run.summary == {"summary/knn.encoder": 0.25}
  assert run._run.ended == 0
  monkeypatch.setenv("WANDB_PROJECT", "theirs")
  ours.open_run(Place("mine", tmp_path, "abc", {}))
  assert begun[1]["project"] == "theirs"


def _records(path: Path):
  """Records of a .wandb file: LevelDB's log format, after seven bytes."""
  from wandb.proto import wandb_internal_pb2

  data, at, whole = path.read_bytes(), 7, b""
  while at + 7 <= len(data):
    if (left := 2**15 - at % 2**15) < 7:
      at += left
      continue
    _, length, kind = struct.unpack("<IHB", data[at : at + 7])
    whole += data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):
      record = wandb_internal_pb2.Record()
      record.ParseFromString(whole)
      yield record
      whole = b""


def test_offline_a_run_that_goes_on_has_each_step_once(tmp_path):
  pytest.importorskip("wandb")
  folder = tmp_path / "mine"
  identity = follow_twice("wandb", folder, WANDB_MODE="offline")
  files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
  records = [record for file in files for record in _records(file)]
  runs = [record.run for record in records if record.HasField("run")]
  assert {(run.run_id, run.display_name) for run in runs} == {(identity, "mine")}
  config = {each.key: each.value_json for each in runs[0].config.update}
  assert (config["train.steps"], config["seed"]) == ("4", "7")
  steps = [r.history.step.num for r in records if r.HasField("history")]
  assert steps == [0, 1, 2, 3, 4]
  results = {
    each.key: each.value_json
    for record in records
    for each in record.summary.update
    if each.key.startswith("summary/")
  }
  assert results["summary/knn.encoder"] == "0.5"
