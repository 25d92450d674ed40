"""What is read of a run's folder, whole or not."""

import os

import pytest

from byol_jax.errors import UserError
from byol_jax.report import runs
from tests.report import made_up


def test_a_run_is_what_its_files_say(tmp_path):
  (run,) = runs.read([made_up.write(tmp_path / "mine")])
  assert (run.name, run.step, run.seconds) == ("mine", 10, 3725.0)
  assert run.setting("train.batch_size") == 16
  assert run.setting("train.no.such") is None
  assert run.points("valid_knn") == [(0, 0.4), (10, 0.6)]
  assert run.last("loss") == 1.0
  assert run.last("nothing") is None
  assert run.accuracies("knn") == made_up.SUMMARY["knn"]
  assert run.starts == [made_up.START]


def test_a_run_that_has_hardly_begun_is_one(tmp_path):
  folder = made_up.write(tmp_path / "x", records=None, summary=None, starts=None)
  (run,) = runs.read([folder])
  assert (run.step, run.seconds, run.summary, run.starts) == (None, None, None, [])
  assert run.points("loss") == run.skipped == []
  assert run.accuracies("knn") == {}


def test_what_is_no_finite_number_is_left_out(tmp_path):
  values = [float("nan"), float("inf"), "1", None, [1], True, 2]
  records = [{"step": step, "loss": value} for step, value in enumerate(values)]
  summary = {"knn": {"encoder": None, "pixels": 0.5}, "linear": 3, "spread": "x"}
  folder = made_up.write(tmp_path / "x", records=records, summary=summary)
  (run,) = runs.read([folder])
  assert run.points("loss") == [(5, 1.0), (6, 2.0)]
  assert run.accuracies("knn") == {"pixels": 0.5}
  assert run.accuracies("linear") == {}
  assert run.result("spread") is None


def test_paths_are_those_of_the_last_start(tmp_path):
  settings = {"experiment": "x", "a": "photos", "b": "/photos", "c": "~/photos", "d": 1}
  (run,) = runs.read([made_up.write(tmp_path / "x", settings)])
  assert run.located("a") == "/somewhere/photos"
  assert run.located("b") == "/photos"
  assert run.located("c") == os.path.expanduser("~/photos")
  assert run.located("d") is run.located("e") is None
  (old,) = runs.read([made_up.write(tmp_path / "old", settings, starts=None)])
  assert old.located("a") == "photos"


def test_runs_are_called_by_what_tells_them_apart(tmp_path):
  folders = [made_up.write(tmp_path / name) for name in ("a/x", "a/y", "b/x")]
  assert [run.name for run in runs.read(folders[:2])] == ["x", "y"]
  names = [run.name for run in runs.read(folders)]
  assert names == [str(folder) for folder in folders]


def test_skipped_files_may_have_any_name(tmp_path):
  folder = made_up.write(tmp_path / "x")
  (folder / "skipped.tsv").write_bytes(b"a\xff<b>.jpg\tno image\ttruly\nc.png\n")
  (run,) = runs.read([folder])
  assert run.skipped == [("a\\xff<b>.jpg", "no image\ttruly"), ("c.png", "")]


def test_what_is_no_run_is_one_line(tmp_path):
  empty = tmp_path / "empty"
  empty.mkdir()
  other = tmp_path / "other"
  other.mkdir()
  (other / "config.json").write_text('{"name": "of something else"}')
  backwards = [{"step": 2}, {"step": 1}]
  cases = [
    ([tmp_path / "nowhere"], "does not exist; is .* the folder of a run"),
    ([empty], "does not exist; is .*empty the folder of a run"),
    ([empty / ".." / "empty", empty], "empty is given twice"),
    ([other], "names no experiment"),
    ([made_up.write(tmp_path / "b", records=backwards)], "steps are to be whole"),
    (
      [made_up.write(tmp_path / "c", records=[{"step": "1"}])],
      r"metrics\.jsonl is dama",
    ),
    ([made_up.write(tmp_path / "d", starts=[{}])], r"starts\.jsonl is damaged in line"),
    ([made_up.write(tmp_path / "file") / "config.json"], "cannot read .*Not a dir"),
  ]
  for folders, message in cases:
    with pytest.raises(UserError, match=message):
      runs.read(folders)
