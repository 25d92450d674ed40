"""results.jsonl: lines are added whole, once, and none is lost."""

import json
import os
from concurrent import futures

import pytest

from byol_jax.errors import UserError
from byol_jax.run import results


def result(**changes):
  """A result, as evaluations give it."""
  return {
    "protocol": "knn",
    "setting": {"k": 20},
    "data": "cifar10",
    "train": "train",
    "test": "test",
    "listing": "0" * 64,
    "metric": "top_1",
    "value": 0.5,
    "test_images": 10_000,
    "encoder": {"path": "runs/x", "checksum": "f" * 64, "step": 3, "network": {}},
    "seed": 0,
    "run": "/runs/x_knn",
    "config": {"k": [20]},
    "pretrained": None,
  } | changes


def test_a_result_is_added_once(tmp_path):
  path = tmp_path / "new" / "results.jsonl"
  for value in (0.5, 0.75, 0.5):
    results.append(path, result(value=value))
  found = results.read(path)
  assert [each["value"] for each in found] == [0.5, 0.75]
  assert {k: found[0][k] for k in result()} == result()
  assert found[0].keys() - result().keys() == {"format", "byol_jax", "commit", "time"}


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_half_a_line_makes_way_and_a_whole_one_without_its_end_stays(tmp_path, cut):
  path = tmp_path / "results.jsonl"
  for value in (0.25, 0.5):
    results.append(path, result(value=value))
  first, second, _ = path.read_bytes().split(b"\n")
  path.write_bytes(first + b"\n" + second[: len(second) if cut == -1 else cut])
  kept = [0.25, 0.5] if cut == -1 else [0.25]
  assert [each["value"] for each in results.read(path)] == kept
  results.append(path, result(value=0.75))
  assert [each["value"] for each in results.read(path)] == [*kept, 0.75]


@pytest.mark.parametrize(
  "damage",
  [
    b"",
    b"\xff{}",
    b"[]",
    b"7",
    b"[" * 100_000,
    {"value": float("nan")},
    {"value": "0.5"},
    {"value": 1.5},
    {"format": 0},
    {"format": None},
    {"encoder": {"checksum": 3}},
    {"pretrained": []},
    {"pretrained": {"run": "x"}},
    {"time": None},
    "pretrained",  # is not there
    "time",
  ],
)
def test_damage_is_said_by_its_line_and_nothing_is_written(tmp_path, damage):
  path = tmp_path / "results.jsonl"
  results.append(path, result())
  line = json.loads(path.read_text())
  if isinstance(damage, str):
    del line[damage]
    damage = {}
  if isinstance(damage, dict):
    damage = json.dumps(line | damage).encode()
  path.write_bytes(path.read_bytes() + damage + b"\n")
  before = path.read_bytes()
  for attempt in (results.read, results.check, lambda p: results.append(p, result())):
    with pytest.raises(
      UserError, match=r"no result in line 2: delete .* or name another file$"
    ):
      attempt(path)
  assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["my notes", "a,b\n1,2", '{"name": "mi', "\n"])
def test_a_file_of_something_else_stays_as_it_is(tmp_path, text):
  path = tmp_path / "notes.txt"
  path.write_text(text)
  for attempt in (results.check, lambda p: results.append(p, result())):
    with pytest.raises(UserError, match=r"has no result in line 1: .* name another"):
      attempt(path)
  assert path.read_text() == text


def test_what_could_not_be_read_again_is_not_written(tmp_path):
  path = tmp_path / "results.jsonl"
  for change in ({"value": float("nan")}, {"encoder": {}}, {"data": None}):
    with pytest.raises(ValueError, match="no result"):
      results.append(path, result(**change))
  assert not path.exists()


def test_a_newer_version_is_asked_for(tmp_path):
  path = tmp_path / "results.jsonl"
  path.write_text('{"format": 2, "whatever": 1}\n')
  with pytest.raises(UserError, match=r"format 2 in line 1.* install a newer one"):
    results.read(path)


def test_where_none_can_be_written_it_is_said_before_there_are_any(tmp_path):
  results.check(tmp_path / "new" / "folder" / "results.jsonl")
  assert not list(tmp_path.iterdir())
  file = tmp_path / "file"
  file.write_text("")
  with pytest.raises(UserError, match=r"cannot be written: choose another --config"):
    results.check(file / "results.jsonl")
  (link := tmp_path / "link").symlink_to("nowhere")
  for no_file in (tmp_path, "/dev/null", link):
    with pytest.raises(UserError, match="is no file: choose another --config"):
      results.check(no_file)
  if os.geteuid():  # whom nothing stops
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
      results.check(tmp_path / "results.jsonl")


def test_several_append_side_by_side(tmp_path, monkeypatch):
  monkeypatch.setattr(results.provenance, "commit", lambda: None)
  path = tmp_path / "results.jsonl"
  with futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda i: results.append(path, result(seed=i)), range(60)))
  assert sorted(each["seed"] for each in results.read(path)) == list(range(60))
