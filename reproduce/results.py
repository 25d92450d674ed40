"""Records: what is kept of a run or a study, and what the report is made from.

A record is a small file in the report's folder, so that it is there when the folders
of the runs, with their checkpoints, are gone.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from byol_jax import optim
from byol_jax.disk import read_json, write_json
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir
from byol_jax.valid import fits
from experiments import systems
from reproduce import arms, provenance

PROBES = ("linear", "knn")  # those that must agree

# What is kept of a run's metrics.jsonl.
CURVES = (
  "loss",
  "spread",
  "valid_knn",
  "valid_spread",
  "valid_effective_rank",
  "valid_rankme",
  "valid_lidar",
  "valid_invariance",
  "valid_alignment",
  "valid_uniformity",
  "valid_feature_common",
  "valid_projection_common",
  "valid_prediction_rank",
  "valid_target_rank",
)


_NUMBER = (int, float)
_OF_NETWORKS = {"encoder": _NUMBER, "untrained": _NUMBER}
# What is read of a record.
_FORM: dict[str, Any] = {
  "made": list,
  "config": {"seed": int, "target": dict, "train": {"batch_size": int, "steps": int}},
  "summary": {
    **dict.fromkeys((*PROBES, "linear_raw"), _OF_NETWORKS),
    "health": {"encoder": dict, "untrained": dict},
  },
  "curves": {"spread": list, "valid_knn": list},
}
_STUDY: dict[str, Any] = {"made": list, "found": dict}

# Name -> steps, and the values there.
Curves = dict[str, tuple[Sequence[int], Sequence[float]]]


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
  curves: Curves

  def accuracy(self, probe: str) -> float:
    """Of a probe, as the summary calls it, on the encoder's features, %."""
    return 100 * self.summary[probe]["encoder"]

  def untrained(self, probe: str) -> float:
    """That of the same network untrained, %."""
    return 100 * self.summary[probe]["untrained"]

  def gain(self, probe: str) -> float:
    """How far the one is above the other, points."""
    return self.accuracy(probe) - self.untrained(probe)

  @property
  def raw(self) -> float:
    """Of a linear classifier on features that are not standardised, %."""
    return self.accuracy("linear_raw")

  def health(self, measure: str, network: str = "encoder") -> float:
    """A measure that needs no labels, of test images; see `evaluation.health`."""
    return self.summary["health"][network][measure]

  @property
  def feature_common(self) -> float:
    """The common part of the encoder's features."""
    return self.health("feature_common")

  @property
  def projection_common(self) -> float:
    """The common part of projections."""
    return self.health("projection_common")

  @property
  def lowest_spread(self) -> float:
    """The lowest spread of the projections that was logged on the way."""
    return min(self.curves["spread"][1])

  @property
  def batch_size(self) -> int:
    """Images of a step."""
    return self.config["train"]["batch_size"]

  @property
  def renewals(self) -> np.ndarray:
    """How often the target has been renewed, by the number of steps: sum (1 - tau)."""
    target = {"frozen": 0.0, **self.config["target"]}  # the first trials lack it
    config = ConfigDict({**self.config, "target": target})
    if config.target.kind != "ema":
      return np.zeros(config.train.steps + 1)
    return optim.renewals(systems.tau_from_config(config), config.train.steps)


class Seeds(list[Result]):
  """The results of an arm, a seed each."""

  def accuracies(self, probe: str) -> list[float]:
    """Of a probe, seed by seed, %."""
    return [result.accuracy(probe) for result in self]

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
  return folder / "runs" / f"{run.id}.json"


def study_path(folder: Path, name: str) -> Path:
  """Where that of a study is."""
  return folder / "studies" / f"{name}.json"


def keep(run: arms.Run, root: Path, folder: Path) -> None:
  """Writes the record of a complete run."""
  run_dir = RunDir(run.folder(root), writes=False)
  config = read_json(run_dir.path / "config.json")
  config["data"]["data_dir"] = None  # says nothing to anyone elsewhere
  result = Result(
    provenance.of_run(run_dir.path),
    config,
    read_json(run_dir.path / "summary.json"),
    curves(run_dir, CURVES),
  )
  _write(run_path(folder, run), result._asdict())


def curves(run_dir: RunDir, names: Sequence[str]) -> Curves:
  """What a run has logged under these names; those that it has not are left out."""
  records = run_dir.records()
  found: Curves = {}
  for name in names:
    if points := [(r["step"], r[name]) for r in records if name in r]:
      steps, values = zip(*points, strict=True)
      found[name] = (steps, [float(f"{value:.5g}") for value in values])
  return found


def keep_study(name: str, folder: Path, found: dict[str, Any]) -> None:
  """Writes the record of a study made here and now."""
  _write(study_path(folder, name), {"made": [provenance.here()], "found": found})


def read(folder: Path, table: Mapping[str, arms.Arm]) -> Results:
  """The complete runs of each arm of a table that has any."""
  found: Results = {}
  for run in arms.runs(table):
    path = run_path(folder, run)
    if path.exists():
      found.setdefault(run.name, Seeds()).append(read_run(path))
  return {name: found[name] for name in table if name in found}


def read_run(path: Path) -> Result:
  """The record of a run.

  Raises:
    UserError: it is damaged, or something else.
  """
  found = read_record(path, _FORM)
  if not all(map(_is_curve, found["curves"].values())):
    raise no_record(path)
  return Result(**found)


def read_record(
  path: Path, form: Mapping[str, Any], *, finite: bool = True
) -> dict[str, Any]:
  """A record: an object of a form, with the form's fields alone.

  Args:
    path: of the record.
    form: see `valid.fits`.
    finite: whether its numbers have to be.

  Raises:
    UserError: it is damaged, or something else.
  """
  found = read_json(path)
  if found.keys() != form.keys() or not fits(found, form):
    raise no_record(path)
  try:
    json.dumps(found, allow_nan=not finite)
  except ValueError as error:
    raise no_record(path) from error
  return found


def no_record(path: Path) -> UserError:
  """What is raised for a file that is no record of ours."""
  return UserError(f"{path} is no record, or a damaged one: delete it or restore it")


def _is_curve(points: Any) -> bool:
  """Whether it is steps, and as many values."""
  return (
    isinstance(points, list)
    and len(points) == 2
    and all(isinstance(each, list) and each for each in points)
    and len(points[0]) == len(points[1])
  )


def read_study(folder: Path, name: str) -> dict[str, Any] | None:
  """What a study "found" and how it was "made", None if it was not."""
  path = study_path(folder, name)
  return read_record(path, _STUDY) if path.exists() else None


def _write(path: Path, record: dict[str, Any]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  write_json(path, record)
