"""Modules beside the library: importing one does nothing, and none reaches inside."""

import ast
import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path
from unittest import mock

import cv2
import jax
import numpy as np
import pytest

import benchmarks.input
from benchmarks import bicubic, folders, probes, turns
from byol_jax.errors import UserError
from byol_jax.run import host
from tests.docs import shell

ROOT = Path(__file__).parents[1]

_IMPORT = """
import contextlib, importlib, json, os, sys
import chex, cv2, grain, haiku, jax, matplotlib, optax, scipy.stats
import ml_collections.config_flags, orbax.checkpoint, tensorboardX, tensorflow_datasets
from absl import flags
with contextlib.suppress(ImportError):
  import torch

def state():
  backend = matplotlib.rcParams._get_backend_or_none()
  return {"flags": list(flags.FLAGS), "backend": backend, "env": dict(os.environ)}

before = state()
for module in sys.argv[1:]:
  importlib.import_module(module)
print(json.dumps([before, state()]))
"""


def files(*packages):
  return [path for name in packages for path in sorted((ROOT / name).glob("*.py"))]


def test_imports_define_no_flag_and_choose_nothing():
  modules = [
    f"{path.parent.name}.{path.stem}" for path in files("benchmarks", "reproduce")
  ]
  if not importlib.util.find_spec("torch"):
    modules.remove("benchmarks.torch_twin")
  command = [sys.executable, "-c", _IMPORT, *modules]
  found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
  before, after = json.loads(found.stdout)
  assert after == before


# What NamedTuples give to everyone.
_PUBLIC = {"_asdict", "_field_defaults", "_fields", "_make", "_replace"}


def is_private(name):
  return name.startswith("_") and not name.startswith("__") and name not in _PUBLIC


def private_names(source):
  """The library's private names that a module's source has."""
  imported, found = set(), []
  nodes = list(ast.walk(ast.parse(source)))
  for node in nodes:
    if isinstance(node, ast.Import):
      for alias in node.names:
        if alias.name.partition(".")[0] == "byol_jax":
          imported.add(alias.asname or "byol_jax")
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("byol_jax"):
      imported |= {alias.asname or alias.name for alias in node.names}
      found += [alias.name for alias in node.names if is_private(alias.name)]
  for node in nodes:
    if isinstance(node, ast.Attribute) and is_private(node.attr):
      root = node.value
      while isinstance(root, ast.Attribute):
        root = root.value
      if isinstance(root, ast.Name) and root.id in imported:
        found.append(ast.unparse(node))
  return found


@pytest.mark.parametrize(
  ("source", "found"),
  [
    ("from byol_jax.run import loop\nloop._Monitor()", ["loop._Monitor"]),
    ("from byol_jax.run import loop as l\nl.Monitor._since", ["l.Monitor._since"]),
    ("import byol_jax.run.loop\nbyol_jax.run.loop._x", ["byol_jax.run.loop._x"]),
    ("def f():\n  from byol_jax.optim import _mask", ["_mask"]),
    ("from byol_jax.run import loop\nloop.Monitor()\nself._x\nloop.__name__", []),
    ("from byol_jax.data.views import View\nView._fields\nimport os\nos._exit", []),
  ],
)
def test_private_names_are_found(source, found):
  assert private_names(source) == found


COMMANDS = [p.stem for p in files("benchmarks") if "__main__" in p.read_text()]


@pytest.fixture
def last_word(monkeypatch, capfd):
  """The line with which a benchmark ends that fails; nothing else is on stderr."""
  monkeypatch.chdir(ROOT)  # configs are named from here
  monkeypatch.setattr(host, "tune", lambda: None)  # this process stays as it is

  def last_word(command):
    words = shlex.split(f"python -m benchmarks.{command}")
    assert shell.run(words) == 1
    (line,) = capfd.readouterr().err.splitlines()
    return line

  return last_word


@pytest.mark.parametrize("name", COMMANDS)
def test_a_flag_that_is_not_there_is_one_line(name, last_word):
  said = "byol_jax: Unknown command line flag 'nonsense'"
  assert last_word(f"{name} --nonsense=1").startswith(said)


