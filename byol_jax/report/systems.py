"""Systems: encoders that differ in the seed of their pretraining alone."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from byol_jax.run.settings import ADDED, FOLDERS, OPERATIONAL, flat, is_one_of

Line = Mapping[str, Any]  # of results.jsonl

# What an encoder does not depend on, beside the seed, by which encoders of a system
# differ.
_NOT_OF_ENCODER = (*OPERATIONAL, "seed", "eval", "probe")
_SEED = re.compile(r"[-_. ]?seed[-_. ]?\d+$", re.IGNORECASE)


class System(NamedTuple):
  """Encoders whose accuracies are values of one thing.

  Attributes:
    name: of all systems it is the only one with this name.
    lines: the results of its encoders.
    number: above 1 where others have the same settings, seeds and step.
  """

  name: str
  lines: Sequence[Line]
  number: int

  @property
  def encoders(self) -> dict[str, Line]:
    """Checksum -> the first line of each encoder, in the order of their seeds."""
    first: dict[str, Line] = {}
    for line in sorted(self.lines, key=lambda line: str(seed(line)).rjust(9)):
      first.setdefault(line["encoder"]["checksum"], line)
    return first

  @property
  def size(self) -> str:
    """How many encoders it has, in words."""
    what = "seed" if self.lines[0]["pretrained"] else "file"
    count = len(self.encoders)
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def seed(line: Line) -> Any:
  """The seed of pretraining; None where it is not known."""
  return line["pretrained"]["config"].get("seed") if line["pretrained"] else None


def settings(line: Line) -> dict[str, Any]:
  """Settings of pretraining by their full names, of all that the encoder depends on.

  Those of a run that it began with are called "origin.train.steps" and so on. {} of an
  encoder that is a file, of which nobody knows.
  """
  return _settings(line["pretrained"]) if line["pretrained"] else {}


def _settings(run: Mapping[str, Any]) -> dict[str, Any]:
  """Of a run by its "config", and its "origin", if it has any."""
  found = ADDED | flat(run.get("config") or {})
  kept = {k: v for k, v in found.items() if not is_one_of(k, _NOT_OF_ENCODER)}
  if found.get("data.name") in FOLDERS:
    kept["data.data_dir"] = found.get("data.data_dir")
  for name in ("start_from", "continue_from"):  # a run, of another seed for each seed
    kept[name] = kept[name] and "/".join(_without_seed(str(kept[name])))
  if origin := run.get("origin"):
    before = {"step": origin.get("step"), **_settings(origin)}
    kept |= {f"origin.{name}": value for name, value in before.items()}
  return kept


def find(lines: Sequence[Line]) -> list[System]:
  """The systems that some results are of, in the order in which they come.

  Encoders of one step are averaged over seeds. Of encoders that have settings, step and
  seed in common the second is a system of its own: something else must differ.
  """
  alike = _grouped(lines, lambda line: [settings(line) or _file(line)])
  names = _unique([_paths(group) for group in alike])
  found = []
  for name, group in zip(names, alike, strict=True):
    steps = _grouped(group, lambda line: line["encoder"]["step"])
    for of_step in steps:
      of = name + _step(of_step[0], alone=len(steps) == 1)
      for number, part in enumerate(_one_of_each_seed(of_step), 1):
        end = f", encoder {number}" if number > 1 else ""
        found.append(System(of + end, part, number))
  return found


def _step(line: Line, alone: bool) -> str:
  """The end of a name that says which step it is, unless it is the last, and alone."""
  step, last = line["encoder"]["step"], settings(line).get("train.steps")
  if step == last or last is None:
    return "" if alone else f", step {step}"
  return f", step {step} of {last}"


def _grouped(lines: Iterable[Line], key: Any) -> list[list[Line]]:
  """Lines of equal key together, in the order in which they come."""
  groups = defaultdict(list)
  for line in lines:
    groups[json.dumps(key(line), sort_keys=True)].append(line)
  return list(groups.values())


def _file(line: Line) -> Any:
  return {"path": line["encoder"]["path"], "network": line["encoder"]["network"]}


def _one_of_each_seed(lines: Sequence[Line]) -> list[list[Line]]:
  """The results of the first encoder of each seed, then of each second one, ..."""
  parts: dict[int, list[Line]] = defaultdict(list)
  for of_seed in _grouped(lines, seed):
    encoders = _grouped(of_seed, lambda line: line["encoder"]["checksum"])
    for number, of_encoder in enumerate(encoders):
      parts[number] += of_encoder
  return list(parts.values())


def _paths(lines: Iterable[Line]) -> list[tuple[str, ...]]:
  """Where the encoders lie, without what names their seeds: mostly one path."""
  found = []
  for line in lines:
    pretrained = line["pretrained"]
    path = Path(pretrained["run"] if pretrained else line["encoder"]["path"])
    found.append(_without_seed(path) or (path.name,))
  return list(dict.fromkeys(found))


def _without_seed(path: str | Path) -> tuple[str, ...]:
  """The parts of a path, without what names a seed."""
  parts = (_SEED.sub("", part) for part in Path(path).parts)
  return tuple(filter(None, parts))


def _unique(paths: Sequence[Sequence[tuple[str, ...]]]) -> list[str]:
  """Of the paths of each system, as much of their ends as tells it from the others."""

  def ends(several: Sequence[tuple[str, ...]], parts: int) -> str:
    return " + ".join(dict.fromkeys("/".join(path[-parts:]) for path in several))

  longest = max(len(path) for several in paths for path in several)
  names = []
  for number, several in enumerate(paths):
    for parts in range(1, longest + 1):
      name = ends(several, parts)
      if [ends(other, parts) for other in paths].count(name) == 1:
        break
    else:  # one folder, with another run in it by now
      name = ends(several, 1)
      before = [ends(other, 1) for other in paths[:number]].count(name)
      name = f"{name} ({before + 1})"
    names.append(name)
  return names
