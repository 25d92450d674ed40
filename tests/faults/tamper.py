"""Folders as they are found: files that are cut, changed, renamed, linked or gone."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults import mutate

# What a value of a JSON file may have become.
VALUES: tuple[Any, ...] = (None, True, "", [], {}, [None], 0, -1, 2.5, 10**9, 2**63)
VALUES += (1e308, "0", "-1", "x", "../../outside/x", "strangers.Kind", "strangers")


def file(rng: random.Random, path: Path, outside: Path) -> str:
  """Does something to a file.

  Args:
    rng: draws what.
    path: of the file.
    outside: a folder elsewhere, to which links may lead.

  Returns:
    What was done.
  """
  done = rng.choice(_CHANGES)
  done(rng, path, outside)
  return done.__name__.strip("_").replace("_", " ")


def values(rng: random.Random, content: bytes) -> bytes:
  """A JSON object of which a value is another, is gone, or has another name."""
  tree = json.loads(content)
  inside = tree
  while True:
    key = rng.choice(sorted(inside) if isinstance(inside, dict) else range(len(inside)))
    if (
      not isinstance(inside[key], dict | list) or not inside[key] or rng.random() < 0.2
    ):
      break
    inside = inside[key]
  change = rng.random()
  if change < 0.7:
    inside[key] = rng.choice(VALUES)
  else:
    value = inside.pop(key)
    if change < 0.85 and isinstance(inside, dict):
      inside[str(rng.choice(VALUES))] = value
  return json.dumps(tree).encode()


def _bytes(rng: random.Random, path: Path, outside: Path) -> None:
  path.write_bytes(mutate.mutated(rng, path.read_bytes() or b"\0"))


def _deleted(rng: random.Random, path: Path, outside: Path) -> None:
  path.unlink()


def _emptied(rng: random.Random, path: Path, outside: Path) -> None:
  path.write_bytes(b"")


def _renamed(rng: random.Random, path: Path, outside: Path) -> None:
  path.rename(path.with_name(rng.choice((f"{path.name}.bak", f"old.{path.name}", "7"))))


def _exchanged(rng: random.Random, path: Path, outside: Path) -> None:
  """With a file beside it."""
  others = sorted(other for other in path.parent.iterdir() if other.is_file())
  other = rng.choice(others)
  between = path.with_name("between")
  path.rename(between)
  if other != path:
    other.rename(path)
  between.rename(other)


def _written_over_another(rng: random.Random, path: Path, outside: Path) -> None:
  others = sorted(other for other in path.parent.iterdir() if other.is_file())
  other = rng.choice(others)
  if other != path:
    shutil.copy(path, other)


def _moved_and_linked(rng: random.Random, path: Path, outside: Path) -> None:
  """As people do to save space: it is as good as the file."""
  target = outside / "moved"
  shutil.move(path, target)
  path.symlink_to(target)


def _link_to_another(rng: random.Random, path: Path, outside: Path) -> None:
  path.unlink()
  path.symlink_to(outside / "whole")


def _link_to_nothing(rng: random.Random, path: Path, outside: Path) -> None:
  path.unlink()
  path.symlink_to(outside / "absent")


def _link_to_itself(rng: random.Random, path: Path, outside: Path) -> None:
  path.unlink()
  path.symlink_to(path.name)


def _folder(rng: random.Random, path: Path, outside: Path) -> None:
  path.unlink()
  path.mkdir()


def _locked(rng: random.Random, path: Path, outside: Path) -> None:
  path.chmod(0)


Change = Callable[[random.Random, Path, Path], None]

_CHANGES: tuple[Change, ...] = (
  *[_bytes] * 4,
  _deleted,
  _emptied,
  _renamed,
  _exchanged,
  _written_over_another,
  _moved_and_linked,
  _link_to_another,
  _link_to_nothing,
  _link_to_itself,
  _folder,
  _locked,
)
