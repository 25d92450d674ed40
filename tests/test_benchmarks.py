"""Modules beside the library: importing one does nothing, and none reaches inside."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

from benchmarks import bicubic, folders

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
