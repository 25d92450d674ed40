"""Runs, encoders and images for bad inputs to be tried on."""

import functools
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests import prepared
from tests.faults.forked import Forked
from tests.faults.inputs.bad import Command
from tests.test_main import tiny_flags

MAIN = "byol_jax.main"
BYOL = "--config=configs/byol_gn_ws.py"
# What makes evaluations short.
_SMALL = ("--config.data.train=train[:64]", "--config.data.test=test[:40]")
_STEPS = ("--config.train.batch_size=16", "--config.train.steps=4")
_SHORT: dict[str, Sequence[str]] = {
  "knn": (),
  "linear_cached": ("--config.train.epochs=1.0",),
  "linear_eval": _STEPS,
  "semi_supervised": (
    "--config.data.labels=1.0",
    "--config.rates=(0.1,)",
    "--config.epochs=(1.0,)",
    "--config.train.batch_size=16",
  ),
  "transfer": ("--config.strengths=(0.1,)",),
  "transfer_finetune": (
    *_STEPS,
    "--config.rates=(0.1,)",
    "--config.weight_decays=(0.0,)",
  ),
}


class Place:
  """A folder with a run, images and more; each is made when it is first used."""

  def __init__(self, folder: Path, forked: Forked):
    self.folder = folder
    self._forked = forked
    self._numbers = itertools.count()

  @functools.cached_property
  def run(self) -> Path:
    """A finished pretraining run."""
    path = self.folder / "run"
    self._do(self.pretrain(workdir=path))
    return path

  @functools.cached_property
  def features(self) -> Path:
    """What `embed` has made of its encoder and `photos`."""
    path = self.folder / "features.npz"
    given = (f"--encoder={self.run}", f"--images={self.photos}")
    self._do(("byol_jax.embed", *given, f"--out={path}"))
    return path

  @functools.cached_property
  def photos(self) -> Path:
    """Images in two classes, in both splits."""
    path = self.folder / "photos"
    _write_photos(path)
    return path

  @functools.cached_property
  def sets(self) -> Path:
    """Where cifar10 is prepared."""
    path = self.folder / "sets"
    prepared.write_cifar10(path)
    return path

  def _do(self, command: Command) -> None:
    module, *arguments = command
    ended = self._forked.start(str(module), *arguments).wait(300)
    assert ended.code == 0, ended.lines

  def new(self, suffix: str = "") -> Path:
    """A path where nothing is."""
    return self.folder / f"new-{next(self._numbers)}{suffix}"

  def copy(self, path: Path) -> Path:
    """A copy, to be damaged."""
    new = self.new()
    if path.is_dir():
      shutil.copytree(path, new)
    else:
      shutil.copy(path, new.with_suffix(path.suffix))
    return new

  def pretrain(self, *flags: object, workdir: Path | None = None) -> Command:
    """Four steps of a tiny network on the embedded set."""
    return (MAIN, BYOL, *tiny_flags(), f"--workdir={workdir or self.new()}", *flags)

  def views(self, *flags: object) -> Command:
    """The same as far as its first views: all is built, nothing compiled."""
    return self.pretrain(*flags, "--show_views")

  def evaluate(self, config: str, *flags: object) -> Command:
    """An evaluation of the run by a file of configs/."""
    given = (f"--config=configs/{config}.py", f"--config.encoder={self.run}")
    names = {str(flag).partition("=")[0] for flag in flags}
    short = [f for f in _SHORT[config] if f.partition("=")[0] not in names]
    return (MAIN, *given, *_SMALL, *short, f"--workdir={self.new()}", *flags)


def _write_photos(folder: Path) -> None:
  rng = np.random.default_rng(0)
  for split, name, number in itertools.product(("train", "test"), "ab", range(4)):
    path = folder / split / name / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path.write_bytes(prepared.encode(pixels))
