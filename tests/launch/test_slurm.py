"""Hosts under SLURM find each other and work, and what was told to stop runs again."""

import json
import os
import subprocess

import pytest

from byol_jax.errors import OtherHost
from tests.launch.played import LAUNCH, ROOT, environment, play

SRUN = """#!/bin/bash
# Two nodes, both of which are this machine.
shift
export SLURM_LOCALID=0 SLURM_NTASKS=2 SLURM_STEP_NODELIST=localhost
SLURM_PROCID=0 "$@" & first=$!
SLURM_PROCID=1 "$@" & second=$!
wait $first; one=$?
wait $second; two=$?
exit $((one > two ? one : two))
"""
SCONTROL = '#!/bin/bash\necho "$*" >>"$ASKED"\n'


def submit(folder, *arguments):
  """Runs the script as sbatch would; what it asks scontrol for goes to `asked`."""
  play(folder, "srun", SRUN)
  play(folder, "scontrol", SCONTROL)
  return subprocess.run(
    ["bash", LAUNCH / "slurm.sh", *arguments],
    cwd=ROOT,
    env=environment(
      folder,
      ASKED=str(folder / "asked"),
      JAX_PLATFORMS="cpu",
      SLURM_CPUS_PER_TASK="4",
      SLURM_GPUS_ON_NODE="3",
      SLURM_JOB_ID=str(os.getpid()),  # of which JAX makes the port
    ),
    capture_output=True,
    text=True,
    check=False,
  )


def test_slurm_hosts_find_each_other_and_work(tmp_path):
  done = submit(
    tmp_path,
    *("--config=configs/knn.py", "--config.encoder=tests/golden/run"),
    *("--config.data.train=train[:80]", "--config.data.test=test[:30]"),
    *("--config.data.held_out=20", f"--workdir={tmp_path}/knn"),
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr.count("2 device(s) (cpu) on 2 host(s)") == 2
  summary = json.loads((tmp_path / "knn" / "summary.json").read_text())
  assert summary["test_images"] == 30
  assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
  ("status", "again"), [(143, True), (0, False), (1, False), (OtherHost.STATUS, False)]
)
def test_slurm_runs_again_what_was_told_to_stop(tmp_path, status, again):
  said = tmp_path / "said"
  code = f'#!/bin/bash\necho "$JAX_LOCAL_DEVICE_IDS $*" >>{said}\nexit {status}\n'
  play(tmp_path, "python", code)
  done = submit(tmp_path, "--config.data.train=train[:5%]", "--workdir=a b")
  assert done.returncode == status
  flags = "-m byol_jax.main --distributed --config.data.train=train[:5%] --workdir=a b"
  assert said.read_text().splitlines() == [f"0,1,2 {flags}"] * 2
  asked = tmp_path / "asked"
  assert (asked.read_text() if again else asked.exists()) == (
    f"requeue {os.getpid()}\n" if again else False
  )
