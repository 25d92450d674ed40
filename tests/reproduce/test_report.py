"""The report, from records made up for it, and what the README has of ours."""

import re
from pathlib import Path

import pytest

from reproduce import arms, claims, provenance, report, results
from tests.reproduce import made_up

ROOT = Path(__file__).parents[2]


def keep_studies(folder):
  independence = {"bn": {"prediction": 0.5, "gradient": 0.25}}
  costs = {
    "bn": {
      "images_per_second": 1000.4,
      "spread": 0.04,
      "temp_mib": 99.6,
      "devices": 8,
      "collectives": {"all-reduce": {"ops": 3, "arrays": 77}},
    }
  }
  followed = {
    "losses": {name: [1.0, 0.5] for name in ("byol-prime", "mirrored", "as it is")},
    "distances": {"mirrored": [1e-15, 2e-14], "as it is": [0.5, 0.75]},
  }
  agreement = {"over_runs": 0.5, "within_runs": -0.25, "lost": 1.25}
  score = {
    "runs": {name: [{"step": 0, "linear": 0.3}] * 4 for name in ("bn", "none")},
    "agreement": {
      "lidar": agreement | {"untrained_first": 0.5},
      "rankme": agreement | {"over_runs": 0.75, "untrained_first": 1.0},
    },
  }
  mirror = {"steps": 2, "float64": followed, "float32": followed}
  for name, found in (
    ("independence", independence),
    ("costs", costs),
    ("mirror", mirror),
    ("score", score),
  ):
    results.keep_study(name, folder, found)


def test_a_record_is_what_a_run_left(tmp_path):
  run = made_up.write_run(tmp_path / "runs", "bn", 1, 0.6)
  results.keep(run, tmp_path / "runs", tmp_path)
  (result,) = results.read(tmp_path)["bn"]
  assert result.config["seed"] == 1
  assert result.images_together == 64
  assert result.made == [provenance.here()]
  assert (result.linear, result.knn, result.gain) == pytest.approx((60, 60, 30))
  assert result.curves == {
    "loss": [[2, 5], [1.0, 1.0]],
    "spread": [[2, 5], [0.2, 0.12346]],
    "valid_knn": [[4], [0.33333]],
    "valid_effective_rank": [[4], [20.0]],
  }
  assert result.lowest_spread == 0.12346


def test_the_report_says_what_the_folders_hold(tmp_path):
  for seed, linear in enumerate((0.58, 0.60, 0.62), arms.FIRST_SEED):
    made_up.keep_run(tmp_path, "bn", seed, linear)
  made_up.keep_run(tmp_path, "bn-np", 1, 0.31, spread=0.01)
  made_up.keep_run(tmp_path, "gn-ws", 1, 0.58)
  keep_studies(tmp_path)
  path = report.write(tmp_path)
  text = path.read_text()
  rows = text.splitlines()

  agreed = [row for row in rows if row.endswith("| **agrees** |")]
  assert "| bn: 60.0 ± 2.0 (+30.0) |" in agreed[0]
  assert "bn-np: 31.0 (+1.0), 1 of 1 collapsed |" in agreed[1]
  assert agreed[2:] == []
  assert f"Of {len(claims.CLAIMS)} claims the runs agree with 2 and" in text
  verdicts = sum("| **" in row for row in rows)
  assert verdicts == len(claims.CLAIMS) + len(claims.QUESTIONS)
  missing = [row for row in rows if "**not decided**" in row]
  assert all("not run" in row or "1 of 3 runs" in row for row in missing)

  assert "| bn | 0.5 | 0.25 |" in rows
  assert "| bn | 1000 ±2% | 100 | 3 | 77 |" in rows
  assert "at the end 2e-14 and 0.75 in float64" in text
  best = rows.index("| rankme | 0.75 | -0.25 | 1.2 | 2 of 2 |")
  assert rows[best + 1] == "| lidar | 0.50 | -0.25 | 1.2 | 1 of 2 |"
  assert "2 short runs with one seed, 8 networks" in text
  row = "| bn | 3 | 60.0 ± 2.0 | 30.0 ± 0.0 | 60.0 ± 2.0 | 30.0 ± 0.0 |"
  assert any(line.startswith(row) for line in rows)
  assert f"- versions: {provenance.here()['versions']}" in rows
  pictures = {p.name for p in path.parent.glob("*.png")}
  assert pictures == {"collapse.png", "batch-size.png", "mirror.png"}
  assert all(f"]({name})" in text for name in pictures)


def test_there_is_a_report_before_any_run(tmp_path):
  text = report.write(tmp_path / "out").read_text()
  open_ = text.count("**not decided**")
  assert open_ == len(claims.CLAIMS) + len(claims.QUESTIONS)


def test_the_readme_has_the_numbers_of_our_records():
  found = results.read(ROOT / "docs" / "reproduction")
  row = r"^\| `([\w-]+)` \| [^|]+ \| ([\d.]+ ± [\d.]+) \| ([+-][\d.]+) \|$"
  rows = re.findall(row, (ROOT / "README.md").read_text(), re.MULTILINE)
  assert rows
  for name, linear, gain in rows:
    assert linear == found[name].show(lambda result: result.linear), name
    assert gain == f"{found[name].mean(lambda result: result.gain):+.1f}", name
