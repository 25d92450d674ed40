"""What TensorBoard would read, and a file that cannot be written."""

import pytest
from tensorboardX.proto import event_pb2

from byol_jax.data import prepare
from byol_jax.run.writers import tensorboard


def events(path):
  return [event_pb2.Event.FromString(each) for each in prepare.read_tfrecord(path)]


def test_scalars_are_there_at_once(tmp_path):
  scalars = tensorboard.Scalars(tmp_path / "tensorboard", 3)
  scalars.add(3, {"loss": 0.5, "valid_collapsed": False})
  (path,) = (tmp_path / "tensorboard").iterdir()
  version, start, loss, collapsed = events(path)
  assert version.file_version == "brain.Event:2"
  assert (start.step, start.session_log.status) == (3, event_pb2.SessionLog.START)
  assert (loss.step, loss.summary.value[0].tag) == (3, "loss")
  assert loss.summary.value[0].simple_value == pytest.approx(0.5)
  assert collapsed.summary.value[0].simple_value == 0
  assert start.wall_time <= loss.wall_time
  scalars.close()
  scalars.add(4, {"loss": 0.4})
  assert len(events(path)) == 4


def test_a_file_that_cannot_be_written_is_given_up(tmp_path, caplog, monkeypatch):
  scalars = tensorboard.Scalars(tmp_path, 0)

  def full(event):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(scalars._writer, "write_event", full)
  with caplog.at_level("WARNING"):
    scalars.add(1, {"loss": 0.5, "spread": 0.1})
    scalars.add(2, {"loss": 0.5})
  assert caplog.text.count("is not written any more") == 1
  assert "No space left on device" in caplog.text
  scalars.close()


def test_a_folder_that_cannot_be_made_is_given_up(tmp_path, caplog):
  (tmp_path / "file").write_text("")
  with caplog.at_level("WARNING"):
    scalars = tensorboard.Scalars(tmp_path / "file" / "tensorboard", 0)
    scalars.add(1, {"loss": 0.5})
    scalars.close()
  assert caplog.text.count("is not written any more") == 1
