"""The tables of a page, by what they say."""

import json

import pytest

from byol_jax.report import facts, runs
from tests.report import made_up


@pytest.fixture
def a_run(tmp_path):
  def read(settings=None, **files):
    folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    return runs.read([made_up.write(folder, settings, **files)])[0]

  return read


def test_what_was_trained_on_what(a_run):
  found = dict(facts.trained(a_run(), {"data.train": 80}))
  assert found["what"].endswith("byol, with a target network and a predictor")
  assert found["images"] == "nowhere, split train of 80 images, seen at 32 x 32 pixels"
  assert found["length"] == "10 steps of 16 images, 2 epochs"
  changes = {"target__kind": "online", "predictor__depth": 1, "encoder__norm": "group"}
  run = a_run(made_up.config(encoder__standardised=True, **changes))
  found = dict(facts.trained(run, {}))
  assert found["what"].endswith("byol, with no target and a linear predictor")
  assert "group + standardised weights, batch, batch" in found["encoder"]
  assert found["length"] == "10 steps of 16 images"


def test_what_it_began_with(a_run):
  first = {"setting": "start_from", "run": "/runs/a", "step": 7, "checksum": "0f" * 32}
  first["fresh"] = ["predictor"]
  then = {"setting": "continue_from", "run": "/runs/b", "step": 9, "origin": first}
  run = a_run()
  assert "begins with" not in dict(facts.trained(run, {}))
  (run.path / "origin.json").write_text(json.dumps(then))
  (again,) = runs.read([run.path])
  assert dict(facts.trained(again, {}))["begins with"] == (
    "all of /runs/b at step 9, trained by another schedule; that began with the weights"
    " of /runs/a at step 7 (SHA-256 0f0f0f0f0f0f...); new: predictor"
  )


def test_an_evaluation_says_of_what(a_run):
  settings = {"experiment": "knn", "encoder": "runs/a", "encoder_checksum": "ab" * 32}
  evaluated = {"path": "runs/a", "step": 70, "checksum": "ab" * 32}
  found = [
    dict(facts.trained(a_run(settings, summary=summary), {}))["what"]
    for summary in (None, {"evaluated": evaluated})
  ]
  assert found == [
    "knn of the encoder of runs/a (SHA-256 abababababab...)",
    "knn of the encoder of runs/a, step 70 (SHA-256 abababababab...)",
  ]


def test_settings_that_are_not_there_are_left_out(a_run):
  found = dict(facts.trained(a_run({"experiment": "centroids"}), {}))
  assert found == {"what": "centroids"}


def test_accuracies_stand_beside_their_baselines(a_run):
  table = facts.accuracies(a_run(), {})
  assert table.header == ["features", "kNN", "linear"]
  assert table.rows == [
    ["the encoder", "70.0 ± 2.9 %", "80.0 ± 2.5 %"],
    ["the same network, untrained", "50.0 ± 3.2 %", "60.0 ± 3.1 %"],
    ["the pixels themselves", "30.0 ± 2.9 %", "50.0 ± 3.2 %"],
  ]
  assert "1000 images" in table.caption
  assert facts.accuracies(a_run(summary=None), {}) is None
  some = {"knn": {"encoder": 0.5}, "linear": {"encoder": 0.5, "pixels": 0.25}}
  rows = facts.accuracies(a_run(summary=some), {}).rows
  assert rows == [
    ["the encoder", "50.0 %", "50.0 %"],
    ["the pixels themselves", "not measured", "25.0 %"],
  ]


@pytest.mark.parametrize(
  ("name", "metric", "shown"),
  [
    ("linear_cached", None, "91.3 ± 1.8 %"),
    ("semi_supervised", None, "91.3 ± 1.8 %"),
    ("transfer_linear", "top_1", "91.3 ± 1.8 %"),
    ("transfer_linear", "mean_per_class", "91.3 %"),
    ("transfer_finetune", "top_1", "91.3 ± 1.8 %"),
  ],
)
def test_those_of_evaluations_stand_there_too(a_run, name, metric, shown):
  summary = {name: {"encoder": 0.913}, "test_images": 1000}
  summary |= {"metric": metric} if metric else {}
  run = a_run(made_up.config(experiment=name), summary=summary)
  assert facts.accuracies(run, {}).rows == [["the encoder", shown]]


def test_health_is_of_the_encoder_and_of_what_it_began_as(a_run):
  health = {"encoder": {"lidar": 12.345, "other": 1.0}, "untrained": {"lidar": None}}
  table = facts.health(a_run(summary={"health": health}))
  assert table.header == ["features", "LiDAR"]
  assert [row[1] for row in table.rows] == ["12.3", "not measured"]
  table = facts.health(a_run())
  assert table.rows == [["the encoder", "0.8", "30"]]
  assert facts.health(a_run(summary=None)) is None


def test_how_it_was_made(a_run):
  found = dict(facts.made(a_run()))
  assert found["devices"] == "2 x H100 on 1 host(s)"
  assert found["environment"] == "JAX_PLATFORMS='cpu'"
  assert facts.made(a_run(starts=None)) == []
  bare = dict(facts.made(a_run(starts=[{"started": "2026"}])))
  assert bare["byol_jax"] == "None, not from a clone"
  assert facts.starts(a_run()) is None
  table = facts.starts(a_run(starts=[made_up.START] * 30))
  assert len(table.rows) == 20
  assert "30 times" in table.caption


def test_time(a_run):
  assert facts.time(a_run()) == [
    ("time", "1 h 2 min"),
    ("speed", "200 images / s, the median report"),
    ("wait for images", "20.0 % of the time, the median report"),
  ]
  assert [facts.duration(s) for s in (0.4, 61, 86_400)] == [
    "0 s",
    "1 min 1 s",
    "24 h 0 min",
  ]
  assert facts.time(a_run(summary=None, records=None)) == []


def test_the_first_skipped_files_are_listed_and_all_counted(a_run):
  run = a_run()
  assert facts.skipped(run) is None
  lines = "".join(f"{number}.jpg\tdamaged\n" for number in range(30))
  (run.path / "skipped.tsv").write_text(lines)
  table = facts.skipped(runs.read([run.path])[0])
  assert table.caption.startswith("30 files")
  assert table.rows[-1] == ("19.jpg", "damaged")
