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
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging
from ml_collections import ConfigDict

from byol_jax import commands
from byol_jax.errors import UserError, no_such
from configs import presets
from reproduce import accelerator, accelerator_tables, arms, slices, work
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
  from reproduce import claims, report

  logging.set_verbosity(logging.INFO)
  root = Path(workdir).absolute()
  folder = Path(report_dir or root / "report")
  failed = []
  _check_folders(root, folder)
  table = {**arms.ARMS, **TRIALS}
  _check_names("arm, study or trial", only, [*table, *arms.STUDIES])
  work.check(arms.runs(table), folder, data_dir)
  if run:
    wanted = only or (TRIALS if trials else [*arms.ARMS, *arms.STUDIES])
    _prepare(data_dir)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    runs = [each for each in claims.runs(table) if each.name in wanted]
    failed = work.train(runs, root, folder, data_dir, jobs=jobs)
    for name in arms.STUDIES:
      if name in wanted:
        work.study(name, root, folder, data_dir)
  print(report.write(folder))
  if failed:
    raise UserError(f"{', '.join(failed)} failed: see {root / 'logs'}")


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
  plan, root = accelerator.PLAN, Path(workdir)
  folder = Path(report_dir or root / "report")
  _check_folders(root, folder)
  _check_names("stage", only, [stage.name for stage in plan.stages])
  if run and slices.todo(plan, folder, only):
    left = slices.clock(plan, minutes)
    configs = slices.configs(plan, folder, data_dir, only)
    for config in {(c.data.name, c.data.train): c for c in configs}.values():
      _check_images(config, data_dir)
    accelerator.check_device()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    noted = functools.partial(accelerator_tables.write, plan, folder)
    slices.run(plan, root, folder, data_dir, left, only=only, noted=noted)
  print(accelerator_tables.write(plan, folder))
  print(slices.outcome(plan, root, folder))
  if failed := slices.failed(plan, folder):
    raise UserError(
      f"{', '.join(failed)} failed, as the report says; the next call tries again"
    )


def _check_folders(*folders: Path) -> None:
  """Raises UserError for a file where a folder is to be."""
  for folder in folders:
    if folder.exists() and not folder.is_dir():
      raise UserError(f"{folder} is a file: name a folder")


def _check_names(what: str, only: Sequence[str], there: Sequence[str]) -> None:
  for name in only:
    if name not in there:
      raise no_such(what, name, there)


def _prepare(data_dir: str | None) -> None:
  """Tunes XLA for the studies, and finds out whether there is anything to train on.

  Raises:
    UserError: the images are not there.
  """
  from byol_jax.run import host

  host.tune()
  _check_images(presets.get(arms.PRESET), data_dir)


def _check_images(config: ConfigDict, data_dir: str | None) -> None:
  """Opens what is trained on; raises UserError if it is not there."""
  from byol_jax.data import datasets

  data = config.data
  datasets.open_dataset(data.name, data_dir).check(data.train)


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

  def _main() -> None:
    commands.set_up_logging()
    where = WORKDIR.value, REPORT.value, DATA_DIR.value
    others: dict[str, list[flags.FlagHolder]]
    others = {"cpu": [MINUTES], "accelerator": [JOBS, ONLY_TRIALS]}
    for flag in others[SCALE.value]:
      if flag.present:
        raise UserError(f"--{flag.name} is not for --scale={SCALE.value}")
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
