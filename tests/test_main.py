"""The command line: the main job as a user starts it, and mistakes as one line."""

import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from byol_jax import main
from tests import tiny
from tests.devices import xla_flags

ROOT = pathlib.Path(__file__).resolve().parents[1]


def flags_of(config, prefix="config", base=None):
  """The flags that turn the embedded preset into the tiny config."""
  flags = []
  for key, value in config.items():
    was = base.get(key) if base is not None else None
    if hasattr(value, "items"):
      flags += flags_of(value, f"{prefix}.{key}", was)
    elif value is not None and value != was:
      flags.append(f"--{prefix}.{key}={value}")
  return flags


def tiny_flags(**train):
  base = tiny.SYSTEMS["byol_gn_ws"](None)
  return flags_of(tiny.config(**train), base=base)


def command(*flags):
  return [sys.executable, "-m", "byol_jax.main", *map(str, flags)]


def run(*flags, cwd=ROOT, **env):
  return subprocess.run(
    command(*flags),
    cwd=cwd,
    env=os.environ | {"XLA_FLAGS": xla_flags(1)} | env,
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )


CONFIG = "--config=configs/byol_gn_ws.py"


def test_main_job_its_files_and_its_second_start(tmp_path):
  flags = (CONFIG, f"--workdir={tmp_path}/run", *tiny_flags())
  first = run(*flags)
  assert first.returncode == 0, first.stderr
  assert "step 4/4" in first.stderr
  folder = tmp_path / "run"
  assert sorted(p.name for p in folder.iterdir()) == [
    "checkpoints",
    "config.json",
    "encoder.json",
    "figures",
    "images.txt.gz",
    "metrics.jsonl",
    "starts.jsonl",
    "summary.json",
    "tensorboard",
  ]
  assert {p.name for p in (folder / "figures").iterdir()} == {"curves.png", "views.png"}
  summary = json.loads((folder / "summary.json").read_text())
  assert json.loads(first.stdout) == summary
  second = run(*flags)
  assert second.returncode == 0
  assert json.loads(second.stdout) == summary
  assert "step" not in second.stderr


def test_sigterm_saves_and_the_same_command_continues(tmp_path):
  flags = (CONFIG, f"--workdir={tmp_path}", *tiny_flags(steps=100_000))
  with subprocess.Popen(
    command(*flags), cwd=ROOT, stderr=subprocess.PIPE, text=True
  ) as process:
    deadline = time.monotonic() + 240
    for line in process.stderr:
      assert time.monotonic() < deadline
      if re.search(r"step [3-9]/", line):
        process.send_signal(signal.SIGTERM)
        break
    rest = process.stderr.read()
    assert process.wait(60) == 128 + signal.SIGTERM
  saved = int(re.search(r"stopped after step (\d+) and saved", rest)[1])
  assert (tmp_path / "checkpoints" / str(saved)).is_dir()
  with subprocess.Popen(
    command(*flags), cwd=ROOT, stderr=subprocess.PIPE, text=True
  ) as process:
    for line in process.stderr:
      if "step" in line:
        break
    process.kill()
  assert f"continuing from step {saved}" in line


MISTAKES = {
  "no config": ((), "name a config"),
  "unknown config": (
    ("--config=configs/nope.py",),
    "cannot read the config .configs/nope.py",
  ),
  "unknown preset": ((f"{CONFIG}:nope",), "there is no preset 'nope': choose one of"),
  "unknown key": ((CONFIG, "--config.train.stepz=1"), "no setting.*stepz.*steps"),
  "wrong type": ((CONFIG, "--config.train.steps=many"), "steps=many"),
  "key called module": ((CONFIG, "--config.encoder.module=3"), "no setting.*module"),
  "unknown section": ((CONFIG, "--config.trian.steps=1"), "no setting 'trian'"),
  "unknown flag": ((CONFIG, "--wrokdir=x"), "wrokdir"),
  "stray argument": ((CONFIG, "train"), "unexpected argument 'train'"),
  "unknown data": ((CONFIG, "--config.data.name=cifar11"), "did you mean cifar10"),
  "unprepared data": (
    (CONFIG, "--config.data.name=cifar100", "--config.data.data_dir=."),
    r"cifar100 is not prepared.*python -m byol_jax\.data\.prepare --name=cifar100",
  ),
  "indivisible batch": (
    (CONFIG, "--config.train.batch_size=10", "--config.train.accumulate=4"),
    "train.batch_size is 10: give a multiple of 4",
  ),
  "unknown split": (
    (CONFIG, "--config.probe.test=tset"),
    r"nothing for the split 'tset': it has train \(",
  ),
  "too few norms": (
    ("--config=configs/norm_ablation.py:bn-none",),
    "'bn-none' does not name the norms of encoder, projector, predictor",
  ),
  "bad warm-up": (
    (CONFIG, "--config.optimiser.warmup=5.0"),
    "optimiser.warmup is 5.0: give a share",
  ),
  "no checkpoint": (
    ("--config=configs/linear_eval.py", "--config.encoder=/nowhere"),
    "no checkpoint at /nowhere, where nothing is: give the folder of a run",
  ),
}


