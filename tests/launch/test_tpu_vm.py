"""The workers of a TPU VM are set up, started and stopped from another machine."""

import subprocess
from pathlib import Path

import pytest

from tests.launch.played import LAUNCH, ROOT, environment, play, until

GCLOUD = """#!/bin/bash
# Two workers, each of which is a folder of this machine.
echo "$*" >>"$ASKED"
case "$*" in
  *" ssh "*" --worker=all "*) workers="0 1" ;;
  *" ssh "*) workers=0 ;;
  *) for i in 0 1; do cp "$5" "$WORKERS/$i"; done; exit ;;
esac
for argument; do
  case "$argument" in --command=*) command="${argument#--command=}" ;; esac
done
for i in $workers; do
  cd "$WORKERS/$i" && HOME="$PWD" bash -c "$command" || exit
done
"""
# Stands for uv and for both Pythons.
WORKER = """#!/bin/bash
printf '%s\\n' "$@" >>"$HOME/said"
if [ "$1" = venv ]; then
  mkdir -p .venv/bin && cp "$0" .venv/bin/python
elif [ "$2" = byol_jax.main ]; then
  trap 'exit 143' TERM
  for _ in {1..300}; do sleep 0.1; done
fi
"""


@pytest.fixture
def tpu_vm(tmp_path):
  """Calls the script on two workers, the folders 0 and 1."""
  for name in ("0", "1"):
    (tmp_path / name).mkdir()
  play(tmp_path, "gcloud", GCLOUD)
  play(tmp_path, "uv", WORKER)
  play(tmp_path, "python3", WORKER)
  values = {"WORKERS": str(tmp_path), "ASKED": str(tmp_path / "asked")}

  def call(*arguments):
    return subprocess.run(
      [LAUNCH / "tpu_vm.sh", "mine", "us-east1-d", *arguments],
      cwd=ROOT,
      env=environment(tmp_path, **values),
      capture_output=True,
      text=True,
      check=False,
      timeout=60,
    )

  return call


def test_tpu_workers_are_set_up_started_and_stopped(tpu_vm, tmp_path):
  for _ in range(2):  # a second time takes a newer HEAD there
    done = tpu_vm("install")
    assert done.returncode == 0, done.stderr
  head = ["git", "rev-parse", "HEAD"]
  expected = subprocess.check_output(head, cwd=ROOT)
  workers = [tmp_path / name / "byol_jax" for name in ("0", "1")]
  assert [subprocess.check_output(head, cwd=w) for w in workers] == [expected] * 2

  given = [
    "--config=configs/byol.py",
    "--config.data.train=train[:5%]",
    "--workdir=a b",
  ]
  assert tpu_vm("start", *given).returncode == 0
  again = tpu_vm("start", *given)
  assert again.returncode != 0
  assert "at work already" in again.stderr
  for worker in workers:
    until(lambda file: "--workdir=a b" in file.read_text(), worker.parent / "said")
    said = (worker.parent / "said").read_text().splitlines()
    assert said[-6:] == ["-m", "byol_jax.main", "--distributed", *given]

  pids = [int((worker / "run.pid").read_text()) for worker in workers]
  assert tpu_vm("stop").returncode == 0
  for pid in pids:
    until(has_ended, pid)
  assert "--zone=us-east1-d" in (tmp_path / "asked").read_text().splitlines()[-1]


def test_tpu_script_says_how_it_is_used(tpu_vm):
  done = tpu_vm("begin")
  assert done.returncode == 1
  assert done.stderr.startswith("usage: ")


def has_ended(pid):
  """Whether a process is no longer at work, be it that nobody has waited for it."""
  try:
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
  except FileNotFoundError:
    return True
