"""Which run a run can begin with; what does not fit is told in one line."""

import json
import re
import shutil

import pytest

from byol_jax.data import datasets
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir
from experiments import origin, pretrain
from tests import tiny
from tests.experiments import made


@pytest.fixture(scope="module")
def before(tmp_path_factory):
  """The folder of a run of the tiny config that has reached step 2 of 4."""
  folder = tmp_path_factory.mktemp("runs") / "before"
  made.run(folder, tiny.config())
  return folder


def config_of(before, setting, system="byol_gn_ws", **changes):
  config = tiny.config(system)
  config[setting] = str(before)
  config.update_from_flattened_dict(changes)
  return config


@pytest.mark.parametrize(
  ("setting", "changes", "message"),
  [
    ("start_from", {"encoder.width": 0.25}, "encoder.width=0.125"),
    ("start_from", {"encoder.norm": "batch"}, "encoder.norm=group"),
    ("start_from", {"encoder.groups": 1}, "encoder.groups=2"),
    ("start_from", {"projector.hidden": 8}, "projector.hidden=16"),
    ("start_from", {"predictor.hidden": 8}, "predictor.hidden=16"),
    ("start_from", {"bn_init": True}, "bn_init=False"),
    ("continue_from", {"optimiser.name": "adam"}, "it differs in optimiser.name)"),
    ("continue_from", {"seed": 1, "data.size": 20}, "differs in data.size, seed)"),
    ("continue_from", {"train.batch_size": 8}, "differs in train.batch_size)"),
  ],
)
def test_what_does_not_fit_is_named(before, tmp_path, setting, changes, message):
  run_dir = RunDir(tmp_path / "run")
  with pytest.raises(UserError, match=re.escape(message)):
    pretrain.Pretrain(config_of(before, setting, **changes), run_dir)
  assert not run_dir.path.exists()


@pytest.mark.parametrize(
  ("setting", "changes"),
  [
    ("start_from", {"encoder.zero_last_scale": True, "optimiser.name": "adam"}),
    ("start_from", {"seed": 1, "data.train": "test", "train.batch_size": 8}),
    ("continue_from", {"train.steps": 9, "optimiser.warmup": 0.5, "target.tau": 0.5}),
    ("continue_from", {"log.every_steps": 7, "eval.every_steps": 7}),
  ],
)
def test_what_may_differ(before, tmp_path, setting, changes):
  config = config_of(before, setting, **changes)
  found = pretrain.Pretrain(config, RunDir(tmp_path / "run")).origin
  assert (found.setting, found.folder) == (setting, str(before))


def test_a_predictor_that_one_of_them_lacks_does_not_matter(before, tmp_path):
  config = config_of(before, "start_from", "simclr")
  for part in ("encoder", "projector"):
    config[part].update(tiny.config()[part])
  found = pretrain.Pretrain(config, RunDir(tmp_path / "run")).origin
  assert not found.has_predictor_of(config)
  assert found.has_predictor_of(tiny.config())


def test_only_one_can_be_named(before):
  config = config_of(before, "start_from")
  config.continue_from = str(before)
  with pytest.raises(UserError, match="both given: give one of them"):
    pretrain.Pretrain(config)


def test_what_is_no_pretraining_run_is_named(before, tmp_path):
  def refused(path, message):
    with pytest.raises(UserError, match=message):
      origin.find(config_of(path, "start_from"), RunDir(tmp_path / "run"))

  file = tmp_path / "encoder.safetensors"
  file.write_bytes(b"")
  refused(file, "a file of an encoder alone.* give the folder of its run as start_from")
  refused(tmp_path / "nowhere", "no checkpoint at .*nowhere, where nothing is")
  moved = tmp_path / "moved"
  shutil.copytree(before / "checkpoints", moved / "checkpoints")
  refused(moved, r"checkpoints/2 has no config\.json beside it")
  (moved / "config.json").write_text(json.dumps({"experiment": "transfer_finetune"}))
  refused(moved, "moved is not the folder of a pretraining run")
  whole = json.loads((before / "config.json").read_text())
  for change in ({"encoder": []}, {"data": "photos"}, {"projector": None}):
    (moved / "config.json").write_text(json.dumps(whole | change))
    refused(moved, r"moved/config\.json is damaged: restore it")
  shutil.copy(before / "config.json", moved)
  (moved / "origin.json").write_text('{"step": "x"}')
  refused(moved, r"moved/origin\.json is damaged: restore it")


@pytest.mark.parametrize("place", [".", "checkpoints", "checkpoints/2"])
def test_a_run_is_named_as_for_load_encoder(before, tmp_path, place):
  config = config_of(before / place, "start_from")
  found = origin.find(config, RunDir(tmp_path / "run"))
  assert found.folder == str(before)
  assert found.config == json.loads((before / "config.json").read_text())


def test_other_images_are_refused_to_go_on_with(before, tmp_path):
  config = config_of(before, "continue_from")
  found = origin.find(config, RunDir(tmp_path / "run"))
  listing = datasets.open_dataset("photos", None).listing()
  origin.check(found, config, listing)
  with pytest.raises(
    UserError, match=r"have changed since .* give start_from in place"
  ):
    origin.check(found, config, [*listing, "more\t5"])


def test_a_network_that_is_left_open_is_that_of_the_run(before, tmp_path):
  config = config_of(before, "start_from")
  with config.ignore_type():
    config.encoder.width = config.data.size = config.eval.batch_size = None
  found = pretrain.Pretrain(config, RunDir(tmp_path / "run")).config
  assert (found.encoder.width, found.data.size) == (0.125, 16)
  assert (
    found.eval.batch_size != config_of(before, "start_from").eval.batch_size
  )  # chosen
