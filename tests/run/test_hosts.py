"""Hosts that differ say so on each of them, before anything is compiled or written."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from byol_jax import parallel
from byol_jax.errors import UserError
from byol_jax.run import hosts
from byol_jax.run.folder import RunDir
from tests import tiny
from tests.devices import xla_flags

ROOT = Path(__file__).parents[2]

# Each case is what the two hosts have.
PROGRAM = """
import json, sys
from byol_jax import cluster, commands, parallel
commands.set_up()
cluster.join()
import jax
from byol_jax.errors import UserError
from byol_jax.run import hosts
from byol_jax.run.folder import RunDir
from tests import tiny

def said(work):
  try:
    return work()
  except UserError as error:
    return str(error)

me = jax.process_index()
found = [
  said(lambda: parallel.check_agreement(json.loads(case)[me])) for case in sys.argv[2:]
]
config = tiny.config()
config.data.update(data_dir=f"host{me}", workers=me)  # its own affair
found.append(said(lambda: hosts.claim(run_dir(), config, ["a", "b"][:: 1 - 2 * me])))
config.optimiser.learning_rate = 0.1 + me
found.append(said(lambda: hosts.claim(run_dir(), config, ["a"])))
config.optimiser.learning_rate = 0.1
found.append(said(lambda: hosts.claim(run_dir(), config, ["a"])))
found.append(said(lambda: hosts.check({"batch size": 16 + me})))
jax.config.update("jax_threefry_partitionable", me == 0)
found.append(said(lambda: hosts.check({})))
jax.config.update("jax_threefry_partitionable", True)
hosts.provenance.code = lambda: f"code {me}"
found.append(said(lambda: hosts.check({})))
print(json.dumps(found))
""".replace("run_dir()", "RunDir(sys.argv[1], writes=me == 0)")

CASES = [
  ({"seed": 1, "sizes": [1, 2]}, {"seed": 1, "sizes": [1, 2]}),
  ({"seed": 1}, {"seed": 2}),
  ({"b": 1, "a": None}, {"b": 2, "a": 0.5}),
  ({"name": "x" * 500}, {"name": "y"}),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
  """What each of two hosts has to say of each case."""
  folder = tmp_path_factory.mktemp("hosts") / "run"
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  environment = os.environ | {
    "XLA_FLAGS": xla_flags(1),
    "JAX_PLATFORMS": "cpu",
    "JAX_COORDINATOR_ADDRESS": address,
    "JAX_NUM_PROCESSES": "2",
  }
  arguments = [str(folder), *map(json.dumps, CASES)]
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", PROGRAM, *arguments],
      cwd=ROOT,
      env=environment | {"JAX_PROCESS_ID": str(host)},
      stdout=subprocess.PIPE,
      text=True,
    )
    for host in range(2)
  ]
  printed = [process.communicate(timeout=300)[0] for process in processes]
  return folder, [json.loads(text.strip().splitlines()[-1]) for text in printed]


def test_a_difference_is_the_same_line_on_each_host(said):
  _, (one, other) = said
  assert one[: len(CASES)] == other[: len(CASES)]
  alike, seed, two, long = one[: len(CASES)]
  assert alike is None
  start = ": start all hosts with the same command, code, images and packages"
  assert seed == f"host 1 has seed = 2, and host 0 1{start}"
  assert two == f"host 1 has a = 0.5, and host 0 null (and 1 more){start}"
  assert long.startswith('host 1 has name = "y", and host 0 "xxx')


def test_hosts_begin_together_or_not_at_all(said):
  folder, (one, other) = said
  alike, config, images = one[len(CASES) : len(CASES) + 3]
  assert (alike, other[len(CASES)]) == (True, False)
  assert config == other[len(CASES) + 1]
  assert config.startswith("host 1 has optimiser.learning_rate = 1.1, and host 0 0.1: ")
  # The first host has claimed the folder for another config.
  assert "holds the run of another config (it differs in optimiser" in images
  assert images == other[len(CASES) + 2]
  saved = json.loads((folder / "config.json").read_text())
  assert saved["data"]["data_dir"] == "host0"


def test_hosts_draw_the_same_random_numbers_by_the_same_code(said):
  _, (one, other) = said
  assert one[-3:] == other[-3:]
  batch, numbers, code = one[-3:]
  assert batch.startswith("host 1 has batch size = 17, and host 0 16: ")
  assert numbers.startswith('host 1 has jax_threefry_partitionable = "False", and host')
  assert code.startswith('host 1 has code = "code 1", and host 0 "code 0": ')


def test_a_single_host_agrees_with_itself(tmp_path):
  parallel.check_agreement({"seed": 1})
  with RunDir(tmp_path / "run") as run_dir:
    assert hosts.claim(run_dir, tiny.config(), ["a"])
  config = tiny.config()
  config.seed = 5
  with (
    pytest.raises(UserError, match="it differs in seed"),
    RunDir(tmp_path / "run") as run_dir,
  ):
    hosts.claim(run_dir, config, ["a"])
