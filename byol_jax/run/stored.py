"""Reads checkpoints without Orbax, of this run or another.

A checkpoint is one folder, `<directory>/<step>/`. It holds the leaves of the state
as plain arrays under names such as `online:res_net18/~/initial_conv:w`, the path of
the leaf in the state, and their CRC-32 sums, because Orbax and TensorStore alone do
not notice altered array bytes. Where the step was scored, the score is there too.

Read by TensorStore, which Orbax writes with: where a file is damaged, Orbax's own
reader leaves a stack trace for every array on the console.
"""

import contextlib
import json
import math
import os
import textwrap
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import tensorstore
from absl import logging

from byol_jax import disk, parallel
from byol_jax.disk import absolute
from byol_jax.errors import UserError

State = TypeVar("State")

# What is in the folder of a checkpoint, as Orbax's manager lays it out.
STATE, CHECKSUMS, METRICS = "state", "checksums", "metrics"
SCORE = "score"
_LAST_STEP = 2**31 - 1  # which an int32 can hold


def load(
  path: str | Path, template: State, which: str | int = "newest"
) -> tuple[int, State]:
  """Reads a checkpoint of another run, or a part of it, on every host.

  Args:
    path: the folder of a run, its `checkpoints/` folder, or one step's folder.
    template: a pytree of arrays or `jax.ShapeDtypeStruct`s. It may have fewer
      top-level fields than what was saved, and of those fewer networks:
      `{"online": encoder}` for example. Each network that it has must fit in full.
    which: "newest", the newest that is whole and fits; "best", that of the highest
      score; or a step.

  Returns:
    The step, and numpy arrays in the structure of `template`.

  Raises:
    UserError: nothing is there, it is damaged, or it does not fit; the message
      then names the first parameter that differs.
  """
  return parallel.from_first_host(lambda: _load(choose(path, which), template))


def choose(path: str | Path, which: str | int = "newest") -> list[Path]:
  """The folders that `which` stands for, in the order in which to try them.

  Raises:
    UserError: there is none.
  """
  if not isinstance(path, str | os.PathLike):
    raise UserError(f"{path!r} is no path: give the folder of a run")
  path = absolute(path)
  disk.check_utf8(path)
  folders = [path] if is_checkpoint(path) else step_folders(path / "checkpoints")
  folders = folders or step_folders(path)
  if not folders and (path / STATE).is_dir():
    raise UserError(f"{path} is a checkpoint: rename it to its step, such as 1000")
  if not folders:
    where = str(path) if path.exists() else f"{path}, where nothing is"
    raise UserError(
      f"no checkpoint at {where}: give the folder of a run, its checkpoints folder, or"
      " the folder of one step"
    )
  if which == "newest":
    return folders
  if which == "best":
    scores = {folder: score(folder) for folder in folders}
    scored = {folder: found for folder, found in scores.items() if found is not None}
    if not scored:
      raise UserError(
        f"no checkpoint of {path} has a score, as before a run's first evaluation:"
        ' choose which="newest" or a step'
      )
    return [max(scored, key=scored.__getitem__)]
  chosen = [folder for folder in folders if folder.name == str(which)]
  if not chosen:
    steps = ", ".join(folder.name for folder in reversed(folders))
    raise UserError(
      f'{path} has no checkpoint {which!r}: choose "newest", "best" or one of the'
      f" steps {steps}"
    )
  return chosen


def run_of(path: Path) -> Path | None:
  """The folder with the config.json of a run, of its checkpoints/ or of one step.

  A step that was moved may have that file beside it, or within. None where it has none.
  """
  places = (path, *path.parents[:2])
  return next((each for each in places if (each / "config.json").exists()), None)


def is_checkpoint(path: Path) -> bool:
  """Whether a folder is that of one step."""
  return path.name.isdecimal() and (path / STATE).is_dir()


def step_folders(directory: Path) -> list[Path]:
  """The folders of complete checkpoints, the newest first.

  Raises:
    UserError: one has the name of a step that no run can make.
  """
  if not directory.is_dir():
    return []
  folders = [folder for folder in directory.iterdir() if folder.name.isdecimal()]
  for folder in folders:
    if int(folder.name) > _LAST_STEP:
      raise UserError(
        f"{folder} is no checkpoint, as no run has that step: move it away"
      )
  return sorted(folders, key=lambda folder: int(folder.name), reverse=True)


def score(folder: Path) -> float | None:
  """The score of a checkpoint, None where it has none that can be read and ranked."""
  try:
    found = float(disk.read_json(folder / METRICS / METRICS)[SCORE])
  except (UserError, ValueError, KeyError, TypeError):
    return None
  return found if math.isfinite(found) else None


def whole(name: str) -> str:
  """For `read_newest`: all leaves are one part."""
  del name
  return ""


def network(name: str) -> str:
  """For `read_newest`: the field and the network in it, "online:res_net18"."""
  return name.split("/")[0]


