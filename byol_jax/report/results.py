"""The page of a results.jsonl: what encoders come to in evaluations, as a table."""

import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from byol_jax.disk import absolute
from byol_jax.errors import UserError
from byol_jax.report import chance, evaluations, output, rows, systems
from byol_jax.report.facts import Table
from byol_jax.report.rows import Cell, Row
from byol_jax.report.systems import Line, System
from byol_jax.run import results
from byol_jax.run.settings import flat

_FORMS = (".md", ".html")


def write(
  path: str | os.PathLike[str], out: str | os.PathLike[str] | None = None
) -> list[Path]:
  """Writes the table of a results.jsonl, beside it as .md and as .html.

  Args:
    path: of the file. It is read, and not locked: evaluations may be at work.
    out: FILE.md or FILE.html, to write that alone.

  Returns:
    The files that were written.

  Raises:
    UserError: the file is not there, is empty, damaged, or of a newer version; or a
      file cannot be written, or is there and is no report.
  """
  source = absolute(path)
  if out is not None and Path(out).suffix not in _FORMS:
    raise UserError(f"{out} is no name for a table: give --out=FILE.md or FILE.html")
  lines = results.read(source)
  if not lines:
    raise UserError(
      f"{source} has no results yet: an evaluation, as configs/knn.py, adds some"
    )
  found = [out] if out is not None else [source.with_suffix(form) for form in _FORMS]
  paths = [output.checked(each) for each in found]
  content = page(lines)
  for each in paths:
    output.write(each, f"results{each.suffix}", content)
  return paths


def page(lines: Sequence[Line]) -> dict[str, Any]:
  """What the templates show of results."""
  of = systems.find(lines)
  found = rows.find(lines, of)
  numbers = [cell.number for row in found for cell in row.cells]
  protocols = [evaluations.protocol(line) for line in lines]
  return {
    "title": "Results of evaluations",
    "results": _oriented("Accuracy in %", found, of, _accuracy),
    "reading": _reading(found),
    "notes": [*_left_out(found), *_second_encoders(of), *_converted(found, of)],
    "protocols": list(dict.fromkeys((each.title, each.words) for each in protocols)),
    "papers": list(dict.fromkeys(f"{n.percent}: {n.source}" for n in numbers if n)),
    "systems": _systems(of),
    "differing": _differing(of),
    "chosen": _oriented("What was chosen on held-out images", found, of, _chosen),
    "made": _made(lines),
  }


def _oriented(
  caption: str,
  found: Sequence[Row],
  of: Sequence[System],
  text: Callable[[Row, Cell, System], str],
) -> Table:
  """A table of all results; its rows are evaluations or systems, of which more are."""
  names = [f"{system.name} ({system.size})" for system in of]
  texts = [
    [text(row, *pair) for pair in zip(row.cells, of, strict=True)] for row in found
  ]
  if len(found) >= len(of):
    header = ["evaluation", "tested on", *names]
    cells = [[r.title, r.images, *t] for r, t in zip(found, texts, strict=True)]
  else:
    header = ["system", *(f"{row.title}: {row.images}" for row in found)]
    cells = [[n, *t] for n, t in zip(names, zip(*texts, strict=True), strict=True)]
  return Table(caption, header, cells)


def _accuracy(row: Row, cell: Cell, system: System) -> str:
  """Such as "74.1 ± 0.2, best; paper 74.3"."""
  if not cell.lines:
    return "not measured"
  percent = [100 * value for value in cell.values]
  text = f"{statistics.mean(percent):.1f}"
  if len(percent) > 1:
    text += f" ± {statistics.stdev(percent):.1f}"
  if len(percent) < len(system.encoders):
    text += f" (of {len(percent)})"
  if row.is_best(cell):
    text += ", best"
  return text + (f"; paper {cell.number.percent}" if cell.number else "")


def _chosen(row: Row, cell: Cell, system: System) -> str:
  """The settings of each encoder, once where they are the same."""
  del row, system
  found = [
    ", ".join(f"{k} {evaluations.shown(v)}" for k, v in flat(each["setting"]).items())
    for each in cell.lines
  ]
  return "; ".join(dict.fromkeys(found))


