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

from byol_jax import disk
from byol_jax.disk import read_json, write_json
from byol_jax.errors import UserError
from reproduce import __main__ as command
from reproduce import arms, records, work
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
  path = records.run_path(tmp_path, made_up.find("bn-tau-1", 1))
  work.check(list(arms.runs(arms.ARMS)), tmp_path, "there")
  record = read_json(path)
  record["config"]["target"]["tau"] = 0.5
  write_json(path, record)
  message = r"bn-tau-1-seed1\.json is the record of another config .* target\.tau"
  with pytest.raises(UserError, match=message):
    work.check(list(arms.runs(arms.ARMS)), tmp_path, "there")


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
  failing = work.needed(["bn"], tmp_path, tmp_path, None)
  assert caplog.messages[0] == (
    f"2 runs to make, 1 of those asked for on record in {tmp_path}; what they say is in"
    f" {tmp_path}/logs"
  )
  names = ["bn-seed2", "bn-seed3"]
  failed = work.train(failing, tmp_path, tmp_path, "images")
  assert failed == dict.fromkeys(names, "ended with 1: what went wrong")
  asked = (tmp_path / "logs" / "bn-seed2.txt").read_text()
  assert asked.startswith("-m byol_jax.main --config=configs/byol.py:evidence ")
  assert "--config.data.data_dir=images" in asked
  assert f"--workdir={tmp_path}/runs/bn-seed2" in asked
  assert "bn-seed2 ended with 1: what went wrong" in caplog.text
  assert "bn-seed3 ended with 1: what went wrong" in caplog.text
  assert [
    result.config["seed"] for result in records.read(tmp_path, arms.ARMS)["bn"]
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
  assert len(records.read(tmp_path, arms.ARMS)["bn"]) == 2
  shares = {path.read_text().split()[-1] for path in meeting.iterdir()}
  assert shares == {str(core) for core in cores[:2]}


_NEW, _OLD = "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"


@pytest.mark.parametrize(
  ("jobs", "given", "expected"),
  [
    (1, {}, ("", "")),
    (2, {}, ("0.450", "")),
    (2, {_NEW: ""}, ("0.450", "")),
    (2, {_NEW: "0.2"}, ("0.2", "")),
    (2, {_OLD: "0.2"}, ("", "0.2")),  # jaxlib takes no two of them
  ],
)
def test_runs_share_the_memory_of_a_gpu(
  tmp_path, program, monkeypatch, jobs, given, expected
):
  for name in (_NEW, _OLD):
    monkeypatch.delenv(name, raising=False)
  for name, value in given.items():
    monkeypatch.setenv(name, value)
  monkeypatch.setattr(work, "_cores", lambda: {0, 1})
  monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
  program(f'echo "${_NEW},${_OLD}"; exit 1')
  work.train([made_up.find("bn", 1)], tmp_path, tmp_path, None, jobs=jobs)
  assert (tmp_path / "logs" / "bn-seed1.txt").read_text() == f"{','.join(expected)}\n"


def train_interrupted(folder, word, seeds):
  """Trains bn until its first run says a word; the log of that run."""
  log = folder / "logs" / "bn-seed1.txt"
  with (
    made_up.interrupting(lambda: log.exists() and word in log.read_text()),
    pytest.raises(KeyboardInterrupt),
  ):
    work.train([made_up.find("bn", seed) for seed in seeds], folder, folder, None)
  return log


def test_interrupted_runs_save_and_no_other_begins(tmp_path, program, caplog):
  program('trap "echo saved; exit 143" TERM; echo begun; while :; do sleep 0.1; done')
  log = train_interrupted(tmp_path, "begun", seeds=(1, 2))
  assert log.read_text().splitlines() == ["begun", "saved"]
  assert "bn-seed1 stopped: saved" in caplog.messages
  assert [path.name for path in log.parent.iterdir()] == [log.name]


def test_a_run_that_is_interrupted_before_it_trains(tmp_path, program, caplog):
  program("echo measuring the untrained network; exec sleep 60")
  train_interrupted(tmp_path, "measuring", seeds=(1,))
  assert "bn-seed1 stopped before its first step, or after its last" in caplog.messages


def test_what_cannot_be_kept_ends_all(tmp_path, program, monkeypatch):
  def full(*args):
    raise OSError("no space left")

  program("exit 0")
  monkeypatch.setattr(records, "keep", full)
  with pytest.raises(OSError, match="no space left"):
    work.train([made_up.find("bn", seed) for seed in (1, 2)], tmp_path, tmp_path, None)


def test_more_jobs_than_cores_are_refused(tmp_path):
  work.check_jobs(1)
  for jobs in (0, 10_000):
    last = reproduce(f"--jobs={jobs}", f"--workdir={tmp_path}/runs")
    assert f"--jobs={jobs}: this machine has cores for 1 to" in last
  assert not list(tmp_path.iterdir())


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


def test_a_report_without_records_is_refused(tmp_path):
  for scale, kind in (("cpu", "runs"), ("accelerator", "accelerator")):
    last = reproduce("--norun", f"--scale={scale}", f"--report={tmp_path}/new")
    assert last.endswith(f"/new has no records in {kind}/: name the folder of a report")
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("flags", "line"),
  [
    (["--workdir="], "--workdir or --report is empty: name a folder, or leave it out"),
    (["--workdir=a[1]"], "has '[' in it, and checkpoints cannot lie there"),
    (["--only=bn,gn-ws"], "--only=bn,gn-ws: give --only once for each name"),
    (["--only=bn", "--trials"], "--trials is not for --only, which names trials too"),
    (["--minutes=5"], "--minutes is not for --scale=cpu: leave it out"),
    (["--norun", "--jobs=2"], "--jobs is not for --norun: leave it out"),
    (["--norun", "--only=bn"], "--only is not for --norun: leave it out"),
    (["--norun", "--trials"], "--trials is not for --norun: leave it out"),
    (
      ["--scale=accelerator", "--minutes=5", "--norun"],
      "--minutes is not for --norun: leave it out",
    ),
  ],
)
def test_flags_that_say_nothing_are_refused(flags, line):
  assert line in reproduce(*flags)


