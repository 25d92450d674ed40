"""What ends a run in one line, without a stack trace."""

import difflib
import os
from collections.abc import Iterable

_MANY = 20  # names, which are listed only where none is like the wrong one


class UserError(Exception):
  """Something the user can put right.

  Its message is one line that names the thing that is wrong and the way out;
  the launcher prints that line alone, without a stack trace, and exits with 1.
  """


def no_such(what: str, name: object, names: Iterable[object]) -> UserError:
  """What is raised for a name that is none of some, with the one that is like it."""
  there = list(map(str, names))
  close = difflib.get_close_matches(name, there, 1) if isinstance(name, str) else []
  every = ", ".join(there)
  if not close:
    advice = f"choose one of {every}"
  else:
    advice = f"did you mean {close[0]}?"
    if len(there) <= _MANY:
      advice += f" There are {every}"
  return UserError(f"there is no {what} {name!r}: {advice}")


class OtherHost(UserError):
  """Another host is missing: the same command may well succeed, once it is there.

  Commands exit with `STATUS`, by which schedulers know it from a mistake.
  """

  STATUS = os.EX_TEMPFAIL


class Diverged(UserError):
  """What is trained is infinite or no number, as with too high a learning rate."""


def check_positive(name: str, value: int) -> None:
  """Raises UserError for a setting below 1."""
  if value < 1:
    raise UserError(f"{name} is {value}: give 1 or more")


class Stopped(Exception):
  """The run was asked to stop, and saved its state first."""

  def __init__(self, step: int, signal_number: int):
    super().__init__(
      f"stopped after step {step} and saved; the same command continues the run"
    )
    self.signal_number = signal_number
