"""The stages for an accelerator, their rules, and a slice of it on a tiny network."""

import functools
import os
import signal
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from byol_jax import parallel
from byol_jax.data import photos, splits
from byol_jax.errors import Stopped, UserError
from byol_jax.run import loop, provenance
from byol_jax.run.folder import RunDir
from byol_jax.run.settings import flat, resolved
from experiments import pretrain, settings, speed
from reproduce import __main__ as command
from reproduce import accelerator, slices, stages, work
from reproduce.stages import COMPLETE, FAILED, INCOMPLETE, Choice, Plan, Record, Stage
from tests import tiny

# ml_collections loads files in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")

CHOICES = {
  "fed": Choice({"data.on_device": True}, ""),
  "epochs": Choice({"train.steps": 9700}, ""),
  "rate-gn-ws": Choice(accelerator._settings("x1-fast-waits"), ""),
  "rate-bn": Choice(accelerator._settings("x1"), ""),
}
STAGES = {stage.name: stage for stage in accelerator.PLAN.stages}


def parsed(arguments):
  """Config and folder, as `byol_jax.main` takes them from its command line."""
  values = flags.FlagValues()
  config = config_flags.DEFINE_config_file("config", flag_values=values)
  workdir = flags.DEFINE_string("workdir", None, "", flag_values=values)
  with mock.patch.object(sys, "argv", arguments):  # it looks at these too
    values(arguments)
  return config.value, workdir.value


def test_the_order_is_that_of_importance():
  assert [name for name in STAGES if not name.startswith(("speed", "pilot"))] == [
    *("gn-ws", "bn", "none", "bn-tau-1", "simclr", "gn-ws-tau-1"),
    *("simclr-gn-ws", "gn-ws-at-once", "bn-ws", "bn-ws-tau-1"),
    *("gn-ws-seed-1", "bn-seed-1", "gn-ws-tau-1-seed-1", "none-seed-1"),
    *("none-slow-18", "none-slow-50"),
  ]
  kinds = [stage.kind for stage in accelerator.PLAN.stages]
  assert kinds == ["speed"] * 5 + ["pilot"] * 5 + ["train"] * 16
  assert len(STAGES) == len(accelerator.PLAN.stages)


@pytest.mark.parametrize("name", STAGES)
def test_the_command_line_says_what_the_config_is(name, tmp_path):
  stage = STAGES[name]
  given = stages.command(stage, CHOICES, "images", tmp_path)
  config, workdir = parsed(given[2:])
  assert config.to_dict() == stages.config(stage, CHOICES, "images").to_dict()
  assert workdir == str(tmp_path)
  settings.check(config, tiny.SYSTEMS["byol"](None), {"data.data_dir"})
  assert config.train.precision == "bfloat16"
  on_device = not name.endswith("by-host") and "resnet50" not in name
  assert config.data.on_device == on_device
  assert config.data.workers == (8 if name.endswith("by-host") else 0)
  assert config.experiment == ("speed" if stage.kind == "speed" else "pretrain")


def test_their_splits_are_there():
  sizes = {"cifar10": {"train": 50_000, "test": 10_000}}
  sizes["photos"] = photos.open_dataset().sizes
  for stage in accelerator.PLAN.stages:
    config = stages.config(stage, CHOICES, None)
    name = config.data.name
    for split in (config.data.train, *config.probe.values()):
      assert splits.count(name, split, sizes[name]) >= 500


def test_runs_take_what_was_chosen():
  def of(name):
    return stages.config(STAGES[name], CHOICES, None)

  def pace(name):
    assert of(name).optimiser.learning_rate == 2.0
    return of(name).optimiser.predictor_multiplier, of(name).target.frozen

  waits = (10.0, 0.3333333)
  assert pace("gn-ws") == pace("none") == pace("gn-ws-tau-1") == waits
  assert pace("bn") == pace("simclr") == pace("bn-tau-1") == (1.0, 0.0)
  assert pace("simclr-gn-ws") == pace("gn-ws-at-once") == (1.0, 0.0)
  assert of("bn").train.steps == 9700
  assert of("bn-tau-1").target.tau == of("gn-ws-tau-1").target.tau == 1.0
  simclr = of("simclr-gn-ws")
  assert simclr.encoder.norm == simclr.projector.norm == "group"
  assert simclr.encoder.standardised
  assert simclr.projector.standardised
  for name in ("gn-ws", "bn", "none", "gn-ws-tau-1"):
    assert (of(name).seed, of(f"{name}-seed-1").seed) == (0, 1)
  for name, tau in (("bn-ws", 0.99), ("bn-ws-tau-1", 1.0)):
    assert pace(name) == pace("bn")
    assert of(name).target.tau == tau
    for component in ("encoder", "projector", "predictor"):
      assert of(name)[component].norm == "batch"
      assert of(name)[component].standardised
  for depth in (18, 50):
    slow = f"none-slow-{depth}"
    assert pace(slow) == (1.0, 0.0)
    assert (of(slow).encoder.depth, of(slow).train.steps) == (depth, 1940)
  paces = [pace(f"pilot-gn-ws-{name}") for name in ("x1", "x1-fast", "x1-fast-waits")]
  assert paces == [(1.0, 0.0), (10.0, 0.0), waits]
  assert "pilot-bn-x1-fast-waits" not in STAGES


