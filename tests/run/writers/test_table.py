"""Which writers there are, and what is said of one that cannot be used."""

import sys

import pytest
from ml_collections import ConfigDict
from tensorboardX.proto import event_pb2

from byol_jax.data import prepare
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir
from byol_jax.run.writers import process, table
from byol_jax.run.writers.tensorboard import Scalars


@pytest.mark.parametrize(
  ("setting", "known"),
  [
    ("tensorboard", True),
    ("none", True),
    ("tensorboard,wandb,mlflow,trackio", True),
    ("wandb", True),
    ("tensorbord", False),
    ("tensorboard,tensorboard", False),
    ("tensorboard,none", False),
    ("tensorboard, wandb", False),
    ("", False),
  ],
)
def test_settings_name_writers_once_each(setting, known):
  assert table.are_known(setting) == known


def test_a_missing_package_is_said_with_the_way_to_it(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, "path", [str(tmp_path)])
  monkeypatch.delitem(sys.modules, "wandb", raising=False)
  (tmp_path / "wandb").mkdir()  # as W&B makes it where it is used: no package
  with pytest.raises(UserError, match=r"run pip install -e '\.\[wandb\]'"):
    table.check("tensorboard,wandb")
  (tmp_path / "wandb" / "__init__.py").write_text("")
  sys.path_importer_cache.clear()
  table.check("tensorboard,wandb")
  with pytest.raises(UserError, match="'tensorbord': give some of tensorboard, "):
    table.check("tensorbord")


def test_nothing_is_written_before_it_is_said(tmp_path, monkeypatch):
  monkeypatch.setitem(table.WRITERS, "wandb", "a_package_that_is_not_there")
  run_dir = RunDir(tmp_path / "run")
  with pytest.raises(UserError, match="wandb, which is not installed"):
    run_dir.claim(ConfigDict({"log": {"writers": "wandb"}}))
  assert not run_dir.path.exists()


def test_each_setting_opens_its_writers(tmp_path, monkeypatch):
  started = []
  monkeypatch.setattr(process.Follower, "__init__", lambda *args: started.append(args))
  assert table.opened("none", tmp_path, 1) == []
  (tensorboard,) = table.opened("tensorboard", tmp_path, 1)
  assert isinstance(tensorboard, Scalars)
  tensorboard.close()
  table.opened("wandb,trackio", tmp_path, 1)
  assert [args[1:] for args in started] == [("wandb", tmp_path), ("trackio", tmp_path)]


def test_a_run_hands_its_writers_what_it_logs(tmp_path, monkeypatch):
  class Noted:
    def __init__(self):
      self.said = []

    def add(self, step, scalars):
      self.said.append((step, scalars))

    def close(self):
      self.said.append("closed")

  writer, asked = Noted(), []
  monkeypatch.setattr(table, "check", asked.append)
  monkeypatch.setattr(table, "opened", lambda *how: [asked.append(how), writer][1:])
  with RunDir(tmp_path / "run") as run_dir:
    run_dir.claim(ConfigDict({"log": {"writers": "wandb"}}))
    run_dir.rewind(-1)
    run_dir.log(0, {"loss": 0.5})
  assert writer.said == [(0, {"loss": 0.5}), "closed"]
  assert asked == ["wandb", ("wandb", run_dir.path, 0, [])]
  # An older run's config has no such setting, and other writers make no other run.
  with RunDir(tmp_path / "run") as run_dir:
    run_dir.claim(ConfigDict({"log": {"every_steps": 5}}))
  assert asked[2:] == ["tensorboard"]


def test_tensorboard_that_is_new_to_a_run_gets_all_points(tmp_path):
  def logged(writers, last, step):
    """The steps in the newest file for TensorBoard."""
    with RunDir(tmp_path / "run") as run_dir:
      run_dir.claim(ConfigDict({"log": {"writers": writers}}))
      run_dir.rewind(last)
      run_dir.log(step, {"loss": 0.5})
    for path in (tmp_path / "run" / "tensorboard").glob("events*"):
      found = [event_pb2.Event.FromString(e) for e in prepare.read_tfrecord(path)]
      path.rename(path.with_name("seen"))  # one of the same second has its name
      return [event.step for event in found if event.HasField("summary")]

  assert logged("none", -1, 0) is None
  assert logged("none", 0, 1) is None
  assert logged("tensorboard", 1, 2) == [0, 1, 2]
  assert logged("tensorboard", 2, 3) == [3]
