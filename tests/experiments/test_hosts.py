"""Evaluations on two hosts, whose files are not shared, come to what one host finds."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from byol_jax.run import results
from tests.devices import xla_flags

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys
from byol_jax import cluster, commands, parallel
commands.set_up()
if sys.argv[2] != "1":
  cluster.join()
from byol_jax.run.folder import RunDir
from configs import knn as configs_knn
from experiments import knn
config = configs_knn.get_config()
config.encoder = "tests/golden/run"
config.data.update(train="train[:81]", test="test[:31]", held_out=20)
config.eval.batch_size = 40
summary = knn.run(config, RunDir(sys.argv[1], parallel.is_first_host()))
print(json.dumps(summary))
"""


def evaluated(folder, hosts):
  """What each host's process prints."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  environment = {
    "XLA_FLAGS": xla_flags(2),
    "JAX_PLATFORMS": "cpu",
    "JAX_COORDINATOR_ADDRESS": address,
    "JAX_NUM_PROCESSES": str(hosts),
  }
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", PROGRAM, str(folder / str(host) / "out"), str(hosts)],
      cwd=ROOT,
      env=os.environ | environment | {"JAX_PROCESS_ID": str(host)},
      stdout=subprocess.PIPE,
      text=True,
    )
    for host in range(hosts)
  ]
  printed = [process.communicate(timeout=300)[0] for process in processes]
  return [json.loads(text.strip().splitlines()[-1]) for text in printed]


def test_nearest_neighbours(tmp_path):
  (expected,) = evaluated(tmp_path / "one", 1)
  assert evaluated(tmp_path / "two", 2) == [expected] * 2
  (line,) = results.read(tmp_path / "two" / "0" / results.FILE)
  assert line["value"] == expected["knn"]["encoder"]
  assert not (tmp_path / "two" / "1").exists()  # the second writes nothing
