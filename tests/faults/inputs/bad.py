"""A bad input, what is said of it, and the way out that is said with it."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.faults.forked import Forked
from tests.faults.trial import Ended, Trial, not_one_line

Command = Sequence[object]  # module and arguments

_SECONDS = 10  # of a processor that has nothing else to do, until a refusal


class Bad(NamedTuple):
  """One of them.

  Attributes:
    name: what is bad.
    command: module and arguments.
    says: words of the line, as a regular expression.
    way_out: given the line, does what it says, and gives the command that follows;
      None where the line names nothing to try.
    leads_to: words of the line that comes then; none where the command succeeds.
    start: what starts the command, where it needs surroundings of its own.
    then_start: the same of the command that follows.
    writes: whether the command is refused so late that its run has begun.
  """

  name: str
  command: Command
  says: str
  way_out: Callable[[str], Command] | None = None
  leads_to: str = ""
  start: Callable[[Command], Ended] | None = None
  then_start: Callable[[Command], Ended] | None = None
  writes: bool = False


def instead(command: Command) -> Callable[[str], Command]:
  """A way out that is another command alone."""
  return lambda line: command


def tried(bad: Bad, forked: Forked, folder: Path) -> Trial:
  """Gives a bad input to its command, then takes the way out of the line.

  Args:
    bad: the input.
    forked: what commands are started by.
    folder: in which nothing may be changed by the command that is refused.
  """
  before = _everything(folder)
  try:
    ended = (bad.start or _starter(forked))(bad.command)
    wrong = _wrong(ended, bad.says)
    if ended.seconds > _SECONDS:
      wrong = wrong or f"it took {ended.seconds:.1f} s"
    if not bad.writes and (changed := _changes(before, _everything(folder))):
      wrong = wrong or f"it changed {', '.join(changed)}"
    if bad.way_out and not wrong:
      *_, line = ended.lines
      then = (bad.then_start or _starter(forked))(bad.way_out(line))
      wrong = _failed(then, bad.leads_to)
      wrong = wrong and f"after {line!r}: {wrong}"
  except TimeoutError as error:
    return Trial(bad.name, str(error))
  followed = float(bad.way_out is not None)
  return Trial(bad.name, wrong, {"seconds": ended.seconds, "followed": followed})


def _starter(forked: Forked) -> Callable[[Command], Ended]:
  return lambda command: forked.start(str(command[0]), *command[1:]).wait()


def _wrong(ended: Ended, says: str) -> str:
  wrong = not_one_line(ended)
  if not wrong and not re.search(says, ended.lines[-1]):
    wrong = f"it does not say {says!r}: {ended.lines[-1]}"
  return wrong


def _failed(ended: Ended, leads_to: str) -> str:
  if ended.code and leads_to:
    return _wrong(ended, leads_to)
  return f"status {ended.code}: {ended.lines[-1]}" if ended.code else ""


def _everything(folder: Path) -> dict[str, bytes | None]:
  """Path -> bytes of each file below a folder, None of each folder."""
  return {
    str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
    for path in folder.rglob("*")
    if path.is_file() or path.is_dir()
  }


def _changes(
  before: dict[str, bytes | None], after: dict[str, bytes | None]
) -> list[str]:
  names = before.keys() | after.keys()
  missing = object()
  return sorted(n for n in names if before.get(n, missing) != after.get(n, missing))