def read_newest(
  folders: Sequence[Path], template: State, part: Callable[[str], str]
) -> tuple[int, State, list[Path]]:
  """Reads the first checkpoint that is whole and fits.

  Args:
    folders: in the order in which they are tried.
    template: as for `load`.
    part: name of a leaf -> the part that it belongs to; each part that the template
      has must fit in full.

  Returns:
    Step, state, and the folders that had to be skipped, each with a warning.

  Raises:
    UserError: none can be used.
  """
  problems: dict[Path, str] = {}
  way_out = ""  # of the newest
  for folder in folders:
    try:
      state = read(folder, template, part)
    except UserError as error:
      problems[folder] = str(error)
      way_out = way_out or "use the config that it was made with"
    except Exception as error:  # Damaged files fail in many ways.
      cause = textwrap.shorten(str(error), 80) or type(error).__name__
      problems[folder] = f"it is damaged ({cause})"
      way_out = way_out or "restore one of them"
    else:
      for skipped, why in problems.items():
        logging.warning("skipped checkpoint %s: %s; using %s", skipped, why, folder)
      return int(folder.name), state, list(problems)
  newest = folders[0]
  tried = "step" if len(folders) == 1 else "the newest, step"
  raise UserError(
    f"no checkpoint in {newest.parent} can be used; {tried} {newest.name}:"
    f" {problems[newest]}; {way_out}, or use another folder"
  )


def read(folder: Path, template: State, part: Callable[[str], str]) -> State:
  """Reads one checkpoint; see `read_newest`.

  Raises:
    UserError: it does not fit.
    Exception: of any kind, where it is damaged.
  """
  wanted = {name: abstract(leaf) for name, leaf in named(template).items()}
  store = _store(folder)
  _check_names(list(wanted), _names(store), part)
  stored = _open(store, list(wanted))
  _check_shapes(wanted, stored)
  reading = [array.read() for array in stored]
  arrays = [future.result() for future in reading]
  sums = json.loads((folder / CHECKSUMS / "metadata").read_text())
  for name, array in zip(wanted, arrays, strict=True):
    if checksum(array) != sums[name]:
      raise ValueError(f"the bytes of {name} have changed")
  return jax.tree.unflatten(jax.tree.structure(template), arrays)


def shape(folders: Sequence[Path], name: str) -> tuple[int, ...]:
  """The shape of an array in the first of some checkpoints that can be opened.

  Raises:
    UserError: it is in none of them.
  """
  for folder in folders:
    with contextlib.suppress(Exception):  # Damaged files fail in many ways.
      [array] = _open(_store(folder), [name])
      return tuple(array.shape)
  raise UserError(
    f"no checkpoint in {folders[0].parent} can be used; step {folders[0].name}: it is"
    f" damaged, or has no {name}; use another folder"
  )


def named(tree: Any) -> dict[str, Any]:
  """{path: leaf} of a tree; paths are joined by ":", which Haiku's names lack."""
  leaves = jax.tree.leaves_with_path(tree)
  found = {
    jax.tree_util.keystr(path, simple=True, separator=":"): leaf
    for path, leaf in leaves
  }
  if len(found) < len(leaves):
    raise ValueError("two leaves of the state have the same path")
  return found


def abstract(leaf: Any) -> jax.ShapeDtypeStruct:
  """Shape and dtype of a leaf."""
  leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def checksum(array: np.ndarray) -> int:
  """CRC-32 of an array's bytes."""
  return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _load(folders: list[Path], template: State) -> tuple[int, State]:
  step, state, skipped = read_newest(folders, template, network)
  folder = folders[len(skipped)]
  if (held := _held_step(folder)) not in (None, step):
    raise UserError(
      f"the checkpoint of step {step} in {folder.parent} holds step {held}: it was"
      f" copied or renamed; rename it to {held}, or delete it"
    )
  return step, state


def _held_step(folder: Path) -> int | None:
  """The step in the state of a checkpoint; None where none can be read."""
  with contextlib.suppress(Exception):  # Damaged files fail in many ways.
    template: dict[str, Any] = {"step": jax.ShapeDtypeStruct((), np.int32)}
    return int(read(folder, template, network)["step"])
  return None


def _store(folder: Path) -> dict[str, Any]:
  files = {"driver": "file", "path": f"{folder}/{STATE}/"}
  return {"driver": "ocdbt", "base": files}


def _names(store: dict[str, Any]) -> set[str]:
  keys = tensorstore.KvStore.open(store).result().list().result()
  return {key.decode().removesuffix("/.zarray") for key in keys if b"/.z" in key}


def _open(store: dict[str, Any], names: list[str]) -> list[tensorstore.TensorStore]:
  opening = [
    tensorstore.open({"driver": "zarr", "kvstore": {**store, "path": f"{name}/"}})
    for name in names
  ]
  return [future.result() for future in opening]


def _check_names(
  wanted: list[str], stored: set[str], part: Callable[[str], str]
) -> None:
  for name in wanted:
    if name not in stored:
      raise UserError(f"parameter {name} is not in the checkpoint")
  parts = set(map(part, wanted))
  for name in sorted(stored.difference(wanted)):
    if part(name) in parts:
      raise UserError(f"parameter {name} of the checkpoint has no place here")


def _check_shapes(
  wanted: Mapping[str, jax.ShapeDtypeStruct], stored: Sequence[tensorstore.TensorStore]
) -> None:
  for (name, leaf), array in zip(wanted.items(), stored, strict=True):
    have = f"{array.dtype.name}{list(array.shape)}"
    want = f"{leaf.dtype.name}{list(leaf.shape)}"
    if have != want:
      raise UserError(f"parameter {name} is {have} there and {want} here")
