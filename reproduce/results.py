"""Records: what is kept of a run or a study, and what the report is made from.

A record is a small file in the report's folder, so that it is there when the folders
of the runs, with their checkpoints, are gone.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from byol_jax.disk import read_json, write_json
from byol_jax.run.folder import RunDir
from reproduce import arms, provenance

# What is kept of a run's metrics.jsonl.
CURVES = ("loss", "spread", "valid_effective_rank", "valid_knn")


class Result(NamedTuple):
  """The record of a run that has come to its end.

  Attributes:
    made: on what commits, machines and days.
    config: its config.json.
    summary: its summary.json.
    curves: steps, and the values there, of each of `CURVES` that it logged.
  """

  made: list[dict[str, str]]
  config: dict[str, Any]
  summary: dict[str, Any]
  curves: dict[str, tuple[Sequence[int], Sequence[float]]]

  @property
  def linear(self) -> float:
    """Accuracy of a linear classifier on the encoder's features, %."""
    return 100 * self.summary["linear"]["encoder"]

  @property
  def gain(self) -> float:
    """How far that is above the same network untrained, points."""
    return self.linear - 100 * self.summary["linear"]["untrained"]

  @property
  def knn(self) -> float:
    """Accuracy of nearest neighbours on the encoder's features, %."""
    return 100 * self.summary["knn"]["encoder"]

  @property
  def untrained_knn(self) -> float:
    """That of the same network untrained, %."""
    return 100 * self.summary["knn"]["untrained"]

  @property
  def rank(self) -> float:
    """Effective rank of the encoder's features of test images."""
    return self.summary["effective_rank"]

  @property
  def spread(self) -> float:
    """Of the projections at the end: 1 healthy, 0 collapsed."""
    return self.summary["spread"]

  @property
  def lowest_spread(self) -> float:
    """The lowest that was logged on the way."""
    return min(self.curves["spread"][1])

  @property
  def images_together(self) -> int:
    """How many images a batch norm takes its statistics of."""
    train = self.config["train"]
    return train["batch_size"] // train["accumulate"]

  @property
  def collapsed(self) -> bool:
    """Whether it ended with all images in one place, or on one line."""
    return self.summary["collapsed"]


class Seeds(list[Result]):
  """The results of an arm, a seed each."""

  def mean(self, of: Callable[[Result], float]) -> float:
    """Over the seeds."""
    return statistics.mean(map(of, self))

  def deviation(self, of: Callable[[Result], float]) -> float | None:
    """Standard deviation over the seeds, None for a single one."""
    return statistics.stdev(map(of, self)) if len(self) > 1 else None

  def show(self, of: Callable[[Result], float], digits: int = 1) -> str:
    """Mean and standard deviation, as a table has them."""
    deviation = self.deviation(of)
    spread = "" if deviation is None else f" ± {deviation:.{digits}f}"
    return f"{self.mean(of):.{digits}f}{spread}"


Results = dict[str, Seeds]


def run_path(folder: Path, run: arms.Run) -> Path:
  """Where the record of a run is under the folder of the report."""
  return folder / "runs" / f"{run.name}.json"


def study_path(folder: Path, name: str) -> Path:
  """Where that of a study is."""
  return folder / "studies" / f"{name}.json"


def keep(run: arms.Run, root: Path, folder: Path) -> None:
  """Writes the record of a complete run."""
  run_dir = RunDir(run.folder(root), writes=False)
  records = run_dir.records()
  curves: dict[str, tuple[Sequence[int], Sequence[float]]] = {}
  for key in CURVES:
    points = [(r["step"], r[key]) for r in records if key in r]
    if points:
      steps, values = zip(*points, strict=True)
      curves[key] = (steps, [float(f"{value:.5g}") for value in values])
  result = Result(
    provenance.read(root, run),
    read_json(run_dir.path / "config.json"),
    read_json(run_dir.path / "summary.json"),
    curves,
  )
  _write(run_path(folder, run), result._asdict())


def keep_study(name: str, folder: Path, found: dict[str, Any]) -> None:
  """Writes the record of a study made here and now."""
  _write(study_path(folder, name), {"made": [provenance.here()], "found": found})


def read(folder: Path) -> Results:
  """The complete runs of each arm that has any."""
  found: Results = {}
  for run in arms.runs():
    path = run_path(folder, run)
    if path.exists():
      found.setdefault(run.arm, Seeds()).append(Result(**read_json(path)))
  return found


def read_study(folder: Path, name: str) -> dict[str, Any] | None:
  """What a study "found" and how it was "made", None if it was not."""
  path = study_path(folder, name)
  return read_json(path) if path.exists() else None


def _write(path: Path, record: dict[str, Any]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  write_json(path, record)
