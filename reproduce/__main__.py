"""Runs the papers' argument on CIFAR-10 and writes the report.

  python -m reproduce --data_dir=DIR --jobs=2      everything, two runs at a time
  python -m reproduce --data_dir=DIR --only=bn     that arm or study alone
  python -m reproduce --norun                      the report of what there is
  python -m reproduce --trials --data_dir=DIR      the trials that chose the setting
  python -m reproduce --scale=accelerator --minutes=10 --data_dir=DIR
                                                   a slice of what takes an accelerator
                                                   (with --only=gn-ws, that stage alone)

Each arm is a run of `byol_jax.main` in a folder of its own; the studies, each a
module of this package, come after the arms. What comes of each is kept in a record
beside the report. The same command again continues where it was stopped, and leaves
alone what has a record.
"""

from byol_jax import interrupts

if __name__ == "__main__":
  interrupts.importing()

import functools
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags, logging
from ml_collections import ConfigDict

from byol_jax import commands, disk
from byol_jax.errors import UserError, no_such
from byol_jax.run import folder as run_folder
from configs import presets
from reproduce import accelerator, accelerator_tables, arms, slices, stages, work
from reproduce.trials import TRIALS


def main(
  workdir: str,
  report_dir: str | None,
  data_dir: str | None,
  *,
  only: Sequence[str],
  jobs: int,
  run: bool,
  trials: bool = False,
) -> None:
  """Runs, then reports.

  Args:
    workdir: folder of all runs.
    report_dir: folder of the report and its records; None for one in `workdir`.
    data_dir: folder of tensorflow-datasets; None for its own default.
    only: arms, studies and trials to run; nothing for all arms and studies.
    jobs: runs at a time.
    run: whether to run what is not complete.
    trials: whether nothing stands for all trials.

  Raises:
    UserError: something is not as it must be, or a run failed.
  """
  from reproduce import report

  logging.set_verbosity(logging.INFO)
  root, folder = _folders(workdir, report_dir)
  failed: dict[str, str] = {}
  table = {**arms.ARMS, **TRIALS}
  _check_names("arm, study or trial", only, [*table, *arms.STUDIES])
  work.check(list(arms.runs(table)), folder, data_dir)
  if run:
    names = only or (TRIALS if trials else [*arms.ARMS, *arms.STUDIES])
    work.check_jobs(jobs)
    _prepare(data_dir)
    runs = work.needed(names, root, folder, data_dir)
    with work.claimed(root):
      report.write(folder)  # what it cannot read or write is known before any run
      signal.signal(signal.SIGTERM, interrupts.as_interrupt)
      failed = work.train(runs, root, folder, data_dir, jobs=jobs)
      for name in arms.STUDIES:
        if name in names:
          work.study(name, root, folder, data_dir)
  else:
    _check_records(folder, "runs")
  path = report.write(folder)
  commands.say(path, path)
  if failed:
    raise UserError(f"{_reasons(failed)}; see {root / 'logs'}")


def _reasons(failed: Mapping[str, str]) -> str:
  """Each reason once, after the names of the runs that failed by it."""
  names: dict[str, list[str]] = {}
  for name, why in failed.items():
    names.setdefault(why, []).append(name)
  return "; ".join(f"{', '.join(each)} {why}" for why, each in names.items())


def in_slices(
  workdir: str,
  report_dir: str | None,
  data_dir: str | None,
  *,
  only: Sequence[str] = (),
  minutes: float | None,
  run: bool,
) -> None:
  """Does what it can of `accelerator.PLAN` in some minutes, then reports.

  Args:
    workdir, report_dir, data_dir, run: as for `main`.
    only: stages to run; nothing for all.
    minutes: how long this may take.

  Raises:
    UserError: something is not as it must be, or a stage failed.
  """
  logging.set_verbosity(logging.INFO)
  plan = accelerator.PLAN
  root, folder = _folders(workdir, report_dir)
  _check_names("stage", only, [stage.name for stage in plan.stages])
  stages.check(plan, folder, data_dir)
  if not run:
    _check_records(folder, "accelerator")
  elif slices.todo(plan, folder, only):
    left = slices.clock(plan, folder, minutes)
    configs = slices.configs(plan, folder, data_dir, only)
    for config in {(c.data.name, c.data.train): c for c in configs}.values():
      _check_images(config)
    accelerator.check_device()
    noted = functools.partial(accelerator_tables.write, plan, folder)
    noted()  # what it cannot read or write is known before any stage
    signal.signal(signal.SIGTERM, interrupts.as_interrupt)
    slices.run(plan, root, folder, data_dir, left, only=only, noted=noted)
  path = accelerator_tables.write(plan, folder)
  commands.say(path, path)
  commands.say(slices.outcome(plan, root, folder), path)
  if failed := slices.failed(plan, folder):
    raise UserError(
      f"{', '.join(failed)} failed, as the report says; the next call tries again"
    )