def test_from_another_folder_the_path_of_the_config_is_told(tmp_path):
  flags = ("--config=configs/byol.py:cifar10", "--config.seed=1", "--workdir=run")
  result = subprocess.run(
    command(*flags), cwd=tmp_path, capture_output=True, text=True, check=False
  )
  last = result.stderr.strip().splitlines()[-1]
  assert last.startswith("byol_jax: cannot read the config 'configs/byol.py")
  advised = re.search(r"did you mean (.*)\?$", last)[1]
  assert (tmp_path / advised).samefile(ROOT / "configs" / "byol.py")


def test_a_bucket_is_no_folder(tmp_path):
  result = run(CONFIG, "--workdir=gs://bucket/run", cwd=tmp_path)
  assert result.returncode == 1
  last = result.stderr.strip().splitlines()[-1]
  assert "gs://bucket/run is no folder of this machine: mount it" in last
  assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_line_and_write_nothing(tmp_path):
  # Each start takes seconds of imports, so they run side by side.
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    results = {
      name: threads.submit(run, *flags, f"--workdir={tmp_path / name}")
      for name, (flags, _) in MISTAKES.items()
    }
  for name, (_, message) in MISTAKES.items():
    result = results[name].result()
    assert result.returncode == 1, name
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("byol_jax: "), (name, result.stderr)
    assert re.search(message, last), (name, last)
    assert "Traceback" not in result.stderr, name
    assert not (tmp_path / name).exists(), name


# What may be wrong with a config file of one's own: a line of it, and the answer.
BROKEN = {
  "no section": ("del config.train", "config has no train, and pretrain needs it"),
  "no experiment": (
    "del config.experiment",
    r"broken\.py names no experiment: set config.experiment to one of knn, linear_c",
  ),
  "unknown experiment": (
    "config.experiment = 'nope'",
    "there is no experiment 'nope': choose one of knn, linear_cached, linear_eval, pr",
  ),
  "no experiment but a part of one": (
    "config.experiment = 'inputs'",
    "there is no experiment 'inputs': choose one of",
  ),
  "failing": ("1 / 0", r"the config failed: ZeroDivisionError: .*line 6 of .*broken"),
  "not Python": ("for", "the config failed: SyntaxError"),
  "not there": ("import nowhere", "the config failed: ModuleNotFoundError: .*nowhere"),
  "frozen": (
    "import ml_collections; config = ml_collections.FrozenConfigDict(config)",
    "the config cannot be changed: FrozenConfigDict is immutable",
  ),
  "nothing": ("config = None", r"broken\.py names no experiment"),
}


def test_a_broken_config_is_one_line(tmp_path):
  def start(name, line):
    file = tmp_path / name.replace(" ", "-") / "broken.py"
    file.parent.mkdir()
    file.write_text(
      "from configs import byol\n\n\ndef get_config(preset=None):\n"
      f"  config = byol.get_config(preset)\n  {line}\n  return config\n"
    )
    return run(f"--config={file}", f"--workdir={file.parent / 'run'}")

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    results = {
      name: threads.submit(start, name, line) for name, (line, _) in BROKEN.items()
    }
  for name, (_, message) in BROKEN.items():
    result = results[name].result()
    assert result.returncode == 1, name
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("byol_jax: "), (name, result.stderr)
    assert re.search(message, last), (name, last)
    assert "Traceback" not in result.stderr, name
  assert not list(tmp_path.glob("*/run"))


def test_another_configs_workdir_is_refused(tmp_path):
  (tmp_path / "config.json").write_text('{"seed": 1}')
  result = run(CONFIG, f"--workdir={tmp_path}")
  assert result.returncode == 1
  assert "holds the run of another config" in result.stderr.strip().splitlines()[-1]
  assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_views_are_shown_without_training(tmp_path):
  result = run(CONFIG, f"--workdir={tmp_path}", "--show_views", *tiny_flags())
  assert result.returncode == 0, result.stderr
  assert pathlib.Path(result.stdout.strip()).read_bytes().startswith(b"\x89PNG")
  assert [p.name for p in tmp_path.iterdir()] == ["figures"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
  subprocess.run(
    ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(tmp_path)], check=True
  )
  try:
    result = run(CONFIG, f"--workdir={tmp_path}/run", *tiny_flags())
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode == 1
    assert "space" in last.lower()
    assert "Traceback" not in result.stderr
    records = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert all("step" in json.loads(record) for record in records[:-1])
  finally:
    subprocess.run(["umount", str(tmp_path)], check=True)


LONG = "x" * 80


@pytest.mark.parametrize(
  "value",
  [
    *({}, [], None, LONG, {"a": {}}, [[LONG, []], {LONG: [LONG]}]),
    *([1.5, "\n", True], {LONG: {LONG: [1, {"a": LONG}]}}),
  ],
)
def test_a_summary_is_json_in_lines(value):
  text = main._in_lines(value)
  assert json.loads(text) == value


def test_settings_are_printed():
  flag = "--config.train.steps=7"
  done = run(f"{CONFIG}:cifar10", "--show_config", flag)
  lines = done.stdout.splitlines()
  assert "train.steps = 7" in lines
  assert 'encoder.norm = "group"' in lines
  assert "start_from = open" in lines
  assert not done.stderr


def test_what_fits_into_a_line_has_one():
  grid = [{"k": k, "held_out": 0.25} for k in range(5)]
  assert main._in_lines({"k": 3, "of_all": grid}).splitlines()[:5] == [
    "{",
    '  "k": 3,',
    '  "of_all": [',
    '    {"k": 0, "held_out": 0.25},',
    '    {"k": 1, "held_out": 0.25},',
  ]
