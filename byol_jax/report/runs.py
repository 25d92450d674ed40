"""What the folder of a run says, read without touching it.

It may be at work, have been killed, or be of an older version: what is not there is
None or empty here, and it is for the page to say so.
"""

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from byol_jax.disk import absolute, read_json
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir

Points = list[tuple[int, float]]  # (step, value), steps ascending


@dataclasses.dataclass(frozen=True)
class Run:
  """A run, as its folder has it.

  Attributes:
    path: of the folder.
    name: what the page calls it.
    config: the resolved config; ask for settings by `setting`.
    records: the lines of metrics.jsonl.
    summary: the results; None until the run is complete.
    starts: the lines of starts.jsonl.
    origin: origin.json; None of a run that began with no other.
    skipped: (file, reason) of images that could not be read.
  """

  path: Path
  name: str
  config: dict[str, Any]
  records: list[dict[str, Any]]
  summary: dict[str, Any] | None
  starts: list[dict[str, Any]]
  origin: dict[str, Any] | None
  skipped: list[tuple[str, str]]

  def setting(self, name: str) -> Any:
    """A setting by its full name, such as "train.steps"; None where there is none."""
    found: Any = self.config
    for key in name.split("."):
      found = found.get(key) if isinstance(found, dict) else None
    return found

  def located(self, name: str) -> str | None:
    """A setting that is a path, from where the run was last started."""
    path = self.setting(name)
    folder = self.starts[-1].get("folder", "") if self.starts else ""
    if not isinstance(path, str) or not isinstance(folder, str):
      return None
    return os.path.join(folder, os.path.expanduser(path))

  @property
  def is_pretraining(self) -> bool:
    """Whether it made an encoder, rather than evaluate one."""
    return self.setting("experiment") == "pretrain"

  @property
  def step(self) -> int | None:
    """The last step that was logged."""
    return self.records[-1]["step"] if self.records else None

  @property
  def seconds(self) -> float | None:
    """Over all starts, without the time that it lay idle."""
    return number((self.summary or {}).get("seconds")) or self.last("seconds")

  @property
  def evaluated(self) -> dict[str, Any]:
    """Path, step and checksum of the encoder that it evaluated; {} if not known."""
    found = (self.summary or {}).get("evaluated")
    return found if isinstance(found, dict) else {}

  def points(self, name: str) -> Points:
    """Where a scalar was logged, and is finite."""
    found = ((record["step"], number(record.get(name))) for record in self.records)
    return [(step, value) for step, value in found if value is not None]

  def last(self, name: str) -> float | None:
    """A scalar's last value."""
    points = self.points(name)
    return points[-1][1] if points else None

  def result(self, name: str) -> float | None:
    """A number of the summary, such as "spread"."""
    return number((self.summary or {}).get(name))

  @property
  def started_from_another(self) -> bool:
    """Whether its first step had the weights of another run."""
    return (self.origin or {}).get("setting") == "start_from"

  def accuracies(self, probe: str) -> dict[str, float]:
    """Test accuracies in [0, 1] of a probe: {"encoder": ..., "untrained": ...}."""
    found = (self.summary or {}).get(probe)
    items = found.items() if isinstance(found, dict) else ()
    known = ((name, number(value)) for name, value in items)
    return {name: value for name, value in known if value is not None}


def number(value: Any) -> float | None:
  """A finite number as it is, None for everything else."""
  if isinstance(value, int | float) and math.isfinite(value):
    return float(value)
  return None


def read(paths: Sequence[str | os.PathLike[str]]) -> list[Run]:
  """Reads the folders of runs; each is named by as much of its path as it takes.

  Raises:
    UserError: one is no folder of a run, is damaged, or is given twice.
  """
  folders = [absolute(path) for path in paths]
  for number_, folder in enumerate(folders):
    if os.path.realpath(folder) in map(os.path.realpath, folders[:number_]):
      raise UserError(f"{folder} is given twice: name each run once")
  ends = [folder.name for folder in folders]
  names = ends if len(set(ends)) == len(ends) else [os.fspath(path) for path in paths]
  return [_read(folder, name) for folder, name in zip(folders, names, strict=True)]


def _read(folder: Path, name: str) -> Run:
  run_dir = RunDir(folder, writes=False)
  try:
    config = read_json(folder / "config.json", "restore it")
    if not isinstance(config.get("experiment"), str):
      raise UserError(
        f"{folder / 'config.json'} names no experiment; is that the folder of a run?"
      )
    return Run(
      path=folder,
      name=name,
      config=config,
      records=_in_order(run_dir),
      summary=run_dir.read_summary(),
      starts=run_dir.starts(),
      origin=run_dir.read_origin(),
      skipped=_skipped(folder / "skipped.tsv"),
    )
  except OSError as error:
    raise UserError(f"cannot read {error.filename}: {error.strerror}") from error


def _in_order(run_dir: RunDir) -> list[dict[str, Any]]:
  records = run_dir.records()
  steps = [record["step"] for record in records]
  if not all(type(step) is int for step in steps) or steps != sorted(steps):
    raise UserError(
      f"{run_dir.path / 'metrics.jsonl'} is damaged: its steps are to be whole numbers"
      " that ascend; restore it"
    )
  return records


def _skipped(path: Path) -> list[tuple[str, str]]:
  """(file, reason) of each line; names need not be UTF-8."""
  if not path.exists():
    return []
  text = path.read_bytes().decode(errors="backslashreplace")
  lines = (line.partition("\t") for line in text.split("\n") if line)
  return [(file, reason) for file, _, reason in lines]
