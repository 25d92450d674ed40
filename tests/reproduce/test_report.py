"""The report, from records made up for it."""

import pytest

from reproduce import arms, claims, provenance, records, report
from tests.reproduce import made_up

ALL = claims.CLAIMS, claims.QUESTIONS, claims.ASKED_AFTERWARDS


def keep_studies(folder):
  companions = {"prediction": 0.5, "gradient": 0.25}
  independence = dict.fromkeys(arms.COMPARED, companions)
  cost = {
    "images_per_second": 1000.4,
    "spread": 0.04,
    "temp_mib": 99.6,
    "devices": 8,
    "collectives": {"all-reduce": {"ops": 3, "arrays": 77}},
  }
  costs = dict.fromkeys(arms.COMPARED, cost)
  followed = {
    "losses": {name: [1.0, 0.5] for name in ("byol-prime", "mirrored", "as it is")},
    "distances": {"mirrored": [1e-15, 2e-14], "as it is": [0.5, 0.75]},
  }
  pixels = {"linear": 0.41, "knn": 0.36}
  mirror = {"steps": 2, "float64": followed, "float32": followed}
  for name, found in (
    ("independence", independence),
    ("costs", costs),
    ("mirror", mirror),
    ("pixels", pixels),
  ):
    records.keep_study(name, folder, found)


def test_a_record_is_what_a_run_left(tmp_path):
  run = made_up.write_run(tmp_path / "runs", "bn-batch-64", 1, 60)
  records.keep(run, tmp_path / "runs", tmp_path)
  (result,) = records.read(tmp_path, arms.ARMS)["bn-batch-64"]
  assert result.config["seed"] == 1
  assert result.config["data"]["data_dir"] is None
  assert result.batch_size == 64
  here = provenance.here()
  assert result.made == [here | {"commit": "abc1234", "day": "2026-11-27"}]
  assert result.accuracy("linear") == pytest.approx(60)
  assert result.gain("knn") == pytest.approx(30)
  assert result.curves["spread"] == [[2, 5], [0.2, 0.12346]]
  assert result.curves["valid_knn"] == [[0, 4], [0.25, 0.33333]]
  assert result.curves["valid_lidar"] == [[0, 4], [40.0, 40.0]]
  assert result.curves.keys() == set(records.CURVES)
  assert result.lowest_spread == 0.12346


def test_renewals_are_those_of_the_schedule(tmp_path):
  for name in ("bn", "bn-tau-1", "bn-tau-0", "simclr-bn"):
    made_up.keep_run(tmp_path, name, 1, 60)
  found = records.read(tmp_path, arms.ARMS)
  config = arms.first("bn").config(None)
  steps, tau = config.train.steps, config.target.tau
  # The cosine has a mean of a half, and its first step is a whole one.
  half = (1 - tau) * (steps + 1) / 2
  assert found["bn"][0].renewals[-1] == pytest.approx(half, rel=1e-4)
  assert found["bn"][0].renewals[1] == pytest.approx(1 - tau, rel=1e-4)
  assert found["bn-tau-0"][0].renewals[-1] == steps
  assert found["bn-tau-1"][0].renewals[-1] == 0
  assert found["simclr-bn"][0].renewals[-1] == 0


@pytest.mark.parametrize("batch", arms.BATCHES)
@pytest.mark.parametrize("norm", ["bn", "gn-ws"])
def test_other_batches_have_as_many_images_and_renewals(norm, batch, tmp_path):
  seen = []
  for name in (norm, f"{norm}-batch-{batch}"):
    made_up.keep_run(tmp_path, name, 1, 60)
    (result,) = records.read(tmp_path, arms.ARMS)[name]
    steps = result.config["train"]["steps"]
    seen.append((steps * result.batch_size, result.renewals[-1]))
  assert seen[0][0] == seen[1][0]
  assert seen[0][1] == pytest.approx(seen[1][1], rel=0.01)


