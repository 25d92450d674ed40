"""The tables of what came of the stages, whole or not."""

import pytest

from byol_jax.disk import write_json
from byol_jax.errors import UserError
from reproduce import accelerator_tables, stages
from reproduce import records as report_records
from reproduce.stages import COMPLETE, FAILED, INCOMPLETE, Choice, Plan, Record, Stage
from tests.reproduce import made_up

PLAN = Plan(
  [
    *(Stage(name, "speed", "byol") for name in ("fast", "broken")),
    *(Stage(name, "pilot", "byol") for name in ("pilot", "to come")),
    *(Stage(name, "train", "byol") for name in ("done", "stopped")),
  ],
  {},
  0,
)
SPEED = {
  "images_per_second": 1234.5,
  "images_per_second_one_batch": 2000.0,
  "mfu": 0.1234,
  "mfu_one_batch": 0.2,
  "finite": True,
  "compile_seconds": 61.4,
  "peak_bytes": 3 * 2**30,
  "evaluation_seconds": 2.04,
  "save_seconds": 0.5,
  "platform": "PJRT C API\ncuda 13000",
  "packages": {"jax": "0.11.2", "jax-cuda13-plugin": "0.11.2"},
}
START = {
  "started": "2026-11-27T03:09:16+00:00",
  "devices": 1,
  "kind": "NVIDIA H100",
  "commit": None,
  "versions": {"Python": "3.12.3", "jax": "0.11.2"},
  "command": "python -m byol_jax.main",
}
CONFIG = {
  "optimiser": {"learning_rate": 4.0, "predictor_multiplier": 10.0},
  "train": {"steps": 970},
  "target": {"kind": "online"},
}
CURVES = {
  "spread": ([50, 100], [0.25, 0.5]),
  "loss": ([50, 100], [1.0, 0.5]),
  "valid_knn": ([0, 100], [0.3, 0.4567]),
}


def keep(folder, name, state, found=None, why="", **fields):
  empty = {"starts": [], "config": None, "steps": 0, "curves": {}}
  record = Record(state=state, why=why, found=found or {}, **{**empty, **fields})
  stages.keep(folder, name, record)


@pytest.fixture
def lines(tmp_path):
  keep(tmp_path, "fast", COMPLETE, SPEED, starts=[START])
  keep(tmp_path, "broken", FAILED, why="XlaError: out | of memory")
  run = {"config": CONFIG, "steps": 100, "curves": CURVES}
  keep(tmp_path, "pilot", COMPLETE, {"seconds": 1.0}, starts=[START, START], **run)
  summary = made_up.summary(86.8, 85.8) | {"seconds": 150.0}
  keep(tmp_path, "done", COMPLETE, summary, **run)
  report_records.keep_study("pixels", tmp_path, {"linear": 0.41, "knn": 0.36})
  keep(tmp_path, "stopped", INCOMPLETE, why="stopped", **run)
  choices = {"rate-bn": Choice({"optimiser.learning_rate": 4.0}, "45.7 % at 4")}
  stages.keep_choices(tmp_path, choices)
  return accelerator_tables.write(PLAN, tmp_path).read_text().splitlines()


@pytest.mark.parametrize(
  "line",
  [
    "| fast | 1234 | 2000 | 12.3 | 20.0 | 3.0 | 61 | 2.0 | 0.5 | yes | complete |",
    "| broken |  |  |  |  |  |  |  |  |  | failed: XlaError: out \\| of memory |",
    "| pilot | 4 | 10 | 100 of 970 | 0.500 | 0.50 | 45.7 | complete |",
    "| done | 100 of 970 | 0.500 | 0.50 | 45.7 |  | 2.5 | complete |",
    "| stopped | 100 of 970 | 0.500 | 0.50 | 45.7 |  |  | incomplete: stopped |",
    "| done | 86.8 | 30.0 | 56.8 | 86.8 | 85.8 | 30.0 | 55.8 | 0.50 / 0.25 |"
    " 0.50 / 0.25 | 0.90 | 0.25 | 30 | 40 | 10 / 11 | 0 |",
    "| raw pixels | 41.0 |  |  |  | 36.0 |" + 10 * "  |",
    "| rate-bn | `optimiser.learning_rate=4.0` | 45.7 % at 4 |",
    "- PJRT C API cuda 13000: jax 0.11.2, jax-cuda13-plugin 0.11.2",
  ],
)
def test_each_record_is_a_line(lines, line):
  assert line in lines


def test_what_it_was_made_with_has_a_line_for_each_start(lines):
  of = (
    "2026-11-27T03:09:16+00:00 | 1 x NVIDIA H100 | unknown | Python 3.12.3, jax 0.11.2"
  )
  assert lines.count(f"| fast | {of} |") == 1
  assert lines.count(f"| pilot | {of} |") == 2


def test_how_far_it_is(lines):
  assert lines[2].endswith("3 of 6 stages are complete. To come: to come.")


def test_tables_are_whole(lines):
  tables = "\n".join(lines).split("\n\n")
  for table in (t.splitlines() for t in tables if t.startswith("|")):
    widths = {line.replace("\\|", "").count("|") for line in table}
    assert len(widths) == 1
    assert set(table[1]) == set("| -")


def test_of_nothing_there_is_nothing_to_show(tmp_path):
  path = accelerator_tables.write(PLAN, tmp_path / "new")
  text = path.read_text()
  assert "0 of 6 stages are complete" in text
  assert "#" not in text[1:]


def test_a_stage_that_never_was_evaluated_has_no_line_in_the_figure(tmp_path):
  plan = Plan([Stage("bn", "train", "byol"), Stage("gn-ws", "train", "byol")], {}, 0)
  keep(tmp_path, "bn", FAILED, why="RESOURCE_EXHAUSTED")
  keep(tmp_path, "gn-ws", INCOMPLETE, curves=CURVES, steps=100)
  text = accelerator_tables.write(plan, tmp_path).read_text()
  assert "failed: RESOURCE_EXHAUSTED" in text
  assert (tmp_path / "accelerator.png").stat().st_size > 5000


@pytest.mark.parametrize(
  "change",
  [
    {"state": "foo"},
    {"steps": -1},
    {"starts": [{"started": "now"}]},
    {"found": {"images_per_second": "many"}},
    {"found": {"knn": {"encoder": 5}}},
    {"curves": {"loss": ([2, 1], [0.5, 0.5])}},
    {"curves": {"loss": ([1, 2], [0.5])}},
  ],
)
def test_what_is_no_record_of_a_stage_is_named(tmp_path, change):
  record = Record(COMPLETE, "", [START], CONFIG, 100, SPEED, CURVES)
  stages.keep(tmp_path, "fast", record)
  assert stages.read(PLAN, tmp_path)["fast"].found == SPEED
  write_json(stages.record_path(tmp_path, "fast"), record._asdict() | change)
  with pytest.raises(UserError, match=r"fast\.json is no record, or a damaged one"):
    stages.read(PLAN, tmp_path)


def test_what_another_command_is_writing_is_left_alone(tmp_path):
  """Several may share a report."""
  others = [tmp_path / f"accelerator.{kind}.tmp" for kind in ("md", "png")]
  for path in others:
    path.touch()
  accelerator_tables.write(PLAN, tmp_path)
  assert all(path.exists() for path in others)
