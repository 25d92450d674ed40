"""What two hosts come to is what one finds.

Evaluations share no files; a run that begins with another shares its folder.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import byol_jax
from byol_jax.nets import resnet
from byol_jax.run import results
from byol_jax.run.folder import RunDir
from tests.devices import xla_flags

ROOT = Path(__file__).parents[2]
DEVICES = 2

# Of three images that are held out one host has one.
KNN = """
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
config.data.update(train="train[:81]", test="test[:31]", held_out=3)
config.eval.batch_size = 40
summary = knn.run(config, RunDir(sys.argv[1], parallel.is_first_host()))
print(json.dumps(summary))
"""

# The second host's processor turns what the first one's does not.
LINEAR = """
import sys
from byol_jax import cluster, commands
commands.set_up()
if sys.argv[2] != "1":
  cluster.join()
import jax
import numpy as np
from byol_jax import probes
eigh, sign = np.linalg.eigh, 1 - 2 * jax.process_index()
np.linalg.eigh = lambda x: (eigh(x)[0], sign * eigh(x)[1])
rng = np.random.default_rng(0)
labels = rng.integers(0, 5, 301)
x = np.float32(rng.normal(size=(301, 20)) + 2 * np.eye(20)[labels])
print(probes.linear_accuracy(x[:200], labels[:200], x[200:], labels[200:]))
"""

# The second time the summary is there, for the first host alone.
SPEED = """
import json, sys, types
from byol_jax import cluster, commands, parallel
commands.set_up()
cluster.join()
from byol_jax.run.folder import RunDir
from experiments import speed
from tests.experiments.test_speed import Sums
experiment = Sums(speed.WARM_UP + 2)
experiment.inputs = types.SimpleNamespace(dataset=types.SimpleNamespace(listing=list))
speed.pretrain.Pretrain = lambda *_: experiment
for _ in range(2):
  run_dir = RunDir(sys.argv[1], parallel.is_first_host())
  print(json.dumps(speed.run(experiment.config, run_dir)))
"""

EMBED = """
import sys
from byol_jax import cluster, commands
commands.set_up()
cluster.join()
from byol_jax.embed import job
options = job.Options(encoder="tests/golden/run", images="photos", split="test[:9]")
job.run(options._replace(out=f"{sys.argv[1]}/features.npz", batch_size=4))
"""

REFUSED = """
import sys, types
from byol_jax import cluster, commands, parallel
commands.set_up()
cluster.join()
from ml_collections import ConfigDict
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir
from experiments import inputs
from experiments.downstream.sweep import Sweep

def said(work, *arguments):
  try:
    work(*arguments)
  except UserError as error:
    print(error)

run_dir = RunDir(sys.argv[1], parallel.is_first_host())
sweep = Sweep.__new__(Sweep)
sweep._experiment = lambda config: None
said(sweep._run, run_dir, ConfigDict({"seed": 2}))
images = types.SimpleNamespace(listing=lambda: ["b"])
said(inputs.check_folder, run_dir, images, "made")
"""

PRETRAIN = """
import json, sys
import jax
from byol_jax import cluster, commands, parallel
commands.set_up()
if sys.argv[2] != "1":
  cluster.join()
from byol_jax.run.folder import RunDir
from byol_jax.nets import resnet
from experiments import pretrain
from tests import tiny
pretrain.Pretrain.evaluate = lambda *_: {}
pretrain.Pretrain.summarise = lambda *_: {"found on": jax.process_index()}
pretrain.Pretrain.show_views = lambda *_: None
resnet.SHAPES[4] = resnet.SHAPES[10]._replace(blocks=(1,))
config = tiny.config(steps=int(sys.argv[3]))
config.encoder.depth = 4
if len(sys.argv) > 4:
  config[sys.argv[4]] = sys.argv[5]
