"""The command line of the report: see `byol_jax.report`."""

from byol_jax import interrupts

if __name__ == "__main__":
  interrupts.importing()

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from byol_jax import commands
from byol_jax.disk import absolute
from byol_jax.errors import UserError
from byol_jax.report import write, write_results
from byol_jax.run import host


def main(argv: Sequence[str]) -> None:
  """Writes a report and prints where it is.

  Args:
    argv: of the command line, without the name of the command.

  Raises:
    UserError: the arguments do not go together, or see `write` and `write_results`.
  """
  parser = commands.Parser(
    prog="python -m byol_jax.report",
    description="Writes what a run has learned into one HTML file; of several runs, how"
    " they compare; of a results.jsonl, a table of what it holds.",
    allow_abbrev=False,
  )
  parser.add_argument(
    "paths",
    nargs="+",
    metavar="RUN",
    help="folder of a run; or one file with the results of evaluations",
  )
  parser.add_argument(
    "--out",
    metavar="FILE",
    help="by default report.html in the run's folder; of several runs comparison.html"
    " in the folder that they share; of results.jsonl results.md and results.html"
    " beside it",
  )
  parser.add_argument(
    "--images", metavar="FOLDER", help="where the data set lies now (data.data_dir)"
  )
  given = parser.parse_args(argv)
  commands.set_up_logging()
  _leave_accelerators_alone()
  host.tune()
  for path in _write(given):
    commands.say(path, path)


def _write(given: argparse.Namespace) -> list[Path]:
  """Writes what was asked for; the files."""
  files = [path for path in given.paths if _is_file(path)]
  if not files:
    return [write(given.paths, given.out, given.images)]
  if len(given.paths) > 1:
    raise UserError(
      f"{files[0]} is a file of results, and stands alone: give it, or folders of runs;"
      " of several such files make one, as in cat */results.jsonl > all.jsonl"
    )
  if given.images:
    raise UserError("--images is for the report of a run: leave it out")
  return write_results(files[0], given.out)


def _is_file(path: str) -> bool:
  """Whether it is, or was meant to be, a file of results rather than a run's folder."""
  found = absolute(path)
  return found.is_file() or (found.suffix == ".jsonl" and not found.is_dir())


def _leave_accelerators_alone() -> None:
  """Chooses the CPU, unless JAX_PLATFORMS says otherwise: runs may be at work."""
  chosen = os.environ.setdefault("JAX_PLATFORMS", "cpu")
  jax.config.update("jax_platforms", chosen)


if __name__ == "__main__":
  commands.run(lambda: main(sys.argv[1:]), sys.argv[:1])
