"""The loop, on an experiment that has nothing to do with images."""

import itertools
import json
import os
import re
import signal
import statistics
import time
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from byol_jax import parallel
from byol_jax.errors import Diverged, UserError
from byol_jax.run import loop, mfu
from byol_jax.run.folder import RunDir


class Descent:
  """Minimises (x - 3)^2 with noise that depends on the step alone."""

  def __init__(self, steps, on_step=lambda step: None, poison=None):
    self.steps = steps
    self.on_step = on_step
    self.poison = poison
    self.evaluated = []

  def init(self):
    return {"x": jnp.zeros(()), "step": jnp.zeros((), jnp.int32)}

  def batches(self, first_step):
    def make(step):
      self.on_step(step)
      value = np.nan if step == self.poison else np.sin(step)
      return {"noise": np.full((jax.device_count(), 1), value, np.float32)}

    return (parallel.shard(make(step)) for step in range(first_step, self.steps))

  def step(self, state, batch):
    gradient = 2 * (state["x"] - 3) + jax.lax.pmean(
      batch["noise"].mean(), parallel.AXIS
    )
    x = state["x"] - 0.1 * gradient
    scalars = {"loss": jnp.square(x - 3), "update_norm": jnp.abs(gradient)}
    return {"x": x, "step": state["step"] + 1}, scalars

  def evaluate(self, state):
    self.evaluated.append(int(state["step"]))
    return {"score": float(state["x"])}

  def summarise(self, state):
    return {"x": float(state["x"])}


TIMES = ("seconds", "images_per_second", "input_wait", "eta_seconds")


def config(steps=10, **checkpoint):
  return ConfigDict(
    {
      "train": {"steps": steps, "batch_size": jax.device_count()},
      "log": {"every_steps": 3},
      "eval": {"every_steps": 5},
      "checkpoint": {"every_minutes": 0.0, "keep": 2} | checkpoint,
    }
  )


def start(path, experiment, settings):
  with RunDir(path) as run_dir:
    run_dir.claim(settings)
    return loop.run(experiment, settings, run_dir)