def test_pilots_are_judged_by_images_that_they_have_not_seen():
  for name, stage in STAGES.items():
    if stage.kind == "pilot":
      config = stages.config(stage, CHOICES, None)
      assert config.data.train == "train[:45000]", name
      assert config.probe.valid_train == config.probe.train == "train[:10000]"
      assert config.probe.valid_test == config.probe.test == "train[45000:]"
      assert config.train.steps == config.eval.every_steps == 970


def test_what_is_killed_loses_two_minutes_at_most():
  for name, stage in STAGES.items():
    if stage.kind != "speed":  # which saves nothing
      config = stages.config(stage, CHOICES, None)
      assert config.checkpoint.every_minutes == 2.0, name


def test_records_that_there_are_still_count():
  docs = Path(__file__).parents[2] / "docs" / "reproduction"
  stages.check(accelerator.PLAN, docs, "images")


def test_images_are_asked_for_where_they_are_trained_on(tmp_path):
  def names(*only):
    configs = slices.configs(accelerator.PLAN, tmp_path, None, only)
    return {config.data.name for config in configs}

  assert names("speed-resnet50-bn", "speed-resnet50-gn-ws") == {"photos"}
  assert names("speed-bn") == {"cifar10"}
  assert names() == {"photos", "cifar10"}


def test_the_embedded_photographs_are_looked_for_in_no_folder(tmp_path):
  places = {}
  for config in slices.configs(accelerator.PLAN, tmp_path, "there", ()):
    places.setdefault(config.data.name, set()).add(config.data.data_dir)
    if config.data.name == "photos":
      command._check_images(config)
  assert places == {"photos": {None}, "cifar10": {"there"}}
  for name, place in (("speed-resnet50-bn", False), ("speed-bn", True)):
    asked = stages.command(STAGES[name], {}, "there", tmp_path)
    assert ("--config.data.data_dir=there" in asked) is place


def record(state=COMPLETE, knn=0.5, **found):
  curves = {"valid_knn": ([0, 970], [0.9, knn])}
  return Record(state, "", [], None, 970, {"collapsed": False, **found}, curves)


@pytest.mark.parametrize(
  ("records", "best"),
  [
    ({"x1-fast-waits": record(knn=0.4), "x1": record(knn=0.6)}, (1.0, 0.0)),
    ({"x1-fast-waits": record(knn=0.6), "x1": record(knn=0.5)}, (10.0, 0.3333333)),
    ({"x1-fast-waits": record(knn=0.6), "x1-fast": record(knn=0.6)}, (10.0, 0.0)),
    ({"x1": record(knn=0.3), "x1-fast": record(knn=0.6, collapsed=True)}, (1.0, 0.0)),
    ({"x1-fast": record(knn=0.3), "x1": record(FAILED, knn=0.6)}, (10.0, 0.0)),
    ({"x1-fast": record(INCOMPLETE)}, (1.0, 0.0)),
    ({}, (1.0, 0.0)),
  ],
)
def test_the_rate_is_that_of_the_best_pilot(records, best):
  records = {f"pilot-gn-ws-{name}": each for name, each in records.items()}
  records["pilot-bn-x1-fast"] = record(knn=1.0)
  multiplier, frozen = best
  assert accelerator.PLAN.rules["rate-gn-ws"](records).settings == {
    "optimiser.predictor_multiplier": multiplier,
    "target.frozen": frozen,
  }


def test_the_reason_has_the_numbers():
  records = {"pilot-bn-x1": record(knn=0.4), "pilot-bn-x1-fast": record(knn=0.512)}
  why = accelerator.PLAN.rules["rate-bn"](records).why
  assert why == "held-out kNN of pilots: 40.0 % at x1, 51.2 % at x1-fast"
  assert accelerator.rate("bn", {}).why == "no pilot: the preset's"


