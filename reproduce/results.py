"""What the runs left in their folders, read for the report."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from byol_jax.rundir import RunDir, read_json
from reproduce import arms


class Result(NamedTuple):
  """A run that has come to its end.

  Attributes:
    summary: its summary.json.
    records: the lines of its metrics.jsonl.
    name: that of its folder.
  """

  summary: dict[str, Any]
  records: list[dict[str, Any]]
  name: str = ""

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
    return min(r["spread"] for r in self.records if "spread" in r)

  @property
  def collapsed(self) -> bool:
    """Whether it ended with all images in one place, or on one line."""
    return self.summary["collapsed"]


class Arm(list[Result]):
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


Arms = dict[str, Arm]


def read(root: Path) -> Arms:
  """The complete runs of each arm that has any."""
  found: Arms = {}
  for run in arms.runs():
    run_dir = RunDir(run.folder(root), writes=False)
    if (summary := run_dir.read_summary()) is not None:
      result = Result(summary, run_dir.records(), run_dir.path.name)
      found.setdefault(run.arm, Arm()).append(result)
  return found


def study_path(root: Path, name: str) -> Path:
  """Where the result of a study is."""
  return root / "studies" / f"{name}.json"


def read_study(root: Path, name: str) -> dict[str, Any] | None:
  """A study's result, None if it has not been made."""
  path = study_path(root, name)
  return read_json(path) if path.exists() else None