def test_files_and_cadence(tmp_path):
  experiment = Descent(10)
  summary = start(tmp_path, experiment, config())
  records = RunDir(tmp_path).records()
  assert [r["step"] for r in records] == [0, 1, 3, 5, 6, 9, 10]
  assert experiment.evaluated == [0, 5, 10]
  assert {"loss", "images_per_second", "input_wait", "seconds"} <= records[-1].keys()
  assert json.loads((tmp_path / "summary.json").read_text()) == summary
  assert summary["steps"] == 10
  assert summary["images_seen"] == 10 * jax.device_count()
  assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["10", "9"]
  assert (tmp_path / "figures" / "curves.png").stat().st_size > 1000
  assert any((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize("steps", [10, 1])
def test_the_step_that_compiles_has_no_part_in_the_speed(tmp_path, steps):
  summary = start(tmp_path, Descent(steps), config(steps))
  first, *others = [r for r in RunDir(tmp_path).records() if "loss" in r]
  speeds = [report["images_per_second"] for report in others or [first]]
  assert summary["images_per_second"] == statistics.median(speeds)


class Counted(Descent):
  """Says what a step computes."""

  precision = "bfloat16"

  def flops(self):
    return 2e9


def test_utilisation_is_logged_where_the_devices_peak_is_known(
  tmp_path, monkeypatch, caplog
):
  monkeypatch.setattr(mfu, "peak", lambda kind, precision: 4e12)
  with caplog.at_level("INFO"):
    summary = start(tmp_path, Counted(6), config(6))
  reports = [r for r in RunDir(tmp_path).records() if "loss" in r]
  # A step is an image a device here.
  for report in reports:
    expected = 2e9 * report["images_per_second"] / jax.device_count()
    assert report["mfu"] * 4e12 * jax.device_count() == pytest.approx(expected)
  assert summary["mfu"] == pytest.approx(
    np.median([report["mfu"] for report in reports[1:]])
  )
  assert re.search(r"images/s  MFU \d+\.\d%  input wait", caplog.text)


def test_without_a_known_peak_no_utilisation_is_said(tmp_path, caplog):
  with caplog.at_level("INFO"):
    summary = start(tmp_path, Counted(3), config(3))
  assert "mfu" not in summary
  assert not any("mfu" in record for record in RunDir(tmp_path).records())
  assert "images/s  input wait" in caplog.text


def test_checkpoints_are_minutes_apart(tmp_path, monkeypatch):
  # The clock is read at the start, at each report and after each save; here a
  # minute passes between.
  clock = mock.Mock(wraps=time)
  clock.monotonic = itertools.count(0, 60).__next__
  monkeypatch.setattr(loop, "time", clock)
  settings = config(14, every_minutes=2.0, keep=9)
  settings.eval.every_steps = 100
  start(tmp_path, Descent(14), settings)
  saved = {int(p.name) for p in (tmp_path / "checkpoints").iterdir()}
  assert saved == {6, 12, 14}


def test_a_complete_run_is_not_run_again(tmp_path):
  first = start(tmp_path, Descent(4), config(4))
  experiment = Descent(4)
  assert start(tmp_path, experiment, config(4)) == first
  assert experiment.evaluated == []


@pytest.fixture
def heard():
  """Signals are heard, also where the tests were started to ignore one (nohup)."""
  before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
  yield
  signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_the_next_start_ends_as_if_there_was_none(
  tmp_path, number, heard
):
  def interrupt(step):
    if step == 6:
      os.kill(os.getpid(), number)

  with pytest.raises(loop.Stopped, match="the same command continues") as stopped:
    start(tmp_path / "a", Descent(10, interrupt), config())
  assert stopped.value.signal_number == number
  saved = max(int(p.name) for p in (tmp_path / "a" / "checkpoints").iterdir())
  assert saved in (6, 7)
  summary = start(tmp_path / "a", Descent(10), config())
  whole = start(tmp_path / "b", Descent(10), config())
  assert summary["x"] == whole["x"]
  interrupted, uninterrupted = (
    [{n: v for n, v in r.items() if n not in TIMES} for r in RunDir(run).records()]
    for run in (tmp_path / "a", tmp_path / "b")
  )
  assert interrupted == uninterrupted
  assert [r["step"] for r in interrupted] == [0, 1, 3, 5, 6, 9, 10]


def test_of_several_hosts_none_waits_for_a_report_while_the_first_step_compiles(
  tmp_path, monkeypatch, heard
):
  def interrupt(step):
    if step == 0:
      os.kill(os.getpid(), signal.SIGTERM)

  monkeypatch.setattr(loop, "_is_alone", lambda: False)
  with pytest.raises(loop.Stopped, match="after step 1 "):
    start(tmp_path / "a", Descent(10, interrupt), config())
  summary = start(tmp_path / "a", Descent(10), config())
  assert summary["x"] == start(tmp_path / "b", Descent(10), config())["x"]


class Counter(NamedTuple):
  """A state that knows its step."""

  step: jax.Array


class Counting(Descent):
  """Counts its steps."""

  def init(self):
    return Counter(jnp.zeros((), jnp.int32))

  def step(self, state, batch):
    scalars = {"loss": jnp.ones(()), "update_norm": jnp.ones(())}
    return Counter(state.step + 1), scalars

  def evaluate(self, state):
    return {}

  def summarise(self, state):
    return {"x": int(state.step)}


def test_a_checkpoint_under_another_steps_name_is_refused(tmp_path):
  start(tmp_path, Counting(4), config(4))
  (tmp_path / "summary.json").unlink()
  assert start(tmp_path, Counting(4), config(4))["x"] == 4
  (tmp_path / "summary.json").unlink()
  (tmp_path / "checkpoints" / "4").rename(tmp_path / "checkpoints" / "7")
  with pytest.raises(UserError, match=r"checkpoint of step 7 in .* holds step 4: it"):
    start(tmp_path, Counting(9), config(4))


def test_a_history_that_is_gone_is_said_to_be(tmp_path, caplog):
  def interrupt(step):
    if step == 6:
      os.kill(os.getpid(), signal.SIGTERM)

  with pytest.raises(loop.Stopped):
    start(tmp_path, Descent(10, interrupt), config())
  assert "is gone" not in caplog.text
  (tmp_path / "metrics.jsonl").unlink()
  with caplog.at_level("WARNING"):
    start(tmp_path, Descent(10), config())
  assert "metrics.jsonl is gone: curves begin after step" in caplog.text


def test_a_signal_in_the_last_evaluation_is_not_lost(tmp_path):
  class Asked(Descent):
    def evaluate(self, state):
      if int(state["step"]) == 10:
        os.kill(os.getpid(), signal.SIGTERM)
      return super().evaluate(state)

    def summarise(self, state):
      raise AssertionError("it was asked to stop")

  with pytest.raises(loop.Stopped, match="after step 10"):
    start(tmp_path / "a", Asked(10), config())
  summary = start(tmp_path / "a", Descent(10), config())
  assert summary["x"] == start(tmp_path / "b", Descent(10), config())["x"]


def test_the_end_of_a_terminal_is_ignored_where_it_is_to_be(tmp_path):
  def hang_up(step):
    if step == 6:
      os.kill(os.getpid(), signal.SIGHUP)

  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
  try:
    assert start(tmp_path, Descent(10, hang_up), config())["steps"] == 10
  finally:
    signal.signal(signal.SIGHUP, before)


def test_a_nan_stops_the_run_and_names_the_step_and_the_last_good_checkpoint(tmp_path):
  with pytest.raises(Diverged, match=r"loss is nan at step 8; .*step 6 in"):
    start(tmp_path, Descent(20, poison=7), config(20))
  saved = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
  assert saved == ["5", "6"]
  assert not (tmp_path / "summary.json").exists()


def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path):
  with pytest.raises(UserError):
    start(tmp_path, Descent(20, poison=1), config(20))
  start(tmp_path, Descent(20), config(20))
  steps = [record["step"] for record in RunDir(tmp_path).records()]
  assert steps == sorted(set(steps))


def test_a_nan_before_any_checkpoint_says_so(tmp_path):
  with pytest.raises(UserError, match=r"nan at step 2; no checkpoint"):
    start(tmp_path, Descent(20, poison=1), config(20))


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
  experiment = Descent(20, poison=9)
  with pytest.raises(UserError):
    start(tmp_path, experiment, config(20))
  newest = tmp_path / "checkpoints" / "9"
  for file in (f for f in newest.rglob("*") if f.is_file()):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  summary = start(tmp_path, Descent(20), config(20))
  assert summary["x"] == start(tmp_path / "whole", Descent(20), config(20))["x"]


def test_the_step_is_compiled_once(tmp_path):
  traces = itertools.count()

  class Counted(Descent):
    def step(self, state, batch):
      next(traces)
      return super().step(state, batch)

  start(tmp_path, Counted(10), config())
  # pmap evaluates shapes once and compiles once; no step after the first traces.
  assert next(traces) <= 2


def test_no_scalar_is_fetched_between_reports(tmp_path, monkeypatch):
  fetched = []
  original = jax.device_get

  def device_get(tree):
    fetched.append(tree)
    return original(tree)

  monkeypatch.setattr(jax, "device_get", device_get)
  settings = config(30)
  settings.log.every_steps = settings.eval.every_steps = 30
  start(tmp_path, Descent(30), settings)
  reports = [tree for tree in fetched if isinstance(tree, list)]
  assert [len(tree) for tree in reports] == [1, 29]