print(json.dumps(pretrain.run(config, RunDir(sys.argv[1], parallel.is_first_host()))))
"""


def run(program, folders, *arguments):
  """What the process of each host prints, given its folder and how many they are."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  hosts = len(folders)
  environment = {
    "XLA_FLAGS": xla_flags(DEVICES // hosts),
    "JAX_PLATFORMS": "cpu",
    "JAX_COORDINATOR_ADDRESS": address,
    "JAX_NUM_PROCESSES": str(hosts),
  }
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", program, str(folder), str(hosts), *map(str, arguments)],
      cwd=ROOT,
      env=os.environ | environment | {"JAX_PROCESS_ID": str(host)},
      stdout=subprocess.PIPE,
      text=True,
    )
    for host, folder in enumerate(folders)
  ]
  printed = [process.communicate(timeout=300)[0] for process in processes]
  assert [process.returncode for process in processes] == [0] * hosts
  return printed


def test_nearest_neighbours(tmp_path):
  alone, first, second = (tmp_path / name / "out" for name in ("one", "two/0", "two/1"))
  (expected,) = run(KNN, [alone])
  expected = json.loads(expected.splitlines()[-1])
  left = second / "features" / "to%20fit.npz"  # as of a run whose first host it was
  left.parent.mkdir(parents=True)
  left.write_bytes(b"")
  found = run(KNN, [first, second])
  assert [json.loads(text.splitlines()[-1]) for text in found] == [expected] * 2
  (line,) = results.read(tmp_path / "two" / "0" / results.FILE)
  assert line["value"] == expected["knn"]["encoder"]
  assert list((tmp_path / "two" / "1").rglob("*.*")) == [left]  # it writes nothing


def test_linear_probes_of_hosts_that_round_otherwise(tmp_path):
  (expected,) = run(LINEAR, [tmp_path])
  assert float(expected) > 0.6
  assert run(LINEAR, [tmp_path, tmp_path]) == [expected] * 2


def test_features_go_to_a_folder_of_the_first_host(tmp_path):
  first, second = tmp_path / "first", tmp_path / "second"
  first.mkdir()
  run(EMBED, [first, second])
  found = byol_jax.read_features(first / "features.npz")
  assert found.path.tolist() == [str(i) for i in range(9)]
  assert not second.exists()


def test_a_folder_that_is_refused_is_refused_to_all(tmp_path):
  with RunDir(tmp_path) as run_dir:
    run_dir.claim(ConfigDict({"seed": 1, "data": {"name": "made"}}), ["a"])
  for said in run(REFUSED, [tmp_path, tmp_path]):
    assert "holds the run of another config (it differs in data.name, seed)" in said
    assert "the images have changed since" in said


def test_what_a_run_would_cost(tmp_path):
  printed = run(SPEED, [tmp_path / "first", tmp_path / "second"])
  (first, again), (second, read) = (
    map(json.loads, text.splitlines()[-2:]) for text in printed
  )
  assert first["loss"] == second["loss"] == 5
  assert again == read == first
  assert not (tmp_path / "second").exists()


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["start_from", "continue_from"])
def test_a_run_that_begins_with_another(tmp_path, monkeypatch, setting):
  monkeypatch.setitem(resnet.SHAPES, 4, resnet.SHAPES[10]._replace(blocks=(1,)))
  before, one, two = (tmp_path / name for name in ("before", "one", "two"))
  run(PRETRAIN, [before], 2)
  run(PRETRAIN, [one], 4, setting, before)
  summaries = run(PRETRAIN, [two, two], 4, setting, before)
  assert summaries[0].splitlines()[-1] == summaries[1].splitlines()[-1]
  images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
  expected, found = (byol_jax.load_encoder(folder)(images) for folder in (one, two))
  np.testing.assert_allclose(found, expected, atol=1e-5)
  assert not np.allclose(found, byol_jax.load_encoder(before)(images), atol=1e-3)
  records = [RunDir(folder, writes=False).read_origin() for folder in (one, two)]
  assert records[0] == records[1]