@pytest.fixture
def asked(monkeypatch):
  """What would be trained, by a command that trains nothing."""
  found = []
  monkeypatch.setattr(command, "_prepare", lambda data_dir: None)
  monkeypatch.setattr(signal, "signal", lambda *args: None)
  monkeypatch.setattr(work, "train", lambda runs, *a, **k: found.extend(runs) or {})
  return found


def test_the_last_line_says_what_failed_and_why(tmp_path, program, monkeypatch):
  monkeypatch.setattr(command, "_prepare", lambda data_dir: None)
  monkeypatch.setattr(signal, "signal", lambda *args: None)
  program(
    'case "$*" in *seed=2*) echo byol_jax: the loss is no number; exit 1; esac; exit 3'
  )
  with pytest.raises(UserError) as raised:
    run(tmp_path, "bn")
  assert str(raised.value) == (
    "bn-seed1, bn-seed3 ended with 3: it said nothing; bn-seed2 ended with 1: byol_jax:"
    f" the loss is no number; see {tmp_path / 'runs of it' / 'logs'}"
  )
  report = (tmp_path / "runs of it" / "report" / "report.md").read_text()
  assert "**runs missing**" in report


def run(tmp_path, *only, report=None):
  place = str(tmp_path / "runs of it")
  command.main(place, report, None, only=only, jobs=1, run=True)


@pytest.mark.parametrize("name", ["trial-bn-tau-1", "bn-tau-1"])
def test_a_trial_can_be_asked_for_by_its_name_as_an_arm_can(name, tmp_path, asked):
  run(tmp_path, name)
  assert {run.name for run in asked} == {name}


def test_a_report_that_cannot_be_written_is_known_before_any_run(tmp_path, asked):
  (tmp_path / "file").touch()
  (tmp_path / "report" / "report.md").mkdir(parents=True)
  with pytest.raises(NotADirectoryError):
    run(tmp_path, "bn", report=str(tmp_path / "file" / "report"))
  with pytest.raises(UserError, match=r"report\.md is a folder, where a file is to be"):
    run(tmp_path, "bn", report=str(tmp_path / "report"))
  assert not asked


def test_two_commands_do_not_share_a_folder(tmp_path, asked):
  (tmp_path / "runs of it").mkdir()
  held = disk.lock(tmp_path / "runs of it", "")
  with pytest.raises(UserError, match=r"another run is at work in .* choose another"):
    run(tmp_path, "bn")
  held()
  run(tmp_path, "bn")
  assert len(asked) == 3


def test_the_folder_of_another_config_is_known_before_any_run(tmp_path, asked):
  folder = tmp_path / "runs of it"
  other = made_up.write_run(folder, "bn-tau-1", 1, 50)
  os.rename(other.folder(folder), folder / "runs" / "bn-seed2")
  with pytest.raises(
    UserError, match=r"bn-seed2 holds the run of another .* \(.*target\.tau\); delete"
  ):
    run(tmp_path, "bn")
  run(tmp_path, "bn-tau-1")
  assert {run.name for run in asked} == {"bn-tau-1"}


def test_a_study_has_the_networks_trained_that_it_lacks(tmp_path):
  report = tmp_path / "report"
  for name in arms.COMPARED:
    made_up.keep_run(report, name, 1, 50)

  def needed(*names):
    return [run.id for run in work.needed(names, tmp_path, report, None)]

  assert needed("pixels", "mirror", "costs") == []
  assert needed("independence") == ["bn-seed1", "gn-ws-seed1", "none-seed1"]
  assert needed("bn", "independence") == [
    "bn-seed2",
    "bn-seed3",
    "bn-seed1",
    "gn-ws-seed1",
    "none-seed1",
  ]
  made_up.write_run(tmp_path, "gn-ws", 1, 50)
  assert needed("independence") == ["bn-seed1", "none-seed1"]


