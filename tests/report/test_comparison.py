"""Runs beside each other: the best, what may not be compared, what differs."""

import pytest

from byol_jax.report import comparison, runs
from tests.report import made_up


@pytest.fixture
def several(tmp_path):
  """Writes runs with linear test accuracies; reads them."""

  def read(*accuracies, **differing):
    folders = []
    for number, accuracy in enumerate(accuracies):
      changes = {name: values[number] for name, values in differing.items()}
      linear = {"encoder": accuracy, "untrained": 0.4}
      summary = made_up.SUMMARY | {"linear": linear, "knn": {"encoder": 0.5}}
      folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
      folders.append(made_up.write(folder, made_up.config(**changes), summary=summary))
    return runs.read(folders)

  return read


def column(runs_, title):
  table = comparison.results(runs_, [{}] * len(runs_))
  return [row[list(table.header).index(title)] for row in table.rows]


def test_the_best_is_marked_and_what_chance_may_have_made(several):
  found = several(0.5, 0.8, 0.79, seed=(0, 1, 2))
  assert column(found, "linear, test") == [
    "50.0 ± 3.2 %",
    "<strong>80.0 ± 2.5 %, best</strong>",
    "79.0 ± 2.6 %, no more than chance from the best",
  ]
  assert comparison.reservations(found) == []


def test_baselines_stand_beside_where_there_are_any(several):
  found = several(0.5, 0.8)
  assert column(found, "linear, untrained") == ["40.0 %", "40.0 %"]
  header = comparison.results(found, [{}] * 2).header
  assert "linear, pixels" not in header
  assert "kNN, untrained" not in header
  found[1].summary["linear"]["pixels"] = 0.415
  assert column(found, "linear, pixels") == ["not measured", "41.5 %"]


def test_what_needs_no_labels_stands_there_too(several):
  found = several(0.5, 0.8)
  assert "spread" not in comparison.results(found, [{}] * 2).header
  found[0].records.append({"step": 11, "spread": 0.876, "valid_invariance": 0.15})
  assert column(found, "spread") == ["0.88", "not measured"]
  assert column(found, "invariance") == ["0.15", "not measured"]


def test_equals_are_both_best_and_a_run_alone_is_not(several):
  found = several(0.5, 0.5)
  assert all("best" in cell for cell in column(found, "linear, test"))
  assert "best" not in column(several(0.5), "linear, test")[0]


@pytest.mark.parametrize(
  ("differing", "named"),
  [
    ({"data__name": ("a", "b")}, "data.name"),
    ({"probe__test": ("test", "train")}, "probe.test"),
    ({"probe__train": ("train", "train[:9]")}, "probe.train"),
    ({"experiment": ("pretrain", "linear_eval")}, "experiment"),
    ({"train__steps": (10, 20)}, "train.steps"),
    (
      {"data__name": ("folder", "folder"), "data__data_dir": ("x", "y")},
      "data.data_dir",
    ),
  ],
)
def test_what_cannot_be_compared_has_no_best(several, differing, named):
  found = several(0.5, 0.8, **differing)
  assert not any("best" in cell for cell in column(found, "linear, test"))
  text = comparison.reservations(found)[0]
  assert "no best is marked" in text
  assert named in text


@pytest.mark.parametrize(
  ("differing", "named"),
  [
    ({"data__train": ("train", "train[:10%]")}, "data.train"),
    ({"train__batch_size": (16, 32)}, "train.batch_size"),
    ({"seed": (0, 1)}, None),
    ({"data__size": (32, 64)}, None),  # the encoder's
  ],
)
def test_evaluations_are_compared_by_one_protocol(several, differing, named):
  found = several(0.5, 0.8, experiment=("linear_eval",) * 2, **differing)
  marked = any("best" in cell for cell in column(found, "linear, test"))
  assert marked == (named is None)
  if named:
    assert named in comparison.reservations(found)[0]


def test_accuracies_of_other_numbers_of_images_have_no_best(several):
  found = several(0.5, 0.8)
  found[1].summary["test_images"] = 300
  assert not any("best" in cell for cell in column(found, "linear, test"))
  assert "the number of test images" in comparison.reservations(found)[0]


def test_where_a_prepared_set_lies_is_no_difference(several):
  found = several(0.5, 0.8, data__name=("x", "x"), data__data_dir=("a", "b"))
  assert "best" in column(found, "linear, test")[1]


def test_other_reservations(several, tmp_path):
  found = several(0.5, 0.8, train__steps=(10, 20))
  assert any("different lengths" in text for text in comparison.reservations(found))
  assert any("same seed" in text for text in comparison.reservations(found))
  begun = runs.read([made_up.write(tmp_path / "new", summary=None)])
  texts = comparison.reservations([*found, *begun])
  assert any("not finished" in text for text in texts)
  assert column([*found, *begun], "linear, test")[2] == "not measured"


def test_settings_are_those_that_differ_and_matter(several):
  found = several(0.5, 0.8, seed=(0, 1), encoder__norm=("batch", "group"))
  for run, folder in zip(found, ("a", "b"), strict=True):
    run.config["data"]["data_dir"] = folder
  found[1].config["extra"] = {"x": 1}
  table = comparison.settings(found)
  assert table.rows == [
    ["encoder.norm", "batch", "group"],
    ["extra.x", "no such", "1"],
    ["seed", "0", "1"],
  ]
  assert comparison.settings(several(0.5, 0.8)) is None


def test_a_setting_that_only_later_runs_differ_in_is_there(several):
  found = several(0.5, 0.6, 0.7, seed=(0, 0, 3))
  assert comparison.settings(found).rows == [["seed", "0", "0", "3"]]


def test_verdicts_and_starts_are_a_row_a_run(several):
  found = several(0.5, 0.8, experiment=("pretrain", "linear_eval"))
  table = comparison.verdicts(found, [{}, {}])
  answers = [dict(zip(table.header, row, strict=True)) for row in table.rows]
  assert answers[0]["Has it collapsed?"] == "no"
  assert answers[1]["Has it collapsed?"] == "not asked of it"
  first = comparison.made(found).rows[0]
  assert first[1:3] == [
    "2026-01-02 03:04:05",
    "0.2.0, commit abcdef0, with changes that are not committed",
  ]
