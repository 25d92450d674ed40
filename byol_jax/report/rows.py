"""The rows of the table of results: evaluations, and what systems come to in them."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from byol_jax.probes import METRICS
from byol_jax.report import chance, evaluations, papers
from byol_jax.report.papers import Number
from byol_jax.report.systems import Line, System
from byol_jax.run.settings import flat


class Cell(NamedTuple):
  """What a system comes to in an evaluation.

  Attributes:
    lines: the newest result of each of its encoders.
    older: how many others there are of the same.
  """

  lines: Sequence[Line]
  older: int

  @property
  def values(self) -> list[float]:
    """An accuracy in [0, 1] of each encoder."""
    return [line["value"] for line in self.lines]

  @property
  def number(self) -> Number | None:
    """That of a paper, if all of it is of the same work as that."""
    found = {papers.number(line) for line in self.lines}
    return found.pop() if len(found) == 1 else None


class Row(NamedTuple):
  """An evaluation.

  Attributes:
    title: what was done, and what was counted.
    images: what was tested on, of how many images, and what was fitted to.
    cells: of each system; without lines where it has no result.
  """

  title: str
  images: str
  cells: Sequence[Cell]

  @property
  def can_have_best(self) -> bool:
    """Whether two systems or more have results, and all of these of several seeds."""
    sizes = [len(cell.lines) for cell in self.cells if cell.lines]
    return len(sizes) > 1 and min(sizes) > 1

  def is_best(self, cell: Cell) -> bool:
    """Whether a system is above each other one by more than chance."""
    others = [other for other in self.cells if other is not cell and other.lines]
    return self.can_have_best and all(
      chance.above(cell.values, other.values) for other in others
    )


def find(lines: Sequence[Line], of: Sequence[System]) -> list[Row]:
  """The evaluations that there are results of, protocol by protocol.

  Args:
    lines: all results.
    of: the systems that they are of.
  """
  examples: dict[str, Line] = {}
  for line in lines:
    examples.setdefault(_key(line), line)
  titles = _titles(list(examples.values()))
  cells = [_cells(system) for system in of]
  rows = {
    key: Row(title, _images(line), [each.get(key, Cell((), 0)) for each in cells])
    for (key, line), title in zip(examples.items(), titles, strict=True)
  }
  return [rows[key] for key in sorted(examples, key=_order(examples))]


def _key(line: Line) -> str:
  """Of results of one evaluation, on the same images."""
  return json.dumps([_what(line), _how(line)], sort_keys=True)


def _what(line: Line) -> list[Any]:
  """What every row says."""
  shown = evaluations.protocol(line).shown
  settings = evaluations.settings(line)
  return [line["protocol"], line["metric"], _images(line), *map(settings.get, shown)]


def _how(line: Line) -> dict[str, Any]:
  """What a row says where it is another than that of a row with the same title."""
  return {**evaluations.settings(line), "images": line["listing"][:8]}


def _images(line: Line) -> str:
  config = flat(line["config"])
  name = line["data"]
  if name == "folder":
    name = f"folder {Path(str(config.get('data.data_dir'))).name}"
  test, images, train = (line[key] for key in ("test", "test_images", "train"))
  if valid := config.get("data.valid"):
    train += f" and {valid}"
  return f"{name} {test}, {images} images; fitted to {train}"


def _titles(lines: Sequence[Line]) -> list[str]:
  """A title for each of the evaluations.

  With the settings that tell it from others, and those that are not the protocol's.
  """
  alike = defaultdict(list)
  for line in lines:
    alike[json.dumps(_what(line))].append(_how(line))
  found = []
  for line in lines:
    protocol, settings = evaluations.protocol(line), evaluations.settings(line)
    words = [protocol.title, evaluations.metric(line)]
    words += [
      f"{says} {evaluations.shown(settings[name])}"
      for name, says in protocol.shown.items()
      if name in settings
    ]
    how, others = _how(line), alike[json.dumps(_what(line))]
    words += [
      f"{name} = {how.get(name)}"
      for name in dict.fromkeys(name for other in others for name in other)
      if any(other.get(name) != how.get(name) for other in others)
      or how.get(name) != protocol.usual.get(name, how.get(name))
    ]
    found.append(", ".join(words))
  return found


def _cells(system: System) -> dict[str, Cell]:
  """Of each evaluation, by its key, what the encoders of a system come to."""
  results: dict[str, dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
  for line in system.lines:
    results[_key(line)][line["encoder"]["checksum"]].append(line)
  return {
    key: Cell(
      # Of equal times the last.
      [max(reversed(same), key=lambda line: line["time"]) for same in found.values()],
      sum(len(same) - 1 for same in found.values()),
    )
    for key, found in results.items()
  }


def _order(examples: Mapping[str, Line]) -> Callable[[str], Any]:
  """Protocol by protocol, set by set as they came, metric by metric."""
  protocols, metrics = list(evaluations.PROTOCOLS), list(METRICS)
  came = {key: place for place, key in enumerate(examples)}
  sets: dict[str, int] = {}
  for key, line in examples.items():
    sets.setdefault(_images(line), came[key])

  def place(key: str) -> tuple[int, ...]:
    line = examples[key]
    return (
      _place(line["protocol"], protocols),
      sets[_images(line)],
      _place(line["metric"], metrics),
      came[key],
    )

  return place


def _place(name: str, names: Sequence[str]) -> int:
  return names.index(name) if name in names else len(names)
