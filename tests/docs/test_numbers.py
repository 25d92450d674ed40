"""Accuracies in the tables of the pages are those of the records."""

import json
import re
from pathlib import Path

import pytest

from tests.docs import tables

_ROOT = Path(__file__).resolve().parents[2]
_RECORDS = _ROOT / "docs" / "reproduction" / "accelerator"
_PROBES = ("knn", "linear")


def accuracies(stage, features="encoder"):
  found = json.loads((_RECORDS / f"{stage}.json").read_text())["found"]
  return [f"{100 * found[probe][features]:.1f}" for probe in _PROBES]


def test_the_main_job():
  summary = json.loads((_ROOT / "docs" / "results" / "embedded.json").read_text())[
    "summary"
  ]
  _, _, *found = tables.read("docs/results.md", "## The embedded photographs")
  for (name, *row), probe in zip(found, _PROBES, strict=True):
    assert (name.lower(), row) == (
      probe,
      [f"{100 * summary[probe][f]:.1f}" for f in ("encoder", "untrained", "pixels")],
    )
  knn, linear = (f"{100 * summary[probe]['encoder']:.1f} %" for probe in _PROBES)
  questions = (_ROOT / "docs" / "faq.md").read_text()
  assert f"{knn} kNN and {linear} linear" in questions
  speed = f"{summary['images_per_second']:.0f}"
  assert f"[{speed}](docs/results.md)" in (_ROOT / "README.md").read_text()
  page = (_ROOT / "docs" / "results.md").read_text()
  assert f"at {speed} images/s" in " ".join(page.split())


@pytest.mark.parametrize(
  ("name", "stage"),
  [
    ("BYOL, batch norm", "bn"),
    ("BYOL, GN + WS", "gn-ws"),
    ("the same, another seed", "gn-ws-seed-1"),
    ("the same, target moves at once", "gn-ws-at-once"),
    ("BYOL, no norm", "none"),
    ("BYOL, GN + WS, target never moves", "gn-ws-tau-1"),
    ("BYOL, batch norm, target never moves", "bn-tau-1"),
    ("SimCLR, batch norm", "simclr"),
    ("SimCLR, GN + WS", "simclr-gn-ws"),
  ],
)
def test_the_table_of_the_first_hour(name, stage):
  table = tables.rows("docs/scale.md", "### What came of the first hour")
  assert len(table) == 2 + 9  # a heading, a line, the runs
  assert table[name] == accuracies(stage) + accuracies(stage, "untrained")


@pytest.mark.parametrize(
  ("name", "stage", "fixed"),
  [
    ("BYOL, batch norm", "bn", "bn-tau-1"),
    ("BYOL, group norm and standardised weights", "gn-ws", "gn-ws-tau-1"),
    ("BYOL, no norm", "none", None),
    ("SimCLR, batch norm", "simclr", None),
    ("SimCLR, group norm and standardised weights", "simclr-gn-ws", None),
  ],
)
def test_the_table_of_the_readme(name, stage, fixed):
  table = tables.rows("README.md", "## Check the papers")
  assert len(table) == 2 + 5
  assert table[name][:2] == accuracies(stage)
  if fixed:
    assert table[name][2:] == accuracies(fixed)
  else:
    assert not re.search(r"\d", " ".join(table[name][2:]))
