"""Records of runs and studies that are damaged, or something else."""

import functools
import json
import math

import pytest

from byol_jax.errors import UserError
from reproduce import arms, records, report, stages
from reproduce.__main__ import main
from tests.report import made_up as of_reports
from tests.reproduce import made_up

LINE = r"seed1\.json is no record, or a damaged one: delete it or restore it$"


def changed(**values):
  """Sets values of a record; see `made_up.changed`."""
  return functools.partial(of_reports.changed, changes=values)


@pytest.mark.parametrize(
  "change",
  [
    dict.clear,
    changed(more=1),
    changed(made=None),
    changed(config={}),
    changed(config__train={"steps": 5}),
    changed(summary=[]),
    changed(summary__knn={"encoder": 0.5}),
    changed(summary__knn__encoder="0.5"),
    changed(summary__linear__encoder=math.nan),
    changed(summary__health__encoder__lidar=math.inf),
    changed(summary__health={}),
    changed(curves={}),
    changed(curves__spread=[[1, 2], [0.5]]),
    changed(curves__valid_knn=[[], []]),
    changed(curves__loss=0.5),
    changed(made=[1]),
    changed(made=[{}]),
    changed(summary__linear__encoder=5),
    changed(summary__knn__encoder=-0.1),
    changed(summary__knn__encoder=True),
    changed(summary__linear__encoder=1e308),
    changed(summary__linear__encoder=10**400),
    changed(summary__health__encoder__lidar=None),
    changed(curves__loss=[[1, 2], [0.5, "1"]]),
    changed(curves__loss=[[2, 1], [0.5, 0.5]]),
    changed(curves__loss=[[-1, 2], [0.5, 0.5]]),
    changed(curves__loss=[[1, 10**6], [0.5, 0.5]]),
    changed(curves__valid_knn=[[0], [0.25]]),
    changed(curves__valid_lidar=[[0, 2, 4], [1, 2, 3]]),
    changed(config__target__tau="0.9"),
  ],
)
def test_what_is_no_record_is_named(tmp_path, change):
  made_up.keep_run(tmp_path, "bn", 1, 50)
  assert records.read(tmp_path, arms.ARMS)["bn"][0].accuracy("linear") == 50
  path = records.run_path(tmp_path, made_up.find("bn", 1))
  record = json.loads(path.read_text())
  change(record)
  path.write_text(json.dumps(record))
  with pytest.raises(UserError, match=LINE):
    report.write(tmp_path)


@pytest.mark.parametrize(
  ("name", "found"),
  [
    ("pixels", {}),
    ("pixels", {"made": []}),
    ("pixels", {"made": [], "found": [1]}),
    ("pixels", {"made": [], "found": {"knn": 0.5}}),
    ("pixels", {"made": [], "found": {"knn": 0.5, "linear": 5}}),
    ("costs", {"made": [], "found": {}}),
    ("mirror", {"made": [], "found": {"steps": 1}}),
    ("independence", {"made": [], "found": {"bn": {}}}),
  ],
)
def test_a_study_of_another_form_is_named(tmp_path, name, found):
  path = records.study_path(tmp_path, name)
  path.parent.mkdir()
  path.write_text(json.dumps(found))
  with pytest.raises(UserError, match=rf"{name}\.json is no record, or a damaged one"):
    report.write(tmp_path)


def test_choices_of_another_form_are_named(tmp_path):
  stages.keep_choices(tmp_path, {"rate": stages.Choice({"a": 1}, "why")})
  assert stages.read_choices(tmp_path) == {"rate": stages.Choice({"a": 1}, "why")}
  (path,) = (tmp_path / "accelerator").iterdir()
  path.write_text('{"rate": {"settings": {}}}')
  with pytest.raises(UserError, match=r"is no record, or a damaged one"):
    stages.read_choices(tmp_path)


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
  (tmp_path / "file").touch()
  settings = {"only": (), "jobs": 1, "run": False}
  for place in ((tmp_path / "file", None), (tmp_path, tmp_path / "file")):
    with pytest.raises(UserError, match=r"file is a file: name a folder$"):
      main(*place, None, **settings)
