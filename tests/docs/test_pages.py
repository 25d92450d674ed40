"""Every command and every block of Python of the tutorials and how-tos runs.

A page is followed from top to bottom in a folder of its own, where its placeholders are
names: PHOTOS is a folder of images, DIR one of prepared sets, WEIGHTS.pth and
WEIGHTS.pkl are files of weights. Flags are added that make the work small. What would
train is built and checked, and leaves the run of tests/golden: `test_main.py` trains.
"""

import collections
import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

import byol_jax
from byol_jax import cluster
from byol_jax.formats import torchvision
from byol_jax.nets.model import make_encoder
from configs import byol_gn_ws
from experiments import pretrain, speed
from tests import prepared
from tests.docs import shell
from tests.embed.made import write_images
from tests.test_main import flags_of

GOLDEN = shell.ROOT / "tests" / "golden" / "run"
README = "../README.md"
PAGES = [README, "faq.md", "protocols.md"] + [
  str(path.relative_to(shell.ROOT / "docs"))
  for folder in ("tutorials", "how-to")
  for path in sorted((shell.ROOT / "docs" / folder).glob("*.md"))
]

# Installations, which .ci/run makes as it says.
_INSTALLS = ("python3 -m venv", ".venv/bin/", "pip install")

# Where runs/mine is there already.
MADE_BEFORE = (
  "faq.md",
  "protocols.md",
  "how-to/choose-a-checkpoint.md",
  "how-to/evaluations.md",
  "how-to/export.md",
  "how-to/features.md",
  "how-to/no-labels.md",
  "how-to/pytorch.md",
  "how-to/report.md",
  "how-to/watch-a-run.md",
)
PYTHON_IN = {"how-to/pytorch.md": "encoder_torch"}  # the folder that the page names
_FEW = ["--config.data.train=train[:64]", "--config.data.test=test[:40]"]
SMALL = {
  "knn": _FEW,
  "linear_cached": [*_FEW, "--config.train.epochs=1"],
  "linear_eval": ["--config.train.epochs=1", "--config.data.held_out=10"],
  "transfer": _FEW,
}
# Of which DIR has 12 images.
CIFAR10 = [
  "--config.train.batch_size=4",
  *(f"--config.probe.{name}=train" for name in ("train", "valid_train", "valid_test")),
]


def small(words):
  """A command with the flags that make its work small."""
  if "reproduce" in words:  # of which the report alone has no jobs
    for_runs = ("--jobs", "--only", "--minutes")
    return [*(word for word in words if not word.startswith(for_runs)), "--norun"]
  return [*words, *flags_for(words)]


def flags_for(words):
  """Those flags, of any other command."""
  if "byol_jax.main" not in words:
    return []
  (config,) = (w.removeprefix("--config=") for w in words if w.startswith("--config="))
  if ":cifar10" in config:
    flags = [] if "knn" in config else CIFAR10
  else:
    flags = SMALL.get(Path(config).stem, [])
  return flags + like_golden(words)


def like_golden(words):
  """The flags of a run that begins with another, which is that of tests/golden."""
  saved = json.loads((GOLDEN / "config.json").read_text())
  del saved["train"]["steps"]
  if any(word.startswith("--config.start_from=") for word in words):
    saved = {part: saved[part] for part in ("encoder", "projector", "predictor")}
  elif not any(word.startswith("--config.continue_from=") for word in words):
    return []
  return flags_of(saved, base=byol_gn_ws.get_config(None))


def built(config, run_dir):
  """In place of a training: what comes before anything is compiled, and an old run."""
  pretrain.Pretrain(config, run_dir)
  run_dir.close()
  shutil.copytree(GOLDEN, run_dir.path, dirs_exist_ok=True)
  return {}


def joined():
  """In place of waiting for other hosts."""
  assert int(os.environ["JAX_PROCESS_ID"]) < int(os.environ["JAX_NUM_PROCESSES"])
  assert ":" in os.environ["JAX_COORDINATOR_ADDRESS"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
  arrays = torchvision.weights(byol_jax.load_encoder(GOLDEN))
  path = tmp_path_factory.mktemp("weights") / "resnet.pth"
  torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
  return path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
  """A checkpoint in DeepMind's form; tests/formats has all of the forms."""
  norm = {"norm": "batch", "groups": 1, "standardised": False}
  network = {"depth": 18, "width": 0.125, "stem": "imagenet", "zero_last_scale": False}
  image = np.zeros((1, 33, 33, 3), np.float32)
  trees = make_encoder(norm | network).init(jax.random.key(0), image)
  params, stats = jax.tree.map(np.asarray, trees)
  fields = "online_params target_params online_state target_state opt_state"
  State = collections.namedtuple("_ByolExperimentState", fields, module="__main__")
  state = State(params, params, stats, stats, None)
  path = tmp_path_factory.mktemp("published") / "pretrain.pkl"
  with pytest.MonkeyPatch.context() as there:
    there.setattr(sys.modules["__main__"], State.__name__, State, raising=False)
    path.write_bytes(pickle.dumps({"experiment_state": state, "step": 300_000}))
  return path


def _images():
  """What Python on a page may take for granted."""
  images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8)
  labels = np.arange(30) % 2
  return {
    "images": images,
    "labels": labels,
    "test_images": images[:5],
    "test_labels": labels[:5],
  }


@pytest.fixture
def folder(tmp_path, monkeypatch, weights, published):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  Path("configs").symlink_to(shell.ROOT / "configs")
  for name in ("cat", "dog"):
    write_images(Path("PHOTOS", name), [f"{i}.png" for i in range(20)])
  prepared.write_cifar10(Path("DIR"))
  Path("WEIGHTS.pth").symlink_to(weights)
  Path("WEIGHTS.pkl").symlink_to(published)
  records = shell.ROOT / "docs" / "reproduction"
  for kind in ("runs", "accelerator"):
    shutil.copytree(records / kind, Path("runs", "reproduce", "report", kind))
  return tmp_path


# Those that take longest are run by CI's own job for the documentation.
_LONG = ("faq.md", "tutorials/evaluate.md", "tutorials/own-images.md")


@pytest.mark.parametrize(
  "page",
  [pytest.param(p, marks=pytest.mark.slow) if p in _LONG else p for p in PAGES],
)
def test_a_page(page, folder, monkeypatch):
  if page in MADE_BEFORE:
    shutil.copytree(GOLDEN, Path("runs", "mine"))
  if page == README:
    shutil.copytree(GOLDEN, Path("runs", "byol_gn_ws"))
  for experiment in (pretrain, speed):
    monkeypatch.setattr(experiment, "run", built)
  monkeypatch.setattr(cluster, "join", joined)
  assert shell.lines(page) or shell.blocks(page, "python")
  for words in shell.lines(page):
    if " ".join(words).startswith(_INSTALLS):
      continue
    assert shell.run(small(words)) in (None, 0), words
  if page in PYTHON_IN:
    monkeypatch.chdir(PYTHON_IN[page])
  monkeypatch.syspath_prepend(Path.cwd())
  for code in shell.blocks(page, "python"):
    exec(compile(code, page, "exec"), _images())
  sys.modules.pop("model", None)
