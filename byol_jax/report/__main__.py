"""The command line of the report: see `byol_jax.report`."""

import argparse
import os
import sys
from collections.abc import Sequence

import jax

from byol_jax.errors import UserError
from byol_jax.report import write
from byol_jax.run import host


def main(argv: Sequence[str] | None = None) -> None:
  """Writes a report and prints where it is; a user's mistake is one line."""
  parser = argparse.ArgumentParser(
    prog="python -m byol_jax.report",
    description="Writes what a run has learned into one HTML file; of several runs, how"
    " they compare.",
    allow_abbrev=False,
  )
  parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run")
  parser.add_argument(
    "--out",
    metavar="FILE",
    help="by default report.html in the run's folder; of several runs comparison.html"
    " in the folder that they share",
  )
  parser.add_argument(
    "--images", metavar="FOLDER", help="where the data set lies now (data.data_dir)"
  )
  given = parser.parse_args(argv)
  _leave_accelerators_alone()
  host.tune()
  try:
    print(write(given.runs, given.out, given.images))
  except UserError as error:
    sys.exit(f"byol_jax: {error}")


def _leave_accelerators_alone() -> None:
  """Chooses the CPU, unless JAX_PLATFORMS says otherwise: runs may be at work."""
  chosen = os.environ.setdefault("JAX_PLATFORMS", "cpu")
  jax.config.update("jax_platforms", chosen)


if __name__ == "__main__":
  main()
