"""What is done in slices of time: stages, the choices between them, their records.

A stage is one start of `byol_jax.main`. What came of it, so far, is a record: a small
file in the report's folder, so that it is there when the folder of the run is gone.
"""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging
from ml_collections import ConfigDict

from byol_jax import disk
from byol_jax.disk import read_json, write_json
from byol_jax.run.folder import RunDir
from byol_jax.valid import COUNT, NUMBER, PART, fits, one_of
from reproduce import arms, records, work
from reproduce.results import Curves

COMPLETE, INCOMPLETE, FAILED = "complete", "incomplete", "failed"

# What is kept of a run's metrics.jsonl.
_CURVES = ("loss", "spread", "valid_knn", "valid_effective_rank", "images_per_second")


# What is read of a record, and of a choice.
_START = {
  "started": str,
  "commit": (str, type(None)),
  "versions": dict,
  "devices": (int, str),
  "kind": str,
}
_FORM: dict[str, Any] = {
  "state": one_of((COMPLETE, INCOMPLETE, FAILED)),
  "why": str,
  "starts": [_START],
  "config": (dict, type(None)),
  "steps": COUNT,
  "found": dict,
  "curves": dict,
}
# What is read of what was found, if it was.
_FOUND = {
  **dict.fromkeys(("images_per_second", "images_per_second_one_batch"), NUMBER),
  **dict.fromkeys(("compile_seconds", "evaluation_seconds", "save_seconds"), NUMBER),
  **dict.fromkeys(("mfu", "mfu_one_batch", "peak_bytes"), (int, float, type(None))),
  **dict.fromkeys(("finite", "collapsed"), bool),
  "knn": {"encoder": PART},
  "linear": {"encoder": PART},
  "seconds": NUMBER,
  "packages": dict,
  "platform": str,
}
_CHOICE: dict[str, Any] = {"settings": dict, "why": str}


class Stage(NamedTuple):
  """A run and its settings.

  Attributes:
    name: of its folder and its record.
    kind: of the table in which it stands.
    config: file of configs/, with what it takes.
    changes: settings that differ from the config's.
    choices: names of choices whose settings it takes besides.
  """

  name: str
  kind: str
  config: str
  changes: Mapping[str, object] = {}
  choices: Sequence[str] = ()


class Record(NamedTuple):
  """What came of a stage.

  Attributes:
    state: `COMPLETE`, `INCOMPLETE` or `FAILED`.
    why: what it failed by, or how it was stopped, in one line.
    starts: its starts.jsonl: command, commit, versions and devices of each; where it
      never came so far, what is known without it.
    config: its config.json, None if it never came so far.
    steps: updates made.
    found: its summary.json, {} unless it is complete.
    curves: steps, and the values there, of what it logged.
  """

  state: str
  why: str
  starts: list[dict[str, Any]]
  config: dict[str, Any] | None
  steps: int
  found: dict[str, Any]
  curves: Curves


Records = Mapping[str, Record]  # by the names of stages


class Choice(NamedTuple):
  """Settings that were found by a rule, and why they are those."""

  settings: dict[str, Any]
  why: str


class Plan(NamedTuple):
  """Stages in the order of their importance.

  Attributes:
    stages: the first first.
    rules: name of a choice -> what makes it, once, of the records that are there.
    least: seconds of work without which no stage is begun.
  """

  stages: Sequence[Stage]
  rules: Mapping[str, Callable[[Records], Choice]]
  least: float


def config(
  stage: Stage, choices: Mapping[str, Choice], data_dir: str | None
) -> ConfigDict:
  """The config of a stage, as `command` describes it for the command line."""
  file, _, argument = stage.config.partition(":")
  settings = _settings(stage, choices)
  return arms.config_of(file, argument or None, settings, _data_dir(stage, data_dir))


def command(
  stage: Stage, choices: Mapping[str, Choice], data_dir: str | None, run: Path
) -> list[str]:
  """What is started for a stage, with `run` for its folder."""
  file, _, argument = stage.config.partition(":")
  name = ":".join(filter(None, (f"{arms.configs()}/{file}.py", argument)))
  settings = _settings(stage, choices)
  if place := _data_dir(stage, data_dir):
    settings["data.data_dir"] = place
  flags = [f"--config.{key}={value}" for key, value in settings.items()]
  main = [sys.executable, "-m", "byol_jax.main"]
  return [*main, f"--config={name}", *flags, f"--workdir={run}"]