def _reading(found: Sequence[Row]) -> list[str]:
  """How the table is to be read."""
  texts = [
    "Each number is of the test images that are named with it, each counted once. Of"
    " several seeds of pretraining it is their mean ± their standard deviation (of a"
    " sample)."
  ]
  if any(row.can_have_best for row in found):
    texts.append(
      '"Best" is above each other system by more than chance between seeds'
      f" (Welch's t-test, p < {chance.LEVEL:g}). Where none is marked, none is, or a"
      " system in the row has one seed."
    )
  else:
    texts.append(
      "No best is marked: that takes two systems, with two seeds of each. Of one seed,"
      " a difference may be chance."
    )
  if any(cell.number for row in found for cell in row.cells):
    texts.append(
      '"Paper" is what a paper has for the same work: encoder, pretraining, evaluation'
      " and images agree in all settings."
    )
  return texts


def _left_out(found: Sequence[Row]) -> list[str]:
  """How many results were replaced by newer ones."""
  count = sum(cell.older for row in found for cell in row.cells)
  if not count:
    return []
  what = "result was" if count == 1 else "results were"
  return [
    f"{count} older {what} left out: the same encoder was evaluated again in the same"
    " way on the same images, and the newest counts."
  ]


def _converted(found: Sequence[Row], of: Sequence[System]) -> list[str]:
  """Where an encoder was shown images of another form than its own."""
  texts = [
    f"{system.name}, {row.images}: images of {line['images']}, which changes the"
    " accuracy."
    for row in found
    for cell, system in zip(row.cells, of, strict=True)
    for line in cell.lines
    if line.get("images")
  ]
  return list(dict.fromkeys(texts))


def _second_encoders(of: Sequence[System]) -> list[str]:
  """Which systems differ from others in nothing that is known."""
  return [
    f"{system.name}: of settings, seed and step that another encoder has as well. They"
    " are not averaged: something that is not recorded must differ."
    for system in of
    if system.number > 1
  ]


def _systems(of: Sequence[System]) -> Table:
  """What each column is."""
  header = ["system", "network", "pretrained on", "length", "encoders"]
  rows_ = [
    [s.name, _network(s), _data(s), _length(s), ", ".join(_encoders(s))] for s in of
  ]
  return Table("Each by what its encoders have in common", header, rows_)


def _network(system: System) -> str:
  """Such as "ResNet-50, width 2, stem cifar, norm group, standardised weights"."""
  network = system.lines[0]["encoder"]["network"]
  words = [f"ResNet-{network.get('depth')}"]
  words += [f"{k} {network[k]}" for k in ("width", "stem", "norm") if k in network]
  if network.get("standardised"):
    words.append("standardised weights")
  return ", ".join(words)


def _data(system: System) -> str:
  known = systems.settings(system.lines[0])
  if not known:
    return "not known: a file"
  size = known.get("data.size")
  return f"{known.get('data.name')} {known.get('data.train')}, {size} x {size} pixels"


def _length(system: System) -> str:
  known = systems.settings(system.lines[0])
  step, steps = system.lines[0]["encoder"]["step"], known.get("train.steps")
  if not known:
    return f"step {step}"
  text = f"{steps} steps of {known.get('train.batch_size')} images"
  return text if step == steps else f"{text}, as it was at step {step}"


def _encoders(system: System) -> list[str]:
  """Where they lie, by seed."""
  found = []
  for checksum, line in system.encoders.items():
    pretrained = line["pretrained"]
    where = pretrained["run"] if pretrained else line["encoder"]["path"]
    which = f"seed {systems.seed(line)}: " if pretrained else ""
    found.append(f"{which}{where} (sha256 {checksum[:8]})")
  return found


def _differing(of: Sequence[System]) -> Table | None:
  """The settings in which the pretraining of systems differs; None if in none."""
  known = [s for s in of if systems.settings(s.lines[0])]
  settings = [systems.settings(s.lines[0]) for s in known]
  names = sorted({name for each in settings for name in each})
  rows_ = [
    [name, *(str(each.get(name, "no such")) for each in settings)]
    for name in names
    if any(each.get(name) != settings[0].get(name) for each in settings)
  ]
  if not rows_:
    return None
  header = ["setting", *(system.name for system in known)]
  return Table("The settings of pretraining in which they differ", header, rows_)


def _made(lines: Sequence[Line]) -> str:
  """Of how many results, by which code, and when."""
  versions, commits = (
    ", ".join(dict.fromkeys(str(line.get(key)) for line in lines))
    for key in ("byol_jax", "commit")
  )
  times = sorted(line["time"] for line in lines)
  return (
    f"{len(lines)} results, from {times[0]} to {times[-1]}, of byol_jax {versions}"
    f" (commit {commits})."
  )
