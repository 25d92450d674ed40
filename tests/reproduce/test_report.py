"""The report, from folders made up for it and from what is run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reproduce import arms, claims, provenance, report, work

ROOT = Path(__file__).parents[2]


def write_run(root, name, seed, linear, untrained=0.3, spread=0.9):
  """What a run that has come to its end leaves behind."""
  folder = arms.Run(name, seed).folder(root)
  folder.mkdir(parents=True)
  accuracies = {"encoder": linear, "untrained": untrained}
  summary = {
    "linear": accuracies,
    "knn": accuracies,
    "spread": spread,
    "effective_rank": 20.0,
    "collapsed": spread < 0.1,
    "images_seen": 1280,
    "steps": 10,
  }
  (folder / "summary.json").write_text(json.dumps(summary))
  records = [{"step": n, "loss": 1.0, "spread": 0.1 * n} for n in (2, 5)]
  lines = "".join(json.dumps(record) + "\n" for record in records)
  (folder / "metrics.jsonl").write_text(lines)
  provenance.write(root, folder.name)


def write_studies(root):
  folder = root / "studies"
  folder.mkdir()
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
  apart = {"rest": [0.1, 0.2], "W": [0.1, 0.2]}
  names = ("byol-prime", "mirrored", "as it is")
  mirror = {
    "steps": 2,
    "losses": {name: [1.0, 0.5] for name in names},
    "mirrored": apart,
    "as it is": apart,
  }
  for name, found in (
    ("independence", independence),
    ("costs", costs),
    ("mirror", mirror),
  ):
    (folder / f"{name}.json").write_text(json.dumps(found))


def test_the_report_says_what_the_folders_hold(tmp_path):
  for seed, linear in enumerate((0.58, 0.60, 0.62)):
    write_run(tmp_path, "bn", seed, linear)
  write_run(tmp_path, "bn-np", 0, 0.31, spread=0.01)
  write_run(tmp_path, "gn-ws", 0, 0.58)
  write_studies(tmp_path)
  path = report.write(tmp_path, tmp_path / "out")
  text = path.read_text()
  rows = text.splitlines()

  decided = [row for row in rows if row.startswith("| BYOL")]
  assert "| bn: 60.0 ± 2.0 (+30.0) | **agrees** |" in decided[0]
  assert any("bn-np: 31.0 (+1.0), 1 of 1 collapsed | **agrees**" in r for r in decided)
  verdicts = sum("| **" in row for row in rows)
  assert verdicts == len(claims.CLAIMS)
  missing = [row for row in rows if "**not decided**" in row]
  assert all("not run" in row or "1 of 3 runs" in row for row in missing)

  assert "| bn | 0.5 | 0.25 |" in rows
  assert "| bn | 1000 ±2% | 100 | 3 | 77 |" in rows
  row = "| bn | 3 | 60.0 ± 2.0 | 30.0 ± 0.0 | 60.0 ± 2.0 | 30.0 ± 0.0 |"
  assert any(line.startswith(row) for line in rows)
  assert f"- versions: {provenance.here()['versions']}" in rows
  pictures = {p.name for p in path.parent.glob("*.png")}
  assert pictures == {"collapse.png", "batch-size.png", "mirror.png"}
  assert all(f"]({name})" in text for name in pictures)


def test_there_is_a_report_before_any_run(tmp_path):
  text = report.write(tmp_path, tmp_path / "out").read_text()
  assert text.count("**not decided**") == len(claims.CLAIMS)


@pytest.mark.parametrize(
  "run", list(arms.runs()), ids=lambda run: f"{run.arm}-{run.seed}"
)
def test_the_command_line_says_what_the_config_is(run):
  """Studies take an arm's config; its run takes flags."""
  config = arms.config(run.arm, run.seed, None).to_dict()
  name, *settings = run.flags()
  file = name.removeprefix("--config=configs/").partition(".py:")
  assert arms.ARMS[run.arm].config.partition(":")[0] == file[0]
  for setting in settings:
    path, _, value = setting.removeprefix("--config.").partition("=")
    found = config
    for key in path.split("."):
      found = found[key]
    assert str(found) == value


def test_a_complete_run_is_left_alone_and_a_failed_one_is_told_of(
  tmp_path, monkeypatch, caplog
):
  """A program that fails stands in for Python."""
  program = tmp_path / "python"
  program.write_text('#!/bin/sh\necho "$@"\necho what went wrong\nexit 1\n')
  program.chmod(0o755)
  monkeypatch.setattr(work.sys, "executable", str(program))
  write_run(tmp_path, "bn", 0, 0.5)
  work.train(arms.Run("bn", 0), tmp_path, None)
  assert not (tmp_path / "logs").exists()
  work.train(arms.Run("bn", 1), tmp_path, "images")
  asked = (tmp_path / "logs" / "bn-seed1.txt").read_text()
  assert asked.startswith("-m byol_jax.main --config=configs/byol.py:evidence ")
  assert "--config.data.data_dir=images" in asked
  assert f"--workdir={tmp_path}/runs/bn-seed1" in asked
  assert "bn-seed1 ended with 1: what went wrong" in caplog.text


def test_without_the_images_it_says_so_in_one_line(tmp_path):
  command = [sys.executable, "-m", "reproduce", f"--data_dir={tmp_path}"]
  command += [f"--workdir={tmp_path}/runs"]
  found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert found.returncode == 1
  assert "reproduce: cifar10 is not prepared in" in found.stderr.splitlines()[-1]
  assert "Traceback" not in found.stderr
  assert not (tmp_path / "runs").exists()
