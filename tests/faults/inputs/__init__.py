"""Bad inputs of every kind that users give: one line each, and a way out that works.

Each file has the rows of a kind. What a row needs is made before it is yielded, and
taken away when the next one is asked for.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

from tests.faults.forked import Forked
from tests.faults.inputs import command_line, paths, runs, sets, surroundings, values
from tests.faults.inputs.bad import Bad, tried
from tests.faults.inputs.place import Place
from tests.faults.trial import Trial

_KINDS = (command_line, paths, runs, sets, surroundings, values)


def trials(count: int, seed: int, folder: Path) -> Iterator[Trial]:
  """The first of the table, of all kinds in turn; nothing is drawn by chance."""
  del seed
  forked = Forked()
  place = Place(folder, forked)
  for bad in itertools.islice(rows(place), count):
    yield tried(bad, forked, folder)


def rows(place: Place) -> Iterator[Bad]:
  """The table: a row of each kind, then the next of each."""
  for of_all in itertools.zip_longest(*(kind.rows(place) for kind in _KINDS)):
    yield from filter(None, of_all)
