"""Rows of the table: what is one evaluation, what is averaged, what is best."""

import importlib

import pytest

from byol_jax.report import evaluations, rows, systems
from byol_jax.run.settings import flat, resolved
from tests.report.made_up import result


def rows_of(*lines):
  return rows.find(lines, systems.find(lines))


def titles(*lines):
  return [row.title for row in rows_of(*lines)]


def other(value, seed=0, **changes):
  """Of another system."""
  settings = {"objective__name": "simclr"}
  return result(value, seed, f"runs/sim-seed{seed}", settings, **changes)


def test_a_row_has_the_values_of_each_system():
  (row,) = rows_of(result(0.5), other(0.25), result(0.75, seed=1))
  assert (row.title, row.images) == (
    "kNN, top-1",
    "cifar10 test, 10000 images; fitted to train",
  )
  assert [cell.values for cell in row.cells] == [[0.5, 0.75], [0.25]]


def test_a_system_without_a_result_has_an_empty_cell():
  first, second = rows_of(result(), other(0.25, metric="top_5"))
  assert [cell.values for cell in first.cells] == [[0.5], []]
  assert [cell.values for cell in second.cells] == [[], [0.25]]
  assert not first.can_have_best


def test_the_newest_result_of_an_encoder_counts():
  old = "2026-01-01T00:00:00+00:00"
  lines = [result(0.5), result(0.25, time=old), result(0.125, time=old, seed=1)]
  (row,) = rows_of(*lines)
  (cell,) = row.cells
  assert (cell.values, cell.older) == ([0.5, 0.125], 1)
  (row,) = rows_of(result(0.25), result(0.5))  # within a second: the later line
  assert row.cells[0].values == [0.5]


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"config__seed": 1}, ("seed = 0", "seed = 1")),
    ({"config__new": 1}, ("new = None", "new = 1")),
    ({"config__data__held_out": 9}, ("data.held_out = None", "data.held_out = 9")),
    ({"listing": "1" * 64}, ("images = 00000000", "images = 11111111")),
  ],
)
def test_another_evaluation_is_another_row_and_says_what_differs(changes, named):
  assert titles(result(), result(**changes)) == [f"kNN, top-1, {n}" for n in named]
  assert titles(result(**changes)) == ["kNN, top-1"]


def test_what_is_not_the_protocols_is_said_also_of_a_row_alone():
  whole = "kNN, top-1, k = [1, 5, 10, 20, 50, 100, 200]"
  shorter = "kNN, top-1, k = [5]"
  assert titles(result(), result(config__k=[5])) == [whole, shorter]
  assert titles(result(config__k=[5])) == [shorter]


@pytest.mark.parametrize(
  "preset", [None, "cifar10", "imagenette", "imagenet", "folder"]
)
@pytest.mark.parametrize(
  ("file", "protocol"),
  [
    ("knn", "knn"),
    ("linear_eval", "linear"),
    ("linear_cached", "linear_cached"),
    ("semi_supervised", "semi_supervised"),
    ("transfer", "transfer_linear"),
    ("transfer_finetune", "transfer_finetune"),
  ],
)
def test_what_is_usual_is_what_configs_have(file, protocol, preset):
  if file.startswith("transfer") and preset not in (None, "folder"):
    preset = "dtd"
  config = importlib.import_module(f"configs.{file}").get_config(preset)
  usual = evaluations.PROTOCOLS[protocol].usual
  found = flat(resolved(config))
  assert {name: found[name] for name in usual} == usual


@pytest.mark.parametrize(
  "changes",
  [
    {"config__encoder": "elsewhere"},
    {"config__encoder_checksum": "1"},
    {"config__results": "x.jsonl"},
    {"config__data__data_dir": "/elsewhere"},
    {"config__data__size": 64},
    {"config__data__valid": None},
    {"config__eval": {"batch_size": 1}},
    {"run": "evaluations/1", "commit": "1", "byol_jax": "0.3.0"},
  ],
)
def test_what_an_accuracy_does_not_depend_on_makes_no_row(changes):
  (row,) = rows_of(result(), result(seed=1, **changes))
  assert len(row.cells[0].lines) == 2


@pytest.mark.parametrize("name", ["train", "test", "test_images", "data"])
def test_other_images_are_another_row(name):
  found = rows_of(result(), result(**{name: 9 if name == "test_images" else "x"}))
  assert len({row.images for row in found}) == 2


def test_a_folder_is_named():
  line = result(data="folder", config__data__data_dir="/home/flowers")
  assert rows_of(line)[0].images == "folder flowers test, 10000 images; fitted to train"


def test_a_split_to_choose_by_is_fitted_to_in_the_end():
  line = result(config__data={"valid": "validation"})
  assert rows_of(line)[0].images.endswith("; fitted to train and validation")


def test_shares_of_labels_are_in_the_title():
  lines = [
    result(protocol="semi_supervised", config__data={"labels": share})
    for share in (0.1, 0.01)
  ]
  expected = [f"fine-tuned, top-1, share of labels {share}" for share in (0.1, 0.01)]
  assert titles(*lines) == expected


def test_rows_come_by_protocol_set_and_metric():
  lines = [
    result(protocol="newer", metric="new"),
    result(protocol="linear", metric="top_5", data="b"),
    result(protocol="linear", metric="top_1", data="a"),
    result(protocol="linear", metric="top_1", data="b"),
    result(data="a"),
  ]
  assert [(row.title, row.images[0]) for row in rows_of(*lines)] == [
    ("kNN, top-1", "a"),
    ("linear, top-1", "b"),
    ("linear, top-5", "b"),
    ("linear, top-1", "a"),
    ("newer, new", "c"),
  ]


def best(*of_systems):
  """Whether each is, for accuracies by seed of each system."""
  lines = []
  for number, values in enumerate(of_systems):
    settings = {"objective__name": f"system {number}"}
    lines += [
      result(value, seed, f"runs/{number}-seed{seed}", settings)
      for seed, value in enumerate(values)
    ]
  (row,) = rows_of(*lines)
  return [row.is_best(cell) for cell in row.cells]


def test_the_best_is_above_each_other_by_more_than_chance():
  high, low = (0.58, 0.59, 0.6), (0.54, 0.55, 0.56)
  assert best(low, high) == [False, True]
  assert best(high) == [False]
  assert best(low, high, (0.57, 0.58, 0.59)) == [False, False, False]
  assert best(low, high, low) == [False, True, False]
  assert best((0.1,), high) == [False, False]  # one seed says nothing