def test_the_record_of_a_network_that_is_trained_again_stays(tmp_path, program):
  program("exit 0")
  made_up.keep_run(tmp_path, "bn", 1, 50)
  again = made_up.write_run(tmp_path, "bn", 1, 90)
  assert work.train([again], tmp_path, tmp_path, None) == {}
  assert records.read(tmp_path, arms.ARMS)["bn"].accuracies("linear") == [50]


def leave(root, what):
  """Has a run left something else than it should."""
  run = made_up.write_run(root, "bn", 1, 50)
  folder = run.folder(root)
  if what == "another config":
    config = read_json(folder / "config.json")
    config["target"]["tau"] = 0.5
    write_json(folder / "config.json", config)
  elif what == "no number":
    lines = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(lines.replace('"loss": 1.0', '"loss": NaN'))
  elif what == "no curves":
    (folder / "metrics.jsonl").unlink()
  elif what == "half a summary":
    write_json(folder / "summary.json", {"linear": 0.5})
  else:
    (folder / "summary.json").write_text("{")
  return run


@pytest.mark.parametrize(
  ("what", "line"),
  [
    ("another config", "holds the run of another config (it differs in target.tau)"),
    ("no number", "has what is no number: delete it, and it is trained again"),
    ("no curves", "delete it, and it is trained again"),
    ("half a summary", "delete it, and it is trained again"),
    ("a damaged summary", "summary.json is damaged"),
  ],
)
def test_what_is_no_result_has_no_record_and_stops_no_other(
  tmp_path, program, caplog, what, line
):
  program("exit 0")
  runs = [leave(tmp_path, what), made_up.write_run(tmp_path, "bn", 2, 50)]
  assert list(work.train(runs, tmp_path, tmp_path, None)) == ["bn-seed1"]
  assert "bn-seed1 has no record: " in caplog.text
  assert line in caplog.text
  assert [p.name for p in (tmp_path / "runs").glob("*.json")] == ["bn-seed2.json"]


def test_a_log_of_any_bytes_or_none_stops_no_other(tmp_path, program, caplog):
  run = made_up.find("bn", 1)
  program(r"printf 'a\377b\n'; exit 1")
  assert list(work.train([run], tmp_path, tmp_path, None)) == ["bn-seed1"]
  assert "bn-seed1 ended with 1: a\ufffdb" in caplog.messages
  program(f"rm -r {tmp_path}/logs; exit 1")
  assert list(work.train([run], tmp_path, tmp_path, None)) == ["bn-seed1"]
  line = "bn-seed1 ended with 1: its log cannot be read: No such file or directory"
  assert line in caplog.messages


def test_what_an_earlier_start_said_is_kept_and_is_no_reason_of_the_next(
  tmp_path, program, caplog
):
  run, log = made_up.find("bn", 1), tmp_path / "logs" / "bn-seed1.txt"
  program("echo byol_jax: the disk is full; exit 1")
  work.train([run], tmp_path, tmp_path, None)
  program("kill -9 $$")
  work.train([run], tmp_path, tmp_path, None)
  assert log.read_text() == "byol_jax: the disk is full\n"
  assert "bn-seed1 ended with 1: byol_jax: the disk is full" in caplog.messages
  assert "bn-seed1 ended with -9: it said nothing" in caplog.messages


def test_a_signal_to_the_group_reaches_a_run_once(tmp_path, program):
  program("ps -o pgid= -p $$; exit 1")
  work.train([made_up.find("bn", 1)], tmp_path, tmp_path, None)
  group = int((tmp_path / "logs" / "bn-seed1.txt").read_text())
  assert group != os.getpgid(0)


def test_configs_are_found_from_any_folder(tmp_path, program, monkeypatch):
  program('echo "$@"; exit 1')
  monkeypatch.chdir(tmp_path)
  work.train([made_up.find("bn", 1)], tmp_path, tmp_path, None)
  flags = (tmp_path / "logs" / "bn-seed1.txt").read_text().split()
  (path,) = (f.removeprefix("--config=") for f in flags if f.startswith("--config="))
  assert (tmp_path / path.removesuffix(":evidence")).samefile(ROOT / "configs/byol.py")
  (line,) = (f for f in made_up.find("bn", 1).flags() if f.startswith("--config="))
  assert line == "--config=configs/byol.py:evidence"  # as the report has it


def test_a_record_of_no_arm_is_told_of(tmp_path, caplog):
  made_up.keep_run(tmp_path, "bn", 1, 50)
  path = tmp_path / "runs" / "bn-seed1.json"
  os.rename(path, path.with_name("bn-seed-1.json"))
  work.check(list(arms.runs(arms.ARMS)), tmp_path, None)
  assert (
    "bn-seed-1.json is the record of no arm or trial: it is left out" in caplog.text
  )