def speeds(**images_per_second):
  names = {name: name.replace("_", "-") for name in images_per_second}
  return {
    f"speed-{names[name]}": record(images_per_second=speed)
    for name, speed in images_per_second.items()
  }


@pytest.mark.parametrize(
  ("by_host", "settings"),
  [
    (None, {"data.on_device": True}),
    (1.0, {"data.on_device": True}),
    (2.0, {"data.on_device": True}),
    (3.0, {"data.on_device": False, "data.workers": 8}),
  ],
)
def test_the_device_feeds_itself_unless_the_host_is_faster(by_host, settings):
  records = speeds(gn_ws=2.0, bn=9.0)
  if by_host:
    records |= speeds(gn_ws_by_host=by_host)
  chosen = accelerator.PLAN.rules["fed"](records)
  assert chosen.settings == settings
  assert chosen.why.endswith("; by the device: 2")
  assert accelerator.fed({}).settings == {"data.on_device": True}


@pytest.mark.parametrize(
  ("measured", "epochs"),
  [
    # 100 epochs are 100 * 97 * 512 = 4 966 400 images: 11 037 a second in 450 s.
    ({"gn-ws": 11_040.0, "bn": 20_000.0}, 100),
    ({"gn-ws": 11_030.0, "bn": 20_000.0}, 50),
    ({"gn-ws": 40_000.0, "bn": 11_030.0}, 50),
    ({"gn-ws": 22_080.0, "bn": 22_080.0}, 200),
    ({"gn-ws": 10.0, "bn": 10.0}, 50),
    ({"gn-ws": 20_000.0}, 50),
    ({}, 50),
  ],
)
def test_as_many_epochs_as_leave_time_for_three_in_half_an_hour(measured, epochs):
  records = {f"speed-{n}": record(images_per_second=s) for n, s in measured.items()}
  chosen = accelerator.PLAN.rules["epochs"](records)
  assert chosen.settings == {"train.steps": 97 * epochs}
  assert chosen.why.startswith(f"{epochs} epochs: one of the slower of")


def test_without_both_speeds_the_reason_says_so():
  one = {"speed-bn": record(images_per_second=20_000.0)}
  why = (
    "50 epochs: one of the slower of 2 takes an unknown time, and 450 s are the most"
  )
  assert accelerator.epochs(one).why == accelerator.epochs({}).why == why
  both = {**one, "speed-gn-ws": record(images_per_second=10_000.0)}
  assert "of 2 takes 4.97 s, and" in accelerator.epochs(both).why


def test_without_an_accelerator_it_says_so():
  with pytest.raises(UserError, match="JAX finds no accelerator here: install jax"):
    accelerator.check_device()


def test_a_stage_that_is_not_there_is_said_to_be(tmp_path):
  with pytest.raises(UserError, match="no stage 'bnn'"):
    command.in_slices(
      str(tmp_path), None, None, only=["bn", "bnn"], minutes=None, run=False
    )


def test_without_the_images_it_says_so_before_anything_begins(tmp_path):
  with pytest.raises(UserError, match="cifar10 is not prepared in"):
    command.in_slices(
      str(tmp_path / "work"), None, str(tmp_path), minutes=9.0, run=True
    )
  assert not (tmp_path / "work").exists()


# The whole, on a network that learns nothing.


class Here:
  """`subprocess.Popen`, but that the command is run here, when first looked at."""

  def __init__(self, arguments, *, stdout, stderr, env, process_group):
    assert arguments[1:3] == ["-m", "byol_jax.main"]
    assert stdout is stderr
    assert env["JAX_COMPILATION_CACHE_DIR"]
    assert process_group == 0
    self._arguments = arguments[2:]
    self.returncode = None

  def poll(self):
    if self.returncode is None:
      config, workdir = parsed(self._arguments)
      experiment = {"speed": speed, "pretrain": pretrain}[config.experiment]
      try:
        experiment.run(config, RunDir(workdir, start=provenance.start()))
        self.returncode = 0
      except Stopped as stopped:
        self.returncode = 128 + stopped.signal_number
    return self.returncode

  def kill(self):
    pass

  wait = kill


def changes(config):
  base = flat(tiny.SYSTEMS["byol_gn_ws"](None).to_dict())
  there = flat(config.to_dict())
  return {name: value for name, value in there.items() if value != base[name]}