def _data_dir(stage: Stage, data_dir: str | None) -> str | None:
  """Where the images of a stage are; its embedded ones are in no folder."""
  return None if stage.changes.get("data.name") == "photos" else data_dir


def _settings(stage: Stage, choices: Mapping[str, Choice]) -> dict[str, Any]:
  chosen: dict[str, Any] = {}
  for name in stage.choices:
    chosen |= choices[name].settings
  return {**stage.changes, **chosen}


def choose(
  plan: Plan, stage: Stage, records: Records, choices: Mapping[str, Choice]
) -> dict[str, Choice]:
  """The choices that there are, and those that a stage needs besides."""
  new = [name for name in stage.choices if name not in choices]
  return {**choices, **{name: plan.rules[name](records) for name in new}}


def choose_for_good(plan: Plan, stage: Stage, folder: Path) -> dict[str, Choice]:
  """The same, by the records that there are; all later slices keep to it."""
  with choosing(folder):
    before = read_choices(folder)
    choices = choose(plan, stage, read(plan, folder), before)
    if new := sorted(choices.keys() - before.keys()):
      keep_choices(folder, choices)
  for name in new:
    logging.info("%s is chosen for good: %s", name, choices[name].why)
  return choices


# Records and choices, under the folder of the report.


def record_path(folder: Path, name: str) -> Path:
  """Where the record of a stage is."""
  return folder / "accelerator" / f"{name}.json"


def read(plan: Plan, folder: Path) -> dict[str, Record]:
  """The records that there are."""
  paths = {stage.name: record_path(folder, stage.name) for stage in plan.stages}
  return {name: _read(path) for name, path in paths.items() if path.exists()}


def _read(path: Path) -> Record:
  """A record; a loss in it may be no number, where a stage has diverged."""
  found = records.read_record(path, _FORM, finite=False)
  known = {name: form for name, form in _FOUND.items() if name in found["found"]}
  curves = found["curves"].values()
  if not fits(found["found"], known) or not all(
    records.is_curve(points, (int, float)) for points in curves
  ):
    raise records.no_record(path)
  return Record(**found)


def keep(folder: Path, name: str, record: Record) -> None:
  """Writes a record, unless the one that is there is of a run that came further."""
  path = record_path(folder, name)
  if record.state != COMPLETE and path.exists():
    before = _read(path)
    if before.steps > record.steps:
      record = before._replace(state=record.state, why=record.why)
  path.parent.mkdir(parents=True, exist_ok=True)
  write_json(path, record._asdict())


def of_run(run: Path, state: str, why: str = "") -> Record:
  """The record of what is in the folder of a run, which need not be there."""
  run_dir = RunDir(run, writes=False)
  lines = run_dir.records()
  return Record(
    state,
    why,
    run_dir.starts(),
    run_dir.read_config(),
    lines[-1]["step"] if lines else 0,
    run_dir.read_summary() or {},
    records.curves(run_dir, _CURVES),
  )


def choosing(folder: Path) -> contextlib.AbstractContextManager[None]:
  """Waits for another command that chooses: several may share a report."""
  return disk.in_turn(folder / "accelerator" / "choices.lock")


def read_choices(folder: Path) -> dict[str, Choice]:
  """The choices that were made."""
  path = _choices_path(folder)
  made = read_json(path) if path.exists() else {}
  if not all(fits(choice, _CHOICE) for choice in made.values()):
    raise records.no_record(path)
  return {name: Choice(each["settings"], each["why"]) for name, each in made.items()}


def keep_choices(folder: Path, choices: Mapping[str, Choice]) -> None:
  """Writes them down."""
  path = _choices_path(folder)
  path.parent.mkdir(parents=True, exist_ok=True)
  write_json(path, {name: choice._asdict() for name, choice in choices.items()})


def _choices_path(folder: Path) -> Path:
  return folder / "accelerator" / "choices.json"


def check(plan: Plan, folder: Path, data_dir: str | None) -> None:
  """Finds out whether the records that are there are of these configs.

  Raises:
    UserError: one of them is not.
  """
  records, choices = read(plan, folder), read_choices(folder)
  for stage in plan.stages:
    there = records[stage.name].config if stage.name in records else None
    if there is None:
      continue
    made = choose(plan, stage, records, choices)
    work.check_record(
      record_path(folder, stage.name), there, config(stage, made, data_dir)
    )
