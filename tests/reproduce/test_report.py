"""The report, from folders made up for it and from what is run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from byol_jax.errors import UserError
from byol_jax.rundir import write_json
from reproduce import arms, claims, provenance, report, results, work

ROOT = Path(__file__).parents[2]


def write_run(root, name, seed, linear, untrained=0.3, spread=0.9):
  """What a run that has come to its end leaves in its folder."""
  run = arms.Run(name, seed)
  folder = run.folder(root)
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
  write_json(folder / "config.json", {"seed": seed})
  write_json(folder / "summary.json", summary)
  records = [
    {"step": 2, "loss": 1.0, "spread": 0.2},
    {"step": 4, "valid_knn": 1 / 3, "valid_effective_rank": 20.0},
    {"step": 5, "loss": 1.0, "spread": 0.123456789},
  ]
  lines = "".join(json.dumps(record) + "\n" for record in records)
  (folder / "metrics.jsonl").write_text(lines)
  provenance.note(root, run)
  return run


def keep_run(folder, name, *args, **kwargs):
  """Its record."""
  run = write_run(folder / "runs-of-it", name, *args, **kwargs)
  results.keep(run, folder / "runs-of-it", folder)


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
  mirror = {"steps": 2, "float64": followed, "float32": followed}
  for name, found in (
    ("independence", independence),
    ("costs", costs),
    ("mirror", mirror),
  ):
    results.keep_study(name, folder, found)


def test_a_record_is_what_a_run_left(tmp_path):
  run = write_run(tmp_path / "runs", "bn", 1, 0.6)
  results.keep(run, tmp_path / "runs", tmp_path)
  (result,) = results.read(tmp_path)["bn"]
  assert result.config == {"seed": 1}
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
    keep_run(tmp_path, "bn", seed, linear)
  keep_run(tmp_path, "bn-np", 1, 0.31, spread=0.01)
  keep_run(tmp_path, "gn-ws", 1, 0.58)
  keep_studies(tmp_path)
  path = report.write(tmp_path)
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
  assert "at the end 2e-14 and 0.75 in float64" in text
  row = "| bn | 3 | 60.0 ± 2.0 | 30.0 ± 0.0 | 60.0 ± 2.0 | 30.0 ± 0.0 |"
  assert any(line.startswith(row) for line in rows)
  assert f"- versions: {provenance.here()['versions']}" in rows
  pictures = {p.name for p in path.parent.glob("*.png")}
  assert pictures == {"collapse.png", "batch-size.png", "mirror.png"}
  assert all(f"]({name})" in text for name in pictures)


def test_there_is_a_report_before_any_run(tmp_path):
  text = report.write(tmp_path / "out").read_text()
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


@pytest.fixture
def program(tmp_path, monkeypatch):
  """Puts a shell script in Python's place; it is given the run's command."""

  def write(script):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(work.sys, "executable", str(path))

  return write


def test_a_run_with_a_record_is_left_alone_and_a_failed_one_is_told_of(
  tmp_path, program, caplog
):
  program('echo "$@"\necho what went wrong\nexit 1')
  keep_run(tmp_path, "bn", 1, 0.5)
  assert work.train([arms.Run("bn", 1)], tmp_path, tmp_path, None, 1) == []
  assert not (tmp_path / "logs").exists()
  # A folder of another config has a summary, and is refused.
  write_run(tmp_path, "bn", 2, 0.5)
  failing = [arms.Run("bn", 2), arms.Run("bn", 3)]
  names = ["bn-seed2", "bn-seed3"]
  assert work.train(failing, tmp_path, tmp_path, "images", 1) == names
  asked = (tmp_path / "logs" / "bn-seed2.txt").read_text()
  assert asked.startswith("-m byol_jax.main --config=configs/byol.py:evidence ")
  assert "--config.data.data_dir=images" in asked
  assert f"--workdir={tmp_path}/runs/bn-seed2" in asked
  assert "bn-seed2 ended with 1: what went wrong" in caplog.text
  assert "bn-seed3 ended with 1: what went wrong" in caplog.text
  assert [result.config["seed"] for result in results.read(tmp_path)["bn"]] == [1]


def test_runs_share_the_cores(tmp_path, program, monkeypatch):
  cores = sorted(os.sched_getaffinity(0))
  if len(cores) < 2:
    pytest.skip("needs two cores")
  # Each waits until the other has begun too.
  meeting = tmp_path / "meeting"
  meeting.mkdir()
  program(
    f"sleep 0.5; taskset -pc $$ > {meeting}/$$; for i in $(seq 100); do"
    f" [ $(ls {meeting} | wc -l) = 2 ] && exit 0; sleep 0.1; done; exit 1"
  )
  monkeypatch.setattr(work, "_cores", lambda: set(cores[:2]))
  runs = [write_run(tmp_path, "bn", seed, 0.5) for seed in (1, 2)]
  work.train(runs, tmp_path, tmp_path, None, 2)
  assert len(results.read(tmp_path)["bn"]) == 2
  shares = {path.read_text().split()[-1] for path in meeting.iterdir()}
  assert shares == {str(core) for core in cores[:2]}


def test_more_jobs_than_cores_are_refused(tmp_path):
  with pytest.raises(UserError, match=r"--jobs=10000: this machine has cores for 1 to"):
    work.train([arms.Run("bn", 1)], tmp_path, tmp_path, None, 10_000)
  assert not list(tmp_path.iterdir())


def test_without_the_images_it_says_so_in_one_line(tmp_path):
  command = [sys.executable, "-m", "reproduce", f"--data_dir={tmp_path}"]
  command += [f"--workdir={tmp_path}/runs"]
  found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert found.returncode == 1
  assert "reproduce: cifar10 is not prepared in" in found.stderr.splitlines()[-1]
  assert "Traceback" not in found.stderr
  assert not (tmp_path / "runs").exists()
