"""Runs the papers' argument on CIFAR-10 and writes the report.

  python -m reproduce --data_dir=DIR               everything, for hours
  python -m reproduce --data_dir=DIR --only=none   that arm or study alone
  python -m reproduce --norun                      the report of what there is

Each arm is a run of `byol_jax.main` in a folder of its own; the studies, each a
module of this package, come after the arms. The same command again continues where it
was stopped, and leaves alone what is complete.
"""

from pathlib import Path

from absl import app, flags, logging

from reproduce import arms, work

_WORKDIR = flags.DEFINE_string("workdir", "runs/reproduce", "Folder of all runs.")
_REPORT = flags.DEFINE_string("report", None, "Folder of the report: WORKDIR/report.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of tensorflow-datasets.")
_ONLY = flags.DEFINE_multi_enum(
  "only", [], [*arms.ARMS, *arms.STUDIES], "What to run; all if not given."
)
_RUN = flags.DEFINE_bool("run", True, "Whether to run what is not complete.")


def main(argv: list[str]) -> None:
  """Runs, then reports."""
  del argv
  from byol_jax import host

  host.tune()  # before JAX is imported
  from reproduce import report

  logging.set_verbosity(logging.INFO)
  root = Path(_WORKDIR.value).absolute()
  if _RUN.value:
    for run in arms.runs():
      if _wanted(run.arm):
        work.train(run, root, _DATA_DIR.value)
    for name in filter(_wanted, arms.STUDIES):
      work.study(name, root, _DATA_DIR.value)
  print(report.write(root, Path(_REPORT.value or root / "report")))


def _wanted(name: str) -> bool:
  return not _ONLY.value or name in _ONLY.value


if __name__ == "__main__":
  app.run(main)
