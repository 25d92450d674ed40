"""Small jobs of each kind, and what is compared of what they make."""

import hashlib
import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests import prepared, tiny
from tests.faults import trial
from tests.test_main import flags_of

# Of a log or a summary: what a clock has measured.
_CLOCKS = ("seconds", "second", "wait", "time", "mfu", "left", "started")


class Job(NamedTuple):
  """A command that can be killed at any moment, and started again.

  Attributes:
    name: of it.
    command: arguments of Python, given the folder in which it works.
    made: what it has made there, as values that are compared.
  """

  name: str
  command: Callable[[Path], list[str]]
  made: Callable[[Path], Any]


def pretraining(steps: int = 40, *more: str) -> Job:
  """A run that saves after each step; with more flags, if given."""
  wanted = tiny.config(steps=steps)
  wanted.eval.every_steps = steps // 4
  base = tiny.SYSTEMS["byol_gn_ws"](None)
  flags = [*flags_of(wanted, base=base), *more]

  def command(folder: Path) -> list[str]:
    file = "--config=configs/byol_gn_ws.py"
    return ["-m", "byol_jax.main", file, f"--workdir={folder}/run", *flags]

  return Job("pretraining", command, lambda folder: of_run(folder / "run"))


def linear_evaluation(encoder: Path) -> Job:
  """A sweep of rates over the embedded photographs, saved after each step."""
  base = tiny.linear_eval("")
  wanted = tiny.linear_eval(encoder)
  wanted.train.steps = 30
  flags = flags_of(wanted, base=_default("linear_eval", base))

  def command(folder: Path) -> list[str]:
    file = "--config=configs/linear_eval.py"
    return ["-m", "byol_jax.main", file, f"--workdir={folder}/run", *flags]

  return Job("linear evaluation", command, lambda folder: of_run(folder / "run"))


def embedding(encoder: Path, images: Path) -> Job:
  """Features of a folder of images."""

  def command(folder: Path) -> list[str]:
    out = f"--out={folder}/features.npz"
    given = [f"--encoder={encoder}", f"--images={images}", "--batch_size=8"]
    return ["-m", "byol_jax.embed", *given, out]

  def made(folder: Path) -> dict[str, Any]:
    with np.load(folder / "features.npz", allow_pickle=False) as file:
      found = {name: file[name].tolist() for name in ("embedding", "path", "label")}
    return found | {"files": sorted(path.name for path in folder.iterdir())}

  return Job("embedding", command, made)


def preparation(images: Path) -> Job:
  """A folder of images, reduced."""

  def command(folder: Path) -> list[str]:
    given = [f"--folder={images}", "--side=24", f"--data_dir={folder}/prepared"]
    return ["-m", "byol_jax.data.prepare", *given]

  return Job("preparation", command, lambda folder: _digests(folder / "prepared"))


def conversion(prepared_set: Path) -> Job:
  """tfrecord files, copied into array_record files."""

  def command(folder: Path) -> list[str]:
    _copy_once(prepared_set, folder / "sets")
    return [
      "-m",
      "byol_jax.data.prepare",
      "--name=cifar10",
      f"--data_dir={folder}/sets",
    ]

  return Job("conversion", command, lambda folder: _digests(folder / "sets"))


def of_run(folder: Path) -> dict[str, Any]:
  """What a run has learned and measured, without the times."""
  newest = max(
    (path for path in (folder / "checkpoints").iterdir() if path.name.isdecimal()),
    key=lambda path: int(path.name),
    default=None,
  )
  sums = newest and (newest / "checksums" / "metadata").read_text()
  lines = (folder / "metrics.jsonl").read_text().splitlines()
  return {
    "files": sorted(path.name for path in folder.iterdir()),
    "sums": sums and json.loads(sums),
    "metrics": [_without_clocks(json.loads(line)) for line in lines],
    "summary": _without_clocks(json.loads((folder / "summary.json").read_text())),
  }


def photographs(folder: Path, count: int = 48) -> Path:
  """Images in two classes, as files."""
  rng = np.random.default_rng(0)
  for number in range(count):
    path = folder / ("cat", "dog")[number % 2] / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (48, 40, 3), dtype=np.uint8)
    path.write_bytes(prepared.encode(pixels))
  return folder


def complete(job: Job, folder: Path) -> Any:
  """Runs a job to its end; what it has made."""
  folder.mkdir(exist_ok=True)
  ended = trial.run(*job.command(folder))
  if ended.code:
    raise RuntimeError(f"{job.name} failed: {ended.lines[-1:]}")
  return job.made(folder)


def _default(name: str, like: Any) -> Any:
  """The config of that file as it is shipped, with the encoder of another."""
  config = importlib.import_module(f"configs.{name}").get_config()
  config.encoder = like.encoder
  return config


def _without_clocks(value: Any) -> Any:
  if isinstance(value, dict):
    return {
      name: _without_clocks(inner)
      for name, inner in value.items()
      if not any(clock in name for clock in _CLOCKS)
    }
  return value


def _digests(folder: Path) -> dict[str, str]:
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


def _copy_once(source: Path, target: Path) -> None:
  """Copies a prepared set, if it is not there."""
  if not target.exists():
    shutil.copytree(source, target.with_name("copying"), dirs_exist_ok=True)
    target.with_name("copying").rename(target)
