"""results.jsonl: lines that are there once, whatever happens."""

import json
from concurrent import futures

import pytest

from byol_jax.errors import UserError
from byol_jax.run import results

RESULT = {"protocol": "knn", "metric": "top_1", "value": 0.5, "encoder": {"step": 1}}


def test_a_line_says_with_what_and_when(tmp_path):
  results.append(tmp_path / "new" / "results.jsonl", RESULT)
  (found,) = results.read(tmp_path / "new" / "results.jsonl")
  assert RESULT.items() <= found.items()
  assert {"byol_jax", "commit", "time"} <= found.keys()


def test_lines_are_appended_and_the_same_result_is_there_once(tmp_path):
  path = tmp_path / "results.jsonl"
  for value in (0.5, 0.6, 0.5, 0.6):
    results.append(path, {**RESULT, "value": value, "setting": {"k": (1, 2)}})
  assert [each["value"] for each in results.read(path)] == [0.5, 0.6]


def test_half_a_line_gives_way_to_the_next(tmp_path):
  path = tmp_path / "results.jsonl"
  results.append(path, RESULT)
  whole = path.read_text()
  path.write_text(whole + whole[:40])
  assert len(results.read(path)) == 1
  results.append(path, {**RESULT, "value": 0.7})
  assert [each["value"] for each in results.read(path)] == [0.5, 0.7]


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"step": 1}', "\udcff"])
def test_a_damaged_line_is_named_and_nothing_is_lost(tmp_path, line):
  path = tmp_path / "results.jsonl"
  results.append(path, RESULT)
  text = path.read_bytes() + line.encode("utf8", "surrogateescape") + b"\n"
  path.write_bytes(text)
  for use in (results.read, lambda p: results.append(p, {**RESULT, "value": 0.7})):
    with pytest.raises(UserError, match="is damaged in line 2: delete that line"):
      use(path)
  assert path.read_bytes() == text


def test_what_cannot_be_written_or_read_is_one_line(tmp_path):
  with pytest.raises(UserError, match=r"cannot write .*choose another --config\.res"):
    results.append(tmp_path, RESULT)
  with pytest.raises(UserError, match=r"cannot read .*No such file"):
    results.read(tmp_path / "none.jsonl")


def test_several_append_side_by_side(tmp_path, monkeypatch):
  monkeypatch.setattr(results.provenance, "commit", lambda: None)
  path = tmp_path / "results.jsonl"
  with futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda i: results.append(path, {**RESULT, "value": i}), range(60)))
  assert sorted(each["value"] for each in results.read(path)) == list(range(60))
  assert all(json.loads(line) for line in path.read_text().splitlines())