@pytest.fixture
def quick(monkeypatch):
  """Leaves out what takes long and is tested elsewhere; a step is compiled once."""
  left_out = {
    "evaluate": lambda self, state: {"valid_knn": 0.5},
    "summarise": lambda self, state: {},
    "show_views": lambda self, folder: None,
  }
  for name, instead in left_out.items():
    monkeypatch.setattr(pretrain.Pretrain, name, instead)
  monkeypatch.setattr(loop.figures, "curves", lambda run_dir: None)
  made = []  # the one experiment of both runs
  make = pretrain.Pretrain

  def make_once(config, run_dir):
    if not made:
      made.append(make(config, run_dir))
    made[0].config.experiment = config.experiment
    assert resolved(made[0].config) == resolved(config)
    return made[0]

  monkeypatch.setattr(pretrain, "Pretrain", make_once)
  monkeypatch.setattr(parallel, "pmap", functools.cache(parallel.pmap))


@pytest.fixture
def plan(monkeypatch, quick):
  """Two runs that are the same, and before them their speed."""
  monkeypatch.setattr(work, "subprocess", types.SimpleNamespace(Popen=Here))
  monkeypatch.setattr(accelerator, "check_device", lambda: None)
  monkeypatch.setattr(command, "_check_images", lambda config: None)
  settings = {**changes(tiny.config()), "target.tau": 0.9}

  def rule(records):
    assert records["speed"].found["images_per_second"] > 0
    return Choice({"train.steps": 4}, "it is so")

  found = Plan(
    [
      Stage("speed", "speed", "byol_gn_ws", {**settings, "experiment": "speed"}),
      *(Stage(name, "train", "byol_gn_ws", settings, ["steps"]) for name in ("a", "b")),
    ],
    {"steps": rule},
    least=100,
  )
  monkeypatch.setattr(accelerator, "PLAN", found)
  before = signal.getsignal(signal.SIGTERM)
  yield found
  signal.signal(signal.SIGTERM, before)


def test_stages_can_be_named(plan, tmp_path, capsys):
  for only in (["speed"], ["b"]):
    command.in_slices(str(tmp_path), None, None, only=only, minutes=9.0, run=True)
  assert stages.read(plan, tmp_path / "report").keys() == {"speed", "b"}
  assert "2 of 3 stages are complete" in capsys.readouterr().out


def stop_after(monkeypatch, step):
  """Has the first run that comes so far asked to stop after a step."""
  record, stopped = loop.Monitor.record, []

  def stopping(self, scalars):
    record(self, scalars)
    if len(stopped) < step:
      stopped.append(1)
      if len(stopped) == step:
        os.kill(os.getpid(), signal.SIGTERM)

  monkeypatch.setattr(loop.Monitor, "record", stopping)


def test_a_run_in_two_slices_is_a_run_in_one(plan, tmp_path, monkeypatch, capsys):
  def run():
    command.in_slices(str(tmp_path), None, None, minutes=9.0, run=True)
    return stages.read(plan, tmp_path / "report")

  stop_after(monkeypatch, 2)
  records = run()
  assert records.keys() == {"speed", "a"}
  assert records["speed"].state == COMPLETE
  assert records["speed"].found["finite"]
  assert len(records["speed"].starts) == 1
  assert (records["a"].state, records["a"].steps) == (INCOMPLETE, 2)
  assert "1 of 3 stages are complete" in capsys.readouterr().out
  records = run()
  assert {record.state for record in records.values()} == {COMPLETE}
  assert "3 of 3 stages are complete" in capsys.readouterr().out
  two, one = records["a"], records["b"]
  assert [len(each.starts) for each in (two, one)] == [2, 1]
  assert two.config == one.config
  assert two.config["target"]["tau"] == 0.9
  assert one.curves.keys() >= {"loss", "spread", "valid_knn"}
  for name in ("loss", "spread", "valid_knn"):
    steps, values = two.curves[name]
    assert (steps, values) == tuple(one.curves[name])
  assert np.isfinite(one.curves["loss"][1]).all()
  text = (tmp_path / "report" / "accelerator.md").read_text()
  assert "| a | 4 of 4 |" in text
  assert "| steps | `train.steps=4` | it is so |" in text
  # The records are enough for the same report elsewhere.
  os.rename(tmp_path / "report", tmp_path / "copy")
  command.in_slices(
    str(tmp_path), str(tmp_path / "copy"), None, minutes=None, run=False
  )
  assert (tmp_path / "copy" / "accelerator.md").read_text() == text