def _folders(workdir: str, report_dir: str | None) -> tuple[Path, Path]:
  """Those of the runs and of the report.

  Raises:
    UserError: there cannot be such folders.
  """
  if not workdir or report_dir == "":
    raise UserError("--workdir or --report is empty: name a folder, or leave it out")
  root = disk.absolute(workdir)
  folder = disk.absolute(report_dir) if report_dir else root / "report"
  for path in (root, folder):
    if os.path.lexists(path) and not path.is_dir():
      raise UserError(f"{path} is a file: name a folder")
  run_folder.check_name(root)
  return root, folder


def _check_names(what: str, only: Sequence[str], there: Sequence[str]) -> None:
  for name in only:
    if "," in name:
      raise UserError(f"--only={name}: give --only once for each name")
    if name not in there:
      raise no_such(what, name, there)


def _check_records(folder: Path, kind: str) -> None:
  """Raises UserError where there are no records to write a report from."""
  if not any((folder / kind).glob("*.json")):
    raise UserError(f"{folder} has no records in {kind}/: name the folder of a report")


def _prepare(data_dir: str | None) -> None:
  """Tunes XLA for the studies, and finds out whether there is anything to train on.

  Raises:
    UserError: the images are not there.
  """
  from byol_jax.run import host

  host.tune()
  config = presets.get(arms.PRESET)
  config.data.data_dir = data_dir
  _check_images(config)


def _check_images(config: ConfigDict) -> None:
  """Opens what is trained on; raises UserError if it is not there."""
  from byol_jax.data import datasets

  data = config.data
  datasets.open_dataset(data.name, data.data_dir).check(data.train)


if __name__ == "__main__":
  WORKDIR = flags.DEFINE_string("workdir", "runs/reproduce", "Folder of all runs.")
  REPORT = flags.DEFINE_string(
    "report", None, "Folder of the report and its records: WORKDIR/report."
  )
  DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of tensorflow-datasets.")
  ONLY = flags.DEFINE_multi_string(
    "only", [], "Arm, study or trial, or stage, to run; all if not given."
  )
  JOBS = flags.DEFINE_integer(
    "jobs", 1, "Runs at a time, each on its share of CPU cores and GPU memory."
  )
  RUN = flags.DEFINE_bool("run", True, "Whether to run what is not complete.")
  ONLY_TRIALS = flags.DEFINE_bool(
    "trials", False, "Run the trials that chose the setting, not the arms."
  )
  SCALE = flags.DEFINE_enum(
    "scale",
    "cpu",
    ["cpu", "accelerator"],
    "The arms and studies, or what takes an accelerator and is done in slices.",
  )
  MINUTES = flags.DEFINE_float(
    "minutes", None, "With --scale=accelerator: how long this command may take."
  )

  def _refuse(beside: str, others: list[flags.FlagHolder]) -> None:
    for flag in others:
      if flag.present:
        raise UserError(f"--{flag.name} is not for {beside}: leave it out")

  def _main() -> None:
    commands.set_up_logging()
    where = WORKDIR.value, REPORT.value, DATA_DIR.value
    others: dict[str, list[flags.FlagHolder]]
    others = {"cpu": [MINUTES], "accelerator": [JOBS, ONLY_TRIALS]}
    _refuse(f"--scale={SCALE.value}", others[SCALE.value])
    if not RUN.value:
      _refuse("--norun", [JOBS, MINUTES, ONLY, ONLY_TRIALS])
    if ONLY.value:
      _refuse("--only, which names trials too", [ONLY_TRIALS])
    if SCALE.value == "accelerator":
      in_slices(*where, only=ONLY.value, minutes=MINUTES.value, run=RUN.value)
    else:
      main(
        *where,
        only=ONLY.value,
        jobs=JOBS.value,
        run=RUN.value,
        trials=ONLY_TRIALS.value,
      )

  commands.run(_main, sys.argv)
