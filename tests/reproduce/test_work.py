"""What is run, and how, with a shell script in the place of training."""

import ast
import functools
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from byol_jax.disk import read_json, write_json
from byol_jax.errors import UserError
from reproduce import __main__ as command
from reproduce import arms, results, work
from reproduce.trials import TRIALS
from tests.reproduce import made_up

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
  "run", list(arms.runs(arms.ARMS | TRIALS)), ids=lambda run: run.id
)
def test_the_command_line_says_what_the_config_is(run):
  """Studies take an arm's config; its run takes flags."""
  name, *settings = run.flags()
  file, argument = name.removeprefix("--config=configs/").split(".py:")
  config = importlib.import_module(f"configs.{file}").get_config(argument)
  for setting in settings:
    path, value = setting.removeprefix("--config.").split("=")
    *parents, last = path.split(".")
    parent = functools.reduce(lambda found, key: found[key], parents, config)
    kind = type(parent[last])
    literal = kind in (bool, tuple)
    parent[last] = ast.literal_eval(value) if literal else kind(value)
  assert config.to_dict() == run.config(None).to_dict()


def test_records_of_another_config_are_refused(tmp_path):
  made_up.keep_run(tmp_path, "bn-tau-1", 1, 50)
  path = results.run_path(tmp_path, made_up.find("bn-tau-1", 1))
  work.check(arms.runs(arms.ARMS), tmp_path, "there")
  record = read_json(path)
  record["config"]["target"]["tau"] = 0.5
  write_json(path, record)
  message = r"bn-tau-1-seed1\.json is the record of another config .* target\.tau"
  with pytest.raises(UserError, match=message):
    work.check(arms.runs(arms.ARMS), tmp_path, "there")


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
  caplog.set_level("INFO")
  made_up.keep_run(tmp_path, "bn", 1, 50)
  assert work.train([made_up.find("bn", 1)], tmp_path, tmp_path, None) == []
  assert not (tmp_path / "logs").exists()
  assert f"0 runs to make, 1 on record in {tmp_path}" in caplog.messages
  # A folder of another config has a summary, and is refused.
  made_up.write_run(tmp_path, "bn", 2, 50)
  failing = [made_up.find("bn", 2), made_up.find("bn", 3)]
  names = ["bn-seed2", "bn-seed3"]
  assert work.train(failing, tmp_path, tmp_path, "images") == names
  asked = (tmp_path / "logs" / "bn-seed2.txt").read_text()
  assert asked.startswith("-m byol_jax.main --config=configs/byol.py:evidence ")
  assert "--config.data.data_dir=images" in asked
  assert f"--workdir={tmp_path}/runs/bn-seed2" in asked
  assert "bn-seed2 ended with 1: what went wrong" in caplog.text
  assert "bn-seed3 ended with 1: what went wrong" in caplog.text
  assert [
    result.config["seed"] for result in results.read(tmp_path, arms.ARMS)["bn"]
  ] == [1]


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
  runs = [made_up.write_run(tmp_path, "bn", seed, 50) for seed in (1, 2)]
  work.train(runs, tmp_path, tmp_path, None, jobs=2)
  assert len(results.read(tmp_path, arms.ARMS)["bn"]) == 2
  shares = {path.read_text().split()[-1] for path in meeting.iterdir()}
  assert shares == {str(core) for core in cores[:2]}


@pytest.mark.parametrize(
  ("jobs", "given", "expected"),
  [(1, None, ""), (2, None, "0.450"), (2, "0.2", "0.2")],
)
def test_runs_share_the_memory_of_a_gpu(
  tmp_path, program, monkeypatch, jobs, given, expected
):
  name = "XLA_PYTHON_CLIENT_MEM_FRACTION"
  monkeypatch.delenv(name, raising=False)
  if given:
    monkeypatch.setenv(name, given)
  monkeypatch.setattr(work, "_cores", lambda: {0, 1})
  monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
  program(f'echo "has $${name}"; exit 1'.replace("$$", "$"))
  work.train([made_up.find("bn", 1)], tmp_path, tmp_path, None, jobs=jobs)
  assert (tmp_path / "logs" / "bn-seed1.txt").read_text() == f"has {expected}\n"


def test_interrupted_runs_save_and_no_other_begins(tmp_path, program, caplog):
  program('trap "echo saved; exit 143" TERM; echo begun; while :; do sleep 0.1; done')
  log = tmp_path / "logs" / "bn-seed1.txt"
  with (
    made_up.interrupting(lambda: log.exists() and "begun" in log.read_text()),
    pytest.raises(KeyboardInterrupt),
  ):
    work.train([made_up.find("bn", seed) for seed in (1, 2)], tmp_path, tmp_path, None)
  assert log.read_text().splitlines() == ["begun", "saved"]
  assert "bn-seed1 stopped: saved" in caplog.messages
  assert [path.name for path in log.parent.iterdir()] == [log.name]


def test_what_cannot_be_kept_ends_all(tmp_path, program, monkeypatch):
  def full(*args):
    raise OSError("no space left")

  program("exit 0")
  monkeypatch.setattr(results, "keep", full)
  with pytest.raises(OSError, match="no space left"):
    work.train([made_up.find("bn", seed) for seed in (1, 2)], tmp_path, tmp_path, None)


def test_more_jobs_than_cores_are_refused(tmp_path):
  with pytest.raises(UserError, match=r"--jobs=10000: this machine has cores for 1 to"):
    work.train([made_up.find("bn", 1)], tmp_path, tmp_path, None, jobs=10_000)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["trial-bn-tau-1", "bn-tau-1"])
def test_a_trial_can_be_asked_for_by_its_name_as_an_arm_can(
  name, tmp_path, monkeypatch
):
  asked = []
  monkeypatch.setattr(command, "_prepare", lambda data_dir: None)
  monkeypatch.setattr(signal, "signal", lambda *args: None)
  monkeypatch.setattr(work, "train", lambda runs, *a, **k: asked.extend(runs) or [])
  command.main(str(tmp_path), None, None, only=[name], jobs=1, run=True)
  assert {run.name for run in asked} == {name}


def reproduce(*flags):
  """The last line of what a command that must fail says."""
  command = [sys.executable, "-m", "reproduce", *flags]
  found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert found.returncode == 1
  assert "Traceback" not in found.stderr
  return found.stderr.splitlines()[-1]


def test_without_the_images_it_says_so_in_one_line(tmp_path):
  last = reproduce(f"--data_dir={tmp_path}", f"--workdir={tmp_path}/runs")
  assert "byol_jax: cifar10 is not prepared in" in last
  assert not (tmp_path / "runs").exists()


def test_a_report_that_cannot_be_written_is_told_in_one_line(tmp_path):
  (tmp_path / "file").touch()
  last = reproduce("--norun", f"--report={tmp_path}/file/report")
  assert last.startswith(f"byol_jax: cannot use {tmp_path}/file/report")
  assert last.endswith(": Not a directory; once it can be, the same command goes on")
