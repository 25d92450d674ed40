"""Runs that begin with another run, or with its weights."""

import logging
import shutil

import chex
import jax
import numpy as np
import pytest

import byol_jax
from byol_jax.nets import model
from byol_jax.run import loop, stored
from byol_jax.run.folder import RunDir
from experiments import pretrain
from tests import tiny
from tests.experiments import made

TIMES = ("seconds", "images_per_second", "input_wait", "eta_seconds")


def config_of(system="byol_gn_ws", **changes):
  """Of constant schedules, by which runs of all lengths begin in the same way."""
  config = tiny.config(system)
  config.optimiser.update(schedule="constant", warmup=0.0)
  config.target.schedule = "constant"
  config.update_from_flattened_dict(changes)
  return config


@pytest.fixture
def quick(monkeypatch):
  """Runs are trained, and nothing is measured."""
  monkeypatch.setattr(pretrain.Pretrain, "evaluate", lambda *_: {})
  monkeypatch.setattr(pretrain.Pretrain, "summarise", lambda *_: {})
  monkeypatch.setattr(pretrain.Pretrain, "show_views", lambda *_: None)


@pytest.fixture
def begun(monkeypatch, quick):
  """Runs begin, and are not trained."""
  monkeypatch.setattr(loop, "run", lambda *_: {})


def files(folder):
  return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def state_of(folder, step, template):
  """What is in the checkpoint of a step."""
  found, state = stored.load(folder, template, step)
  assert found == step
  return state


def logged(folder):
  return [
    {k: v for k, v in record.items() if k not in TIMES}
    for record in RunDir(folder, writes=False).records()
  ]


def interrupted(*_):
  raise KeyboardInterrupt


def test_a_run_that_is_continued_is_one_run_bit_for_bit(tmp_path, quick, caplog):
  """And one that starts from another survives that one's end."""
  short, whole, longer = (tmp_path / name for name in ("short", "whole", "longer"))
  pretrain.run(config_of(**{"train.steps": 2}), RunDir(short))
  before = files(short)
  pretrain.run(config_of(), RunDir(whole))
  with caplog.at_level(logging.INFO):
    pretrain.run(config_of(continue_from=str(short)), RunDir(longer))
  assert "all is as in" in caplog.text
  assert "not that of one run" not in caplog.text
  assert files(short) == before
  experiment = pretrain.Pretrain(config_of())
  template = jax.eval_shape(experiment.init)
  chex.assert_trees_all_equal(*(state_of(f, 4, template) for f in (whole, longer)))
  assert logged(longer) == logged(whole)
  record = RunDir(longer).read_origin()
  assert (record["setting"], record["step"]) == ("continue_from", 2)
  assert record["checksum"] == byol_jax.load_encoder(short).checksum
  assert record["one_schedule"]

  # start_from: killed as it begins, and the other run is gone by the next start.
  again = config_of(start_from=str(short), **{"train.steps": 1})
  pretrain.run(again, RunDir(tmp_path / "anew"))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loop, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
      pretrain.run(again, RunDir(tmp_path / "killed"))
  shutil.rmtree(short)
  pretrain.run(again, RunDir(tmp_path / "killed"))
  states = [state_of(tmp_path / f, 1, template) for f in ("anew", "killed")]
  chex.assert_trees_all_equal(*states)
  assert logged(tmp_path / "killed") == logged(tmp_path / "anew")
  # It is another update than that of the run itself: without its momentum.
  third = state_of(whole, 3, template).optimiser
  assert any(
    map(np.any, jax.tree.leaves(jax.tree.map(np.not_equal, third, states[0].optimiser)))
  )


def test_weights_are_taken_exactly_and_all_else_is_new(tmp_path, begun, caplog):
  state = made.run(tmp_path / "before", config_of("byol"))
  changes = {"optimiser.learning_rate": 0.3, "seed": 5, "target.tau": 0.9}
  config = config_of("byol", start_from=str(tmp_path / "before"), **changes)
  with caplog.at_level(logging.INFO):
    pretrain.run(config, RunDir(tmp_path / "run"))
  experiment = pretrain.Pretrain(config)
  found = state_of(tmp_path / "run", 0, jax.eval_shape(experiment.init))
  for field in ("online", "target", "online_stats", "target_stats"):
    chex.assert_trees_all_equal(getattr(found, field), getattr(state, field))
  chex.assert_trees_all_equal(found.optimiser, experiment.optimiser.init(state.online))
  assert int(found.step) == 0
  record = RunDir(tmp_path / "run").read_origin()
  assert record["fresh"] == []
  assert record["taken"] == [
    "classifier",
    "encoder",
    "predictor",
    "projector",
    "target",
  ]
  assert record["config"]["seed"] == 0
  assert (
    f"before at step 2 (SHA-256 {record['checksum'][:12]}): classifier" in caplog.text
  )
  assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_what_another_system_lacks_is_new(tmp_path, begun, caplog):
  state = made.run(tmp_path / "simclr", config_of("simclr"))
  config = config_of("byol", start_from=str(tmp_path / "simclr"))
  config.data.name = "photos"
  with caplog.at_level(logging.INFO):
    pretrain.run(config, RunDir(tmp_path / "run"))
  experiment = pretrain.Pretrain(config)
  drawn = experiment.init()
  found = state_of(tmp_path / "run", 0, drawn)
  predictor = {k: v for k, v in drawn.online.items() if k.startswith("predictor/")}
  assert predictor
  chex.assert_trees_all_equal(found.online, {**state.online, **predictor})
  chex.assert_trees_all_equal(found.target, model.target_part(found.online))
  chex.assert_trees_all_equal(found.target_stats, model.target_part(found.online_stats))
  record = RunDir(tmp_path / "run").read_origin()
  assert record["fresh"] == ["predictor", "target"]
  assert (
    "these are new: predictor, target (a copy of the online network)" in caplog.text
  )


def test_what_this_system_lacks_is_left_behind(tmp_path, begun):
  state = made.run(tmp_path / "byol", config_of("byol"))
  config = config_of("simclr", start_from=str(tmp_path / "byol"))
  pretrain.run(config, RunDir(tmp_path / "run"))
  found = state_of(tmp_path / "run", 0, pretrain.Pretrain(config).init())
  chex.assert_trees_all_equal(found.online, {k: state.online[k] for k in found.online})
  assert not found.target
  assert not any(name.startswith("predictor") for name in found.online)
