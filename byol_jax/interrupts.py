"""Ctrl-C while a command imports its modules.

Nothing is under way then that would have to be put down, and imports make anything of
an interrupt: a page of a stack trace, another error, or nothing at all. So it ends the
process at once, as it does programs in C. This module imports next to nothing, as it
comes before all others.
"""

import signal


class Terminated(KeyboardInterrupt):
  """SIGTERM, where it is to do what Ctrl-C does."""


def as_interrupt(number: int, frame: object) -> None:
  """A handler of SIGTERM.

  Raises:
    Terminated: always.
  """
  raise Terminated


def importing() -> None:
  """From now on Ctrl-C ends this process at once and without a word."""
  _change(signal.default_int_handler, signal.SIG_DFL)


def imported() -> None:
  """From now on Ctrl-C is a KeyboardInterrupt, as Python has it."""
  _change(signal.SIG_DFL, signal.default_int_handler)


def _change(before: object, after: object) -> None:
  """Leaves alone what others have chosen, such as nohup."""
  if signal.getsignal(signal.SIGINT) is before:
    signal.signal(signal.SIGINT, after)  # type: ignore[arg-type]
