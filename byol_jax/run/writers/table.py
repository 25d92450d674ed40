"""The writers by name, as `log.writers` has them."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from byol_jax.errors import UserError
from byol_jax.run.writers.process import Follower

NONE = "none"
DEFAULT = "tensorboard"

# Name -> the package that it needs, an extra of ours but for the first.
WRITERS = {
  "tensorboard": "tensorboardX",
  "wandb": "wandb",
  "mlflow": "mlflow",
  "trackio": "trackio",
}


class Writer(Protocol):
  """What a run needs of a writer; nothing that it does may raise, or wait for long."""

  def add(self, step: int, scalars: Mapping[str, float]) -> None:
    """Takes the scalars of a step, which metrics.jsonl has already."""

  def close(self) -> None:
    """Takes no more, and the summary from its file, if there is one."""


def names(setting: str) -> list[str]:
  """The writers that a setting names, with commas between; of "none" none."""
  return [] if setting == NONE else setting.split(",")


def are_known(setting: str) -> bool:
  """Whether there are all that a setting names, each once."""
  found = names(setting)
  return set(found) <= WRITERS.keys() and len(set(found)) == len(found)


def check(setting: str) -> None:
  """Looks whether all writers can be used here.

  Raises:
    UserError: one is not known, or its package is not installed.
  """
  for name in names(setting):
    if name not in WRITERS:
      raise UserError(
        f"log.writers has {name!r}: give some of {', '.join(WRITERS)}, or {NONE}"
      )
    found = importlib.util.find_spec(WRITERS[name])
    # What has no file is a folder of that name, such as W&B makes.
    if found is None or found.origin is None:
      raise UserError(
        f"log.writers has {name}, which is not installed: run pip install -e"
        f" '.[{name}]', or leave it out"
      )


def opened(
  setting: str,
  folder: Path,
  first_step: int,
  before: Sequence[Mapping[str, float]] = (),
) -> list[Writer]:
  """The writers of a run that is about to make a step, the first or a later one.

  Args:
    setting: their names.
    folder: of the run, with its config.json, and metrics.jsonl up to that step.
    first_step: that step; a run that goes on may have logged it before.
    before: the records of that file, for a writer that is new and does not read it.
  """
  found: list[Writer] = []
  for name in names(setting):
    if name == DEFAULT:
      from byol_jax.run.writers.tensorboard import Scalars  # imports torch, if it can

      is_new = not (folder / name).exists()
      scalars = Scalars(folder / name, 0 if is_new else first_step)
      for record in before if is_new else ():
        scalars.add(int(record["step"]), {k: record[k] for k in record if k != "step"})
      found.append(scalars)
    else:
      found.append(Follower(name, folder))
  return found
