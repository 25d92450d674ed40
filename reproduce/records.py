"""Records: what is kept of a run or a study, and what the report is made from.

A record is a small file in the report's folder, so that it is there when the folders
of the runs, with their checkpoints, are gone. What is not of its form is refused, by
its name, when it is written as when it is read: whatever reads it later relies on it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from byol_jax.disk import read_json, write_json
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir
from byol_jax.valid import COUNT, NUMBER, PART, fits
from reproduce import agreement, arms, provenance
from reproduce.results import PROBES, Curves, Result, Results, Seeds

# What is kept of a run's metrics.jsonl: what every run has logged, and what not all.
_ALWAYS = (
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
  "valid_prediction_rank",
  "valid_target_rank",
)
CURVES = (*_ALWAYS, "valid_feature_common", "valid_projection_common")

_MADE = [dict.fromkeys(("commit", "machine", "versions", "day"), str)]
_OF_NETWORKS = {"encoder": PART, "untrained": PART}
_HEALTH = dict.fromkeys(
  (*agreement.CANDIDATES, "prediction_rank", "target_rank"), NUMBER
)
_FORM: dict[str, Any] = {
  "made": _MADE,
  "config": {
    "seed": COUNT,
    "target": {"kind": str, "tau": PART, "schedule": str},
    "train": {"batch_size": COUNT, "steps": COUNT},
  },
  "summary": {
    **dict.fromkeys((*PROBES, "linear_raw"), _OF_NETWORKS),
    "health": {"encoder": _HEALTH, "untrained": dict},
  },
  "curves": dict.fromkeys(_ALWAYS, list),
}
_COST = {
  **dict.fromkeys(("images_per_second", "spread", "temp_mib"), NUMBER),
  "devices": COUNT,
  "collectives": {"all-reduce": {"ops": COUNT, "arrays": COUNT}},
}
_RAFT = {"mirrored": [NUMBER], "as it is": [NUMBER]}
_FOLLOWED = {"losses": {"byol-prime": [NUMBER], **_RAFT}, "distances": _RAFT}
# What the studies have found.
_STUDIES: dict[str, Any] = {
  "pixels": dict.fromkeys(PROBES, PART),
  "independence": {
    name: {"prediction": NUMBER, "gradient": NUMBER}
    for name in arms.STUDIES["independence"]
  },
  "mirror": {"steps": COUNT, "float64": _FOLLOWED, "float32": _FOLLOWED},
  "costs": dict.fromkeys(arms.COMPARED, _COST),
}


def run_path(folder: Path, run: arms.Run) -> Path:
  """Where the record of a run is under the folder of the report."""
  return folder / "runs" / f"{run.id}.json"


def study_path(folder: Path, name: str) -> Path:
  """Where that of a study is."""
  return folder / "studies" / f"{name}.json"


def keep(run: arms.Run, root: Path, folder: Path) -> None:
  """Writes the record of a complete run.

  Raises:
    UserError: what it has left is no such record.
  """
  run_dir = RunDir(run.folder(root), writes=False)
  config = read_json(run_dir.path / "config.json")
  config["data"]["data_dir"] = None  # says nothing to anyone elsewhere
  record = {
    "config": config,
    "summary": read_json(run_dir.path / "summary.json"),
    "curves": {name: list(c) for name, c in curves(run_dir, CURVES).items()},
  }
  if not _is_record({"made": [], **record}):
    raise UserError(
      f"{run_dir.path} lacks what a complete run leaves, or has what is no number:"
      " delete it, and it is trained again"
    )
  _write(run_path(folder, run), {"made": provenance.of_run(run_dir.path), **record})


def curves(run_dir: RunDir, names: Sequence[str]) -> Curves:
  """What a run has logged under these names; those that it has not are left out."""
  records = run_dir.records()
  found: Curves = {}
  for name in names:
    if points := [(r["step"], r[name]) for r in records if name in r]:
      steps, values = zip(*points, strict=True)
      found[name] = (list(steps), [float(f"{value:.5g}") for value in values])
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
  if not _is_record(found):
    raise no_record(path)
  return Result(**found)


def _is_record(found: Mapping[str, Any]) -> bool:
  """Whether it is one of a run."""
  if not fits(found, _FORM):
    return False
  most = found["config"]["train"]["steps"]
  evaluations = found["curves"]["valid_knn"]
  return all(
    is_curve(points, NUMBER)
    and points[0][-1] <= most
    # One is before the first step. All that is evaluated is evaluated at once.
    and (not name.startswith("valid_") or 1 < len(points[0]) == len(evaluations[0]))
    for name, points in found["curves"].items()
  )


def is_curve(points: Any, value: Any) -> bool:
  """Whether it is steps in their order, and as many values of a form."""
  return (
    isinstance(points, list)
    and len(points) == 2
    and fits(points, [list])
    and 0 < len(points[0]) == len(points[1])
    and fits(points[0], [COUNT])
    and all(one < next_ for one, next_ in zip(points[0], points[0][1:], strict=False))
    and fits(points[1], [value])
  )


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


def read_study(folder: Path, name: str) -> dict[str, Any] | None:
  """What a study "found" and how it was "made", None if it was not."""
  path = study_path(folder, name)
  form = {"made": _MADE, "found": _STUDIES[name]}
  return read_record(path, form) if path.exists() else None


def read_pixels(folder: Path) -> dict[str, float] | None:
  """Accuracies of raw pixels by probe, %, None if they were not measured."""
  study = read_study(folder, "pixels")
  return study and {probe: 100 * value for probe, value in study["found"].items()}


def _write(path: Path, record: dict[str, Any]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  write_json(path, record)
