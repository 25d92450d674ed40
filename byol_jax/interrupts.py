"""Ctrl-C while a command imports its modules, and afterwards.

Nothing is under way at first that would have to be put down, and imports make anything
of an interrupt: a page of a stack trace, another error, or nothing at all. So it ends
the process at once, as it does programs in C. This module imports next to nothing, as
it comes before all others.
"""

import signal
import sys
import threading


def importing() -> None:
  """From now on Ctrl-C ends this process at once and without a word."""
  _change(signal.default_int_handler, signal.SIG_DFL)


def imported() -> None:
  """From now on Ctrl-C is a KeyboardInterrupt, as Python has it, and is not lost."""
  _change(signal.SIG_DFL, signal.default_int_handler)
  sys.unraisablehook = _again


def _again(ignored: "sys.UnraisableHookArgs") -> None:
  """Interrupts once more where Python has dropped it.

  It drops what is raised while it collects garbage, where JAX has a callback.
  """
  if issubclass(ignored.exc_type, KeyboardInterrupt):
    main = threading.main_thread().ident
    threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
  else:
    sys.__unraisablehook__(ignored)


def _change(before: object, after: object) -> None:
  """Leaves alone what others have chosen, such as nohup."""
  if signal.getsignal(signal.SIGINT) is before:
    signal.signal(signal.SIGINT, after)  # type: ignore[arg-type]