@pytest.mark.parametrize(
  ("command", "said"),
  [
    ("bicubic --preset=nonsense", "there is no preset 'nonsense': choose one of"),
    ("bicubic --name=folder --data_dir=/none", "/none does not exist: name a folder"),
    ("embed --encoder=/none --images=photos", "no checkpoint at /none, where nothing"),
    ("embed --encoder=RUN --images=photos --scratch=/none", "--scratch=/none: name"),
    ("fed --images=/none", "there is no .jpeg or .jpg in /none: name a folder of"),
    ("folders --images=/none", "there is no .jpeg or .jpg in /none: name a folder of"),
    ("input --images=/none", "there is no .jpeg or .jpg in /none: name a folder of"),
    ("loop_overhead --minutes=0", "flag --minutes=0: 0.0 is not number >= 0.01"),
    ("loop_overhead --steps=200", "a run of 10 s has no two checkpoints, one every"),
    ("on_device --preset=nonsense", "there is no preset 'nonsense': choose one of"),
    ("on_device --data_dir=/none", "cifar10 is not prepared in /none, which does"),
    ("probes --classes=2", "flag --classes=2: 2 is not integer >= 3"),
    ("scale --devices=3", "--devices=3 cannot share the 512 images of a batch of"),
    ("startup --system=nonsense", "cannot read the config 'configs/nonsense.py'"),
    ("step --only=nonsense", "--only=nonsense: no row begins so; they are resnet18"),
  ],
)
def test_a_mistake_is_one_line(command, said, last_word):
  assert last_word(command).startswith(f"byol_jax: {said}")


def test_a_contestant_that_fails_says_why_by_itself(capfd):
  with pytest.raises(UserError, match=r"^it failed; what its process said is above"):
    turns.facts(turns.Contestant(probes.prepare_fit))
  assert "TypeError: prepare_fit() missing" in capfd.readouterr().err


def test_a_contestant_that_is_interrupted_says_nothing():
  prepare = mock.Mock(side_effect=KeyboardInterrupt)
  turns._serve(mock.Mock(), turns.Contestant(prepare))


def test_the_last_table_of_the_input_ends_as_its_command(monkeypatch, tmp_path):
  (tmp_path / "a.jpg").touch()
  failed = subprocess.CompletedProcess([], 3)
  monkeypatch.setattr(subprocess, "run", lambda command: failed)
  with pytest.raises(SystemExit) as ended:
    benchmarks.input.main(str(tmp_path), ["fed"], 2)
  assert ended.value.code == 3


def test_without_scikit_learn_there_is_one_line(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"scikit-learn is not installed: pip install -e"):
    probes.main(["fit"], {}, 2, 1e-4)


@pytest.mark.parametrize(("height", "width"), [(11, 40), (3, 50)])
def test_the_bicubic_resizing_of_tensorflow_is_jaxs(height, width):
  image = np.random.default_rng(0).integers(0, 256, (height, width, 3))
  shape = (19, 19, 3)
  theirs = jax.image.resize(np.float32(image), shape, "cubic", antialias=False)
  np.testing.assert_allclose(
    bicubic.tensorflow(image, 19), np.clip(theirs, 0, 255), atol=1e-2
  )


def test_photographs_are_made_of_jpegs_alone(monkeypatch, tmp_path):
  images, large = tmp_path / "images", tmp_path / "large"
  for folder in (images, large):
    folder.mkdir()
  for name in ("a.JPG", "b.jpeg"):
    cv2.imwrite(str(images / name), np.full((8, 8, 3), 9, np.uint8))
  (images / "README.txt").write_text("where these are from")
  monkeypatch.setattr(folders, "_WIDTH", 40)
  monkeypatch.setattr(folders, "_HEIGHT", 30)
  folders.make_photographs(str(images), str(large))
  made = {path.name: cv2.imread(str(path)).shape for path in large.iterdir()}
  assert made == dict.fromkeys(("a.jpg", "b.jpg"), (30, 40, 3))


@pytest.mark.parametrize(
  "path",
  files("benchmarks", "configs", "experiments", "reproduce"),
  ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_the_librarys_private_names_stay_inside(path):
  assert private_names(path.read_text()) == []
