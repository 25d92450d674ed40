"""Every command and every block of Python of the tutorials and how-tos runs.

A page is followed from top to bottom in a folder of its own, where its placeholders are
names: PHOTOS is a folder of images. Flags are added that make the work small, and what
would train is built and checked, but for one page that is trained in earnest.
"""

import shutil
import sys
from pathlib import Path

import pytest

from experiments import pretrain
from tests import tiny
from tests.docs import shell
from tests.embed.made import write_images
from tests.test_main import flags_of

GOLDEN = shell.ROOT / "tests" / "golden" / "run"
PAGES = sorted(
  str(path.relative_to(shell.ROOT / "docs"))
  for folder in ("tutorials", "how-to")
  for path in (shell.ROOT / "docs" / folder).glob("*.md")
)
TRAINED = "tutorials/own-images.md"

# The runs that a page speaks of and does not make.
RUNS = {
  "tutorials/first-run.md": ["byol_gn_ws"],
  "tutorials/evaluate.md": ["bn-seed0", "gn-ws-seed0"],
  "how-to/pytorch.md": ["mine"],
  "how-to/choose-a-checkpoint.md": ["mine"],
}
PYTHON_IN = {"how-to/pytorch.md": "encoder_torch"}  # the folder that the page names
SMALL = ["--config.data.train=train[:64]", "--config.data.test=test[:40]"]


def small(words):
  """The flags that make the work of a command small."""
  if "byol_jax.main" not in words:
    return []
  (config,) = (w.removeprefix("--config=") for w in words if w.startswith("--config="))
  name, _, preset = config.removeprefix("configs/").partition(".py")
  if name in ("knn", "linear_cached"):
    return [*SMALL, *(["--config.train.epochs=1"] if name == "linear_cached" else [])]
  if preset != ":folder":
    return []
  # The folder has 40 images of 16 pixels, in two classes.
  network = tiny.config(steps=2)
  wanted = {k: network[k] for k in ("encoder", "projector", "predictor", "eval", "log")}
  return [*flags_of(wanted), "--config.train.steps=2", "--config.train.batch_size=16"]


def built(config, run_dir):
  """In place of a training: all that comes before anything is compiled."""
  pretrain.Pretrain(config, run_dir)
  run_dir.close()
  return {}


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  Path("configs").symlink_to(shell.ROOT / "configs")
  for name in ("cat", "dog"):
    write_images(Path("PHOTOS", name), [f"{i}.png" for i in range(20)])
  return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_a_page(page, folder, monkeypatch):
  for run in RUNS.get(page, []):
    shutil.copytree(GOLDEN, Path("runs", run))
  if page != TRAINED:
    monkeypatch.setattr(pretrain, "run", built)
  for words in shell.lines(page):
    assert shell.run(words, *small(words)) in (None, 0), words
  if page in PYTHON_IN:
    monkeypatch.chdir(PYTHON_IN[page])
  monkeypatch.syspath_prepend(Path.cwd())
  for code in shell.blocks(page, "python"):
    exec(compile(code, page, "exec"), {})
  sys.modules.pop("model", None)
