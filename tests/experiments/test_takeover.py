"""Runs that begin with another run, or with its weights."""

import json
import logging
import shutil
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

import byol_jax
from byol_jax.errors import UserError
from byol_jax.nets import model, resnet
from byol_jax.run import figures, loop, stored
from byol_jax.run.checkpoints import Checkpoints
from byol_jax.run.folder import RunDir
from experiments import pretrain, takeover
from tests import tiny
from tests.experiments import made

GOLDEN = Path(__file__).parents[1] / "golden" / "run"
TIMES = ("seconds", "images_per_second", "input_wait", "eta_seconds")


@pytest.fixture(autouse=True, scope="module")
def _one_block():
  """A ResNet-4, which compiles in seconds."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(resnet.SHAPES, 4, resnet.SHAPES[10]._replace(blocks=(1,)))
    yield


def config_of(system="byol_gn_ws", **changes):
  """Of constant schedules, by which runs of all lengths begin in the same way."""
  config = tiny.config(system)
  config.encoder.depth = 4
  config.optimiser.update(schedule="constant", warmup=0.0)
  config.target.schedule = "constant"
  config.update_from_flattened_dict(changes)
  return config


@pytest.fixture
def quick(monkeypatch):
  """Runs are trained, and nothing is measured or drawn."""
  monkeypatch.setattr(pretrain.Pretrain, "evaluate", lambda *_: {})
  monkeypatch.setattr(pretrain.Pretrain, "summarise", lambda *_: {})
  monkeypatch.setattr(pretrain.Pretrain, "show_views", lambda *_: None)
  monkeypatch.setattr(figures, "curves", lambda *_: None)


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


def test_a_run_that_is_continued_is_one_run_bit_for_bit(tmp_path, quick, caplog):
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


@pytest.mark.parametrize("setting", ["start_from", "continue_from"])
def test_a_run_that_has_begun_needs_the_other_no_more(
  tmp_path, quick, monkeypatch, setting
):
  made.run(tmp_path / "before", config_of())
  config = config_of(**{setting: str(tmp_path / "before")})

  def interrupted(*_):
    raise KeyboardInterrupt

  # Before its first checkpoint is there, and before its first step.
  for owner, name in ((takeover, "Checkpoints"), (loop, "run")):
    with monkeypatch.context() as patch:
      patch.setattr(owner, name, interrupted)
      with pytest.raises(KeyboardInterrupt):
        pretrain.run(config, RunDir(tmp_path / "run"))
  shutil.rmtree(tmp_path / "before")
  before = files(tmp_path / "run")
  monkeypatch.setattr(loop, "run", lambda *_: {"it": "went on"})
  assert pretrain.run(config, RunDir(tmp_path / "run")) == {"it": "went on"}
  assert files(tmp_path / "run") == before


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


def test_images_of_another_form_are_told_of(tmp_path, begun, caplog):
  made.run(tmp_path / "byol", config_of("byol"))
  config = config_of("byol", start_from=str(tmp_path / "byol"))
  pretrain.run(config, RunDir(tmp_path / "same"))
  assert "the network has learned with" not in caplog.text
  config.data.std = (0.5, 0.5, 0.5)
  pretrain.run(config, RunDir(tmp_path / "other"))
  assert "data.std is [0.5, 0.5, 0.5], and the network has learned with" in caplog.text
  assert "data.mean is" not in caplog.text


def test_what_this_system_lacks_is_left_behind(tmp_path, begun):
  state = made.run(tmp_path / "byol", config_of("byol"))
  config = config_of("simclr", start_from=str(tmp_path / "byol"))
  pretrain.run(config, RunDir(tmp_path / "run"))
  found = state_of(tmp_path / "run", 0, pretrain.Pretrain(config).init())
  chex.assert_trees_all_equal(found.online, {k: state.online[k] for k in found.online})
  assert not found.target
  assert not any(name.startswith("predictor") for name in found.online)


@pytest.mark.parametrize(
  ("before", "now", "new"),
  [
    ("orthogonal", "direct_copy", []),
    ("orthogonal", "none", ["predictor"]),
    ("none", "orthogonal", ["moments", "predictor"]),
  ],
)
def test_a_predictor_is_taken_if_both_learn_or_compute_it(
  tmp_path, begun, before, now, new
):
  linear = {"predictor.depth": 1, "predictor.norm": "none"}
  other = config_of("byol", **linear, **{"closed_form.name": before})
  state = made.run(tmp_path / "before", other)
  config = config_of(
    "byol",
    **linear,
    **{"closed_form.name": now, "start_from": str(tmp_path / "before")},
  )
  pretrain.run(config, RunDir(tmp_path / "run"))
  assert RunDir(tmp_path / "run").read_origin()["fresh"] == new
  drawn = pretrain.Pretrain(config).init()
  found = state_of(tmp_path / "run", 0, drawn)
  source = drawn if new else state
  chex.assert_trees_all_equal(found.moments, source.moments)
  (name,) = (name for name in drawn.online if name.startswith("predictor/"))
  chex.assert_trees_all_equal(found.online[name], source.online[name])


def test_a_run_of_version_0_1_will_do(tmp_path, begun):
  config = tiny.config("byol")
  config.encoder.width = 0.0625
  for head in (config.projector, config.predictor):
    head.update(hidden=8, outputs=4)
  config.start_from = str(GOLDEN)
  pretrain.run(config, RunDir(tmp_path / "run"))
  record = RunDir(tmp_path / "run").read_origin()
  assert record["fresh"] == []
  assert record["checksum"] == byol_jax.load_encoder(GOLDEN).checksum


def test_a_longer_schedule_is_told_and_renewals_add_up(tmp_path, begun, caplog):
  """tau by a cosine: 1 - tau is (1 - base) (1 + cos(pi k / K)) / 2 at step k of K."""
  changes = {"target.schedule": "cosine", "target.tau": 0.9}
  made.run(tmp_path / "first", config_of(**changes))  # step 2 of 4
  longer = config_of(
    **changes, **{"train.steps": 8, "continue_from": str(tmp_path / "first")}
  )
  with caplog.at_level(logging.WARNING):
    pretrain.run(longer, RunDir(tmp_path / "second"))
  assert "first 2 steps were made by a schedule of 4 steps" in caplog.text
  second = RunDir(tmp_path / "second").read_origin()
  of_four = 0.1 * sum((1 + np.cos(np.pi * k / 4)) / 2 for k in (0, 1))
  assert second["renewals"] == pytest.approx(of_four, rel=1e-5)
  assert not second["one_schedule"]
  # Another two steps by the schedule of 8, and on by that of 16.
  _advance(tmp_path / "second", longer, 4)
  longest = config_of(
    **changes, **{"train.steps": 16, "continue_from": str(tmp_path / "second")}
  )
  pretrain.run(longest, RunDir(tmp_path / "third"))
  third = RunDir(tmp_path / "third").read_origin()
  of_eight = 0.1 * sum((1 + np.cos(np.pi * k / 8)) / 2 for k in (2, 3))
  assert third["renewals"] == pytest.approx(of_four + of_eight, rel=1e-5)
  assert third["origin"] == second
  of_sixteen = 0.1 * sum((1 + np.cos(np.pi * k / 16)) / 2 for k in range(4, 16))
  experiment = pretrain.Pretrain(longest)
  assert experiment.renewed == (0, 0.0)
  experiment.renewed = takeover.renewed(RunDir(tmp_path / "third"))
  expected = of_four + of_eight + of_sixteen
  assert experiment.renewals() == pytest.approx(expected, rel=1e-5)


def _advance(folder, config, step):
  """Leaves a checkpoint of a later step in a run."""
  template = jax.eval_shape(pretrain.Pretrain(config).init)
  _, state = stored.load(folder, template)
  checkpoints = Checkpoints(folder / "checkpoints")
  checkpoints.save(step, state._replace(step=np.int32(step)))
  checkpoints.close()


def test_history_and_score_come_along(tmp_path, begun):
  made.run(tmp_path / "before", config_of())  # logged to step 3, saved at step 2
  config = config_of(continue_from=str(tmp_path / "before"), **{"train.steps": 8})
  pretrain.run(config, RunDir(tmp_path / "run"))
  records = RunDir(tmp_path / "run", writes=False).records()
  assert [record["step"] for record in records] == [0, 1, 2]
  assert records[-1] == {"step": 2, "loss": 0.2, "seconds": 20.0}
  assert stored.score(tmp_path / "run" / "checkpoints" / "2") == 0.5


def test_what_was_watched_on_other_images_does_not_come_along(tmp_path, begun):
  before = tmp_path / "before"
  made.run(before, config_of())
  record = {"step": 2, "loss": 0.2, "valid_knn": 0.9, "score": 0.9}
  (before / "metrics.jsonl").write_text(json.dumps(record) + "\n")
  others = {"probe.valid_test": "train[50:64]", "train.steps": 8}
  pretrain.run(config_of(continue_from=str(before), **others), RunDir(tmp_path / "run"))
  assert RunDir(tmp_path / "run").records() == [{"step": 2, "loss": 0.2}]
  assert stored.score(tmp_path / "run" / "checkpoints" / "2") is None


@pytest.mark.parametrize(
  ("rename", "steps", "message"),
  [(2, 2, "has reached step 2, and train.steps is 2"), (5, 8, "holds step 2")],
)
def test_a_step_that_cannot_be_gone_on_from(tmp_path, begun, rename, steps, message):
  before = tmp_path / "before"
  made.run(before, config_of())
  (before / "checkpoints" / "2").rename(before / "checkpoints" / str(rename))
  config = config_of(continue_from=str(before), **{"train.steps": steps})
  with pytest.raises(UserError, match=message):
    pretrain.run(config, RunDir(tmp_path / "run"))
  assert not (tmp_path / "run").exists()


def test_a_damaged_run_is_refused_before_anything_is_written(tmp_path, begun):
  made.run(tmp_path / "before", config_of())
  checksums = tmp_path / "before" / "checkpoints" / "2" / stored.CHECKSUMS
  (checksums / "metadata").write_text("{}")
  config = config_of(start_from=str(tmp_path / "before"))
  with pytest.raises(UserError, match="it is damaged"):
    pretrain.run(config, RunDir(tmp_path / "run"))
  assert not (tmp_path / "run").exists()


def test_the_online_classifier_of_other_images_is_new(tmp_path, begun):
  made.run(tmp_path / "before", config_of())
  config = config_of(start_from=str(tmp_path / "before"))
  path = tmp_path / "before" / "config.json"
  path.write_text(path.read_text().replace('"photos"', '"faces"'))
  pretrain.run(config, RunDir(tmp_path / "run"))
  assert RunDir(tmp_path / "run").read_origin()["fresh"] == ["classifier"]