def test_the_report_says_what_the_folders_hold(tmp_path):
  for seed, linear in zip(arms.SEEDS, (58, 60, 62), strict=True):
    made_up.keep_run(tmp_path, "bn", seed, linear)
    made_up.keep_run(tmp_path, "bn-tau-1", seed, linear - 4, linear - 5)
    made_up.keep_run(tmp_path, "bn-np", seed, 31)
    made_up.keep_run(tmp_path, "bn-tau-0", seed, linear=42)
  made_up.keep_run(tmp_path, "bn-batch-64", 1, 51)
  made_up.keep_run(tmp_path, "gn-ws", 1, 58)
  made_up.keep_run(tmp_path, "trial-gn-ws-tau-1", 0, 44)
  keep_studies(tmp_path)
  path = report.write(tmp_path)
  text = path.read_text()
  rows = text.splitlines()

  agreed = [row for row in rows if row.endswith("| **agrees** |")]
  bn, frozen = "60.0 ± 2.0 / 60.0 ± 2.0", "56.0 ± 2.0 / 55.0 ± 2.0"
  assert f"| bn: {bn} |" in agreed[0]
  assert f"| bn-tau-1: {frozen}<br>bn: {bn} |" in agreed[1]
  behind = "-4.0 (-4.0 to -4.0) / -5.0 (-5.0 to -5.0)"
  assert agreed[1].endswith(f"| {behind} | **agrees** |")
  assert agreed[0].endswith("|  | **agrees** |")  # goes by no difference of arms
  assert "BYOL without a predictor learns nothing" in agreed[2]
  assert len(agreed) == 3
  assert (
    f"Of {len(claims.CLAIMS)} claims the runs agree with 3 and disagree with 0. Not"
    f" decided at this scale: 1; runs missing: {len(claims.CLAIMS) - 4}." in text
  )
  open_ = "with a target that is the online network (tau = 0) BYOL learns nothing"
  assert f"- Not decided: {open_}." in rows
  assert (
    f"The gate is passed: bn: {bn}, bn-tau-1: {frozen}; raw pixels: 41.0 / 36.0" in text
  )
  verdicts = sum("| **" in row for row in rows)
  assert verdicts == sum(map(len, ALL))
  missing = [row for row in rows if "**runs missing**" in row]
  assert all("not run" in row or "1 of 3 runs" in row for row in missing)

  difference = "+4.0 (+4.0 to +4.0) / +5.0 (+5.0 to +5.0)"
  assert f"| bn | {bn} | {frozen} | not run | {difference} |" in rows
  assert "| bn | 0.5 | 0.25 |" in rows
  assert "| bn | 1000 ±2% | 100 | 3 | 77 |" in rows
  assert "at the end 2e-14 and 0.75 in float64" in text
  probe = "60.0 ± 2.0 | 30.0 ± 0.0 | 30.0 ± 2.0"
  accuracies = f"{probe} | 60.0 ± 2.0 | {probe}"
  spreads, ranks = "0.90 ± 0.00 | 0.12 ± 0.00", "30 ± 0 | 40 ± 0 | 10 / 11"
  health = f"0.50 / 0.25 | 0.50 / 0.25 | {spreads} | {ranks}"
  assert any(row.startswith(f"| bn | 3 | {accuracies} | {health} |") for row in rows)
  assert any(row.startswith("| raw pixels |  | 41.0 |  |  |  | 36.0 |") for row in rows)
  trial = "| gn-ws-tau-1 | 44.0 | 30.0 | 14.0 | 44.0 | 44.0 | 30.0 | 14.0 |"
  assert any(row.startswith(trial) for row in rows)
  assert "| invariance | 0.00 (0.00) | 0.00 (0.00) | 0.0 (0.0) |" in rows
  here = provenance.here()
  assert f"- versions: {here['versions']}" in rows
  assert "- hours of a core: 8, of 15 runs" in rows
  assert "Studies to come" not in text
  commits = [row for row in rows if row.startswith("- commit: ")]
  assert commits == [f"- commit: abc1234; {here['commit']}"]
  pictures = {p.name for p in path.parent.glob("*.png")}
  names = ("bootstrap", "collapse", "batch-size", "mirror")
  assert pictures == {f"{name}.png" for name in names}
  assert all(f"]({name})" in text for name in pictures)


def test_only_the_same_seeds_are_paired(tmp_path):
  for seed in (1, 2):
    made_up.keep_run(tmp_path, "gn-ws", seed, 50 + seed)
    made_up.keep_run(tmp_path, "bn", seed, 50 + seed)
  for seed in (2, 3):
    made_up.keep_run(tmp_path, "bn-tau-1", seed, 40 + seed)
  for seed in (1, 2):
    made_up.keep_run(tmp_path, "gn-ws-tau-1", seed, 40 + seed)
  rows = report.write(tmp_path).read_text().splitlines()
  of = {row.split(" |")[0]: row for row in rows if "not run |" in row}
  assert of["| gn-ws"].endswith("| +10.0 (+10.0 to +10.0) / +10.0 (+10.0 to +10.0) |")
  assert of["| bn"].endswith("| not run |  |")


def test_a_gate_that_is_not_passed_is_said(tmp_path):
  for seed in arms.SEEDS:
    made_up.keep_run(tmp_path, "bn", seed, 50)
    made_up.keep_run(tmp_path, "bn-tau-1", seed, 49)
  keep_studies(tmp_path)
  assert "The gate is **not passed**: bn: 50.0" in report.write(tmp_path).read_text()


def test_there_is_a_report_before_any_run(tmp_path):
  text = report.write(tmp_path / "out").read_text()
  assert "](../" not in text  # to a page that is not there
  missing = text.count("| **runs missing** |")
  assert "## Batches" not in text
  assert not (tmp_path / "out" / "batch-size.png").exists()
  assert missing == sum(map(len, ALL))
  assert "raw pixels: not measured" in text
  assert f"Studies to come: {', '.join(arms.STUDIES)}." in text
