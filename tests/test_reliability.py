"""What docs/reliability.md promises has a test, and its numbers have records."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
RECORDS = sorted((ROOT / "docs" / "reliability").glob("*.json"))


def test_each_row_has_a_test_that_is_there():
  rows = [line for line in PAGE.splitlines() if line.count("|") == 4]
  named = re.findall(r"`(tests/\S+)::(\w+)`", PAGE)
  told = [row for row in rows if "what follows" not in row and "---" not in row]
  assert len(named) == len(told) > 40
  for file, test in named:
    assert f"\ndef {test}(" in (ROOT / file).read_text(), (file, test)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_numbers_are_those_of_the_records(path):
  record = json.loads(path.read_text())
  row = next(
    line for line in PAGE.splitlines() if line.startswith(f"| `{path.stem}` |")
  )
  cells = [cell.strip() for cell in row.strip("|").split("|")]
  assert cells[2:4] == [
    f"{record['trials']:,}".replace(",", " "),
    str(record["passed"]),
  ]
  assert record["commit"] in row
  assert record["date"] in row
