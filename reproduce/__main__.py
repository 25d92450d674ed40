"""Runs the papers' argument on CIFAR-10 and writes the report.

  python -m reproduce --data_dir=DIR --jobs=2      everything, two runs at a time
  python -m reproduce --data_dir=DIR --only=bn     that arm or study alone
  python -m reproduce --norun                      the report of what there is

Each arm is a run of `byol_jax.main` in a folder of its own; the studies, each a
module of this package, come after the arms. What comes of each is kept in a record
beside the report. The same command again continues where it was stopped, and leaves
alone what has a record.
"""

import signal
import sys
from pathlib import Path

from absl import app, flags, logging

from byol_jax.errors import UserError
from configs import presets
from reproduce import arms, work

_WORKDIR = flags.DEFINE_string("workdir", "runs/reproduce", "Folder of all runs.")
_REPORT = flags.DEFINE_string(
  "report", None, "Folder of the report and its records: WORKDIR/report."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of tensorflow-datasets.")
_ONLY = flags.DEFINE_multi_enum(
  "only", [], [*arms.ARMS, *arms.STUDIES], "What to run; all if not given."
)
_JOBS = flags.DEFINE_integer(
  "jobs", 1, "Runs at a time, each on its share of the CPU cores."
)
_RUN = flags.DEFINE_bool("run", True, "Whether to run what is not complete.")


def main(argv: list[str]) -> None:
  """Runs, then reports."""
  del argv
  from reproduce import report

  logging.set_verbosity(logging.INFO)
  root = Path(_WORKDIR.value).absolute()
  folder = Path(_REPORT.value or root / "report")
  failed = []
  work.check(arms.runs(), folder, _DATA_DIR.value)
  if _RUN.value:
    runs = [run for run in arms.runs() if _wanted(run.arm)]
    _prepare()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failed = work.train(runs, root, folder, _DATA_DIR.value, _JOBS.value)
    for name in filter(_wanted, arms.STUDIES):
      work.study(name, root, folder, _DATA_DIR.value)
  print(report.write(folder))
  if failed:
    raise UserError(f"{', '.join(failed)} failed: see {root / 'logs'}")


def _prepare() -> None:
  """Tunes XLA for the studies, and finds out whether there is anything to train on.

  Raises:
    UserError: the images are not there.
  """
  from byol_jax.run import host

  host.tune()
  from byol_jax.data import datasets, sources

  data = presets.get(arms.PRESET).data
  sources.check_split(datasets.open_dataset(data.name, _DATA_DIR.value), data.train)


def _wanted(name: str) -> bool:
  return not _ONLY.value or name in _ONLY.value


if __name__ == "__main__":
  try:
    app.run(main)
  except UserError as error:
    sys.exit(f"reproduce: {error}")
  except OSError as error:  # a full disk, above all
    sys.exit(f"reproduce: {error}; the same command goes on where it was")
  except KeyboardInterrupt:
    sys.exit("reproduce: interrupted; the same command goes on where it was")
