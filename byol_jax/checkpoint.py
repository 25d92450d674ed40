"""Saves and restores the state of a run; nothing else touches these files.

A checkpoint is one folder, `<directory>/<step>/`, that Orbax writes in the
background and renames into place once it is complete. It holds the leaves of
the state as plain arrays under names such as
`online:res_net18/~/initial_conv:w`, the path of the leaf in the state, so that
it depends on no class of this library, and their CRC-32 sums, because Orbax
alone does not notice altered array bytes.

With several hosts the state is the same on all of them: the first one alone
writes and reads, and sends what it read to the others. Hosts therefore need no
shared file system, and a call that reads has to be made on every host.

Orbax logs each of its steps through absl. Importing this module drops those
records, and no others: a failure of Orbax reaches the user as the one line of
a `UserError` or of a warning from here.
"""

import contextlib
import errno
import json
import logging as python_logging
import math
import os
import shutil
import textwrap
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from absl import logging
from jax.experimental import multihost_utils

from byol_jax.errors import UserError

State = TypeVar("State")

_NONE, _FAILED = -1, -2
_PRIMARY = 0
_FULL = {errno.ENOSPC: "free space", errno.EDQUOT: "free space"}
_CLOSED = dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it writable")


def _not_from_orbax(record: python_logging.LogRecord) -> bool:
  return not record.pathname.startswith(os.path.dirname(ocp.__file__))


logging.get_absl_logger().addFilter(_not_from_orbax)


class _Manager(ocp.CheckpointManager):
  """Leaves it to the caller to ask about preemption.

  All hosts must ask about the same steps, and only one host has a manager.
  """

  def reached_preemption(self, step: int) -> bool:
    return False


class Checkpoints:
  """The checkpoints of one run: the newest `keep` and the best.

  Create it, save and restore on every host alike.

  Args:
    directory: where they are; made if it does not exist.
    keep: how many of the newest to keep, at least 1. The checkpoint with the
      highest `metrics['score']` is kept on top of them.

  Raises:
    UserError: the directory cannot be made.
  """

  def __init__(self, directory: str | Path, keep: int = 3):
    self.directory = Path(directory).absolute()
    self._manager: ocp.CheckpointManager | None = None
    if jax.process_index() != _PRIMARY:
      return
    with self._writing():
      self.directory.mkdir(parents=True, exist_ok=True)
      _forget_broken_scores(self.directory)
      self._manager = _manager(self.directory, keep)

  def save(
    self,
    step: int,
    state: State,
    metrics: Mapping[str, float] | None = None,
  ) -> None:
    """Copies `state` to the host and writes it in the background.

    The caller may donate or change `state` as soon as this returns. A step
    that is already saved is left as it is.

    Args:
      step: number of updates made so far.
      state: a pytree of arrays and numbers, the same on every host.
      metrics: `metrics['score']`, if it is there and finite, ranks the
        checkpoint; higher is better.

    Raises:
      UserError: this checkpoint, or the one before it, cannot be written.
    """
    if self._manager is None or step in self._manager.all_steps():
      return
    arrays = _named(jax.tree.map(np.asarray, jax.device_get(state)))
    sums = {name: _checksum(array) for name, array in arrays.items()}
    items = ocp.args.Composite(
      state=ocp.args.PyTreeSave(arrays), checksums=ocp.args.JsonSave(sums)
    )
    score = float((metrics or {}).get("score", math.nan))
    ranking = {"score": score} if math.isfinite(score) else None
    with self._writing():
      # Found half-way, it would leave stack traces of TensorStore's threads.
      size = sum(array.nbytes for array in arrays.values())
      if size > shutil.disk_usage(self.directory).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
      self._manager.save(step, args=items, metrics=ranking, force=True)

  def restore(self, template: State) -> tuple[int, State] | None:
    """Reads the newest checkpoint that is whole and fits `template`.

    Those that are damaged or do not fit are skipped with a warning and renamed
    to `<step>.unusable`, so that the run can save that step again.

    Args:
      template: a pytree of arrays or `jax.ShapeDtypeStruct`s.

    Returns:
      The step and the state, as numpy arrays in the structure, shapes and
      dtypes of `template`, or None when there is no checkpoint.

    Raises:
      UserError: there are checkpoints, and none of them can be used.
    """
    self.wait()

    def read() -> tuple[int, State] | None:
      folders = _step_folders(self.directory)
      if not folders:
        return None
      step, state, unusable = _read_newest(folders, template, _whole)
      self._set_aside(unusable)
      return step, state

    return _from_primary(read, template)

  def latest_step(self) -> int | None:
    """Returns the newest step saved, or None; call it on every host."""
    return _agreed(self._manager.latest_step() if self._manager else None)

  def best_step(self) -> int | None:
    """Returns the step of highest score, or None; call it on every host."""
    return _agreed(self._manager.best_step() if self._manager else None)

  def wait(self) -> None:
    """Returns once every save is on disk; raises UserError as `save` does."""
    if self._manager is not None:
      with self._writing():
        self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits and releases the background threads; raises as `save` does."""
    if self._manager is not None:
      with self._writing():
        self._manager.close()

  def _set_aside(self, folders: list[Path]) -> None:
    if not folders or self._manager is None:
      return
    with self._writing():
      for folder in folders:
        aside = folder.with_name(f"{folder.name}.unusable")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    self._manager.reload()

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    """Turns a failure to write, of Orbax or the system, into a UserError."""
    try:
      yield
    except (OSError, ValueError, RuntimeError) as error:
      cause, remedy = _diagnose(error)
      folders = _step_folders(self.directory)
      resumes = f"continues from step {folders[0].name}" if folders else "starts"
      raise UserError(
        f"cannot write checkpoint at {self.directory}: {cause}; {remedy} and "
        f"run the same command again: the run {resumes}"
      ) from error


def load(path: str | Path, template: State) -> tuple[int, State]:
  """Reads a checkpoint of another run, or a part of it.

  Args:
    path: the folder of a run, its `checkpoints/` folder, or one step's folder.
      Of several checkpoints, the newest that is whole and fits is read.
    template: as for `Checkpoints.restore`. It may have fewer top-level fields
      than what was saved, and of those fewer networks: `{'online': encoder}` for
      example. Each network that it has must fit in full.

  Returns:
    The step, and numpy arrays in the structure of `template`.

  Raises:
    UserError: nothing is there, it is damaged, or it does not fit; the message
      then names the first parameter that differs.
  """
  path = Path(path).absolute()

  def read() -> tuple[int, State]:
    if (path / "state").is_dir() and path.name.isdecimal():
      folders = [path]
    else:
      folders = _step_folders(path / "checkpoints") or _step_folders(path)
    if not folders:
      raise UserError(
        f"no checkpoint at {path}: give the folder of a run, its checkpoints "
        "folder or the folder of one step"
      )
    step, state, _ = _read_newest(folders, template, _network)
    return step, state

  found = _from_primary(read, template)
  assert found is not None
  return found


def _manager(directory: Path, keep: int) -> ocp.CheckpointManager:
  policies = ocp.checkpoint_managers

  def score(metrics: Mapping[str, float]) -> float:
    return metrics["score"]

  newest = policies.LatestN(keep)
  best = policies.BestN(
    get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False
  )
  hosts = ocp.options.MultiprocessingOptions(
    primary_host=_PRIMARY,
    active_processes={_PRIMARY},
    barrier_sync_key_prefix="checkpoints",
  )
  options = ocp.CheckpointManagerOptions(
    best_fn=score,
    preservation_policy=policies.AnyPreservationPolicy([newest, best]),
    create=False,
    cleanup_tmp_directories=True,
    save_root_metadata=False,
    multiprocessing_options=hosts,
  )
  # Weights hardly shrink, and compressing them takes a fifth of a save's time.
  states = ocp.PyTreeCheckpointHandler(
    use_compression=False, multiprocessing_options=hosts
  )
  sums = ocp.JsonCheckpointHandler(multiprocessing_options=hosts)
  handlers = {"state": states, "checksums": sums}
  return _Manager(directory, options=options, item_handlers=handlers)


def _forget_broken_scores(directory: Path) -> None:
  """Removes scores that Orbax would stop at; their states stay."""
  for folder in _step_folders(directory):
    metrics = folder / "metrics"
    try:
      if metrics.exists():
        float(json.loads((metrics / "metrics").read_text())["score"])
    except (OSError, ValueError, KeyError, TypeError):
      shutil.rmtree(metrics)


def _step_folders(directory: Path) -> list[Path]:
  """Returns the folders of complete checkpoints, the newest first."""
  if not directory.is_dir():
    return []
  folders = [folder for folder in directory.iterdir() if folder.name.isdecimal()]
  return sorted(folders, key=lambda folder: int(folder.name), reverse=True)


def _read_newest(
  folders: list[Path], template: State, part: Callable[[str], str]
) -> tuple[int, State, list[Path]]:
  """Returns step, state and the folders that had to be skipped."""
  problems: dict[Path, str] = {}
  for folder in folders:
    try:
      state = _read(folder, template, part)
    except UserError as error:
      problems[folder] = str(error)
    except Exception as error:  # Damaged files fail in many ways.
      cause = textwrap.shorten(str(error), 80) or type(error).__name__
      problems[folder] = f"it is damaged ({cause})"
    else:
      for skipped, why in problems.items():
        logging.warning("skipped checkpoint %s: %s; using %s", skipped, why, folder)
      return int(folder.name), state, list(problems)
  raise UserError(
    f"no checkpoint in {folders[0].parent} can be used; the newest, step "
    f"{folders[0].name}: {problems[folders[0]]}; use the configuration that it "
    "was made with, or another folder"
  )


def _read(folder: Path, template: State, part: Callable[[str], str]) -> State:
  """Reads one checkpoint; raises UserError when it does not fit `template`.

  Each part of the state that the template has must fit in full.

  By TensorStore, which Orbax writes with: where a file is damaged, Orbax's own
  reader leaves a stack trace for every array on the console.
  """
  wanted = {name: _abstract(leaf) for name, leaf in _named(template).items()}
  files = {"driver": "file", "path": f"{folder}/state/"}
  store = {"driver": "ocdbt", "base": files}
  keys = tensorstore.KvStore.open(store).result().list().result()
  names = {key.decode().removesuffix("/.zarray") for key in keys if b"/.z" in key}
  _check_names(list(wanted), names, part)
  opening = [
    tensorstore.open({"driver": "zarr", "kvstore": {**store, "path": f"{name}/"}})
    for name in wanted
  ]
  stored = [future.result() for future in opening]
  _check_shapes(wanted, stored)
  reading = [array.read() for array in stored]
  arrays = [future.result() for future in reading]
  sums = json.loads((folder / "checksums" / "metadata").read_text())
  for name, array in zip(wanted, arrays, strict=True):
    if _checksum(array) != sums[name]:
      raise ValueError(f"the bytes of {name} have changed")
  return jax.tree.unflatten(jax.tree.structure(template), arrays)


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


def _whole(name: str) -> str:
  """All leaves are one part."""
  del name
  return ""


def _network(name: str) -> str:
  """The field and the network in it: "online:res_net18"."""
  return name.split("/")[0]


def _check_shapes(
  wanted: Mapping[str, jax.ShapeDtypeStruct], stored: Sequence[tensorstore.TensorStore]
) -> None:
  for (name, leaf), array in zip(wanted.items(), stored, strict=True):
    have = f"{array.dtype.name}{list(array.shape)}"
    want = f"{leaf.dtype.name}{list(leaf.shape)}"
    if have != want:
      raise UserError(f"parameter {name} is {have} there and {want} here")


def _abstract(leaf) -> jax.ShapeDtypeStruct:
  leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _named(tree) -> dict:
  """Returns {path: leaf}; paths are joined by ':', which Haiku names lack."""
  leaves = jax.tree.leaves_with_path(tree)
  named = {_name(path): leaf for path, leaf in leaves}
  if len(named) < len(leaves):
    raise ValueError("two leaves of the state have the same path")
  return named


def _name(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator=":")


def _bytes(array: np.ndarray) -> np.ndarray:
  return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _checksum(array: np.ndarray) -> int:
  return zlib.crc32(_bytes(array).data)


def _diagnose(error: Exception) -> tuple[str, str]:
  """Returns what stopped a write, in the system's words, and the remedy.

  Orbax hands the system's words on inside a long message of TensorStore.
  """
  for code, remedy in (_FULL | _CLOSED).items():
    if os.strerror(code) in str(error):
      return os.strerror(code), remedy
  return str(error).partition("\n")[0], "put that right"


def _agreed(status: int | None) -> int | None:
  """Returns the primary host's status on every host."""
  shared = int(
    multihost_utils.broadcast_one_to_all(np.int32(_NONE if status is None else status))
  )
  return None if shared == _NONE else shared


def _from_primary(
  read: Callable[[], tuple[int, State] | None], template: State
) -> tuple[int, State] | None:
  """Reads on the primary host and returns its result on every host."""
  if jax.process_count() == 1:
    return read()
  found, status = None, None
  error = UserError("the first host could not read a checkpoint; see its message")
  if jax.process_index() == _PRIMARY:
    try:
      found = read()
      status = found[0] if found else None
    except UserError as raised:
      status, error = _FAILED, raised
  status = _agreed(status)
  if status == _FAILED:
    raise error
  return None if status is None else (status, _broadcast(found, template))


def _broadcast(found: tuple[int, State] | None, template: State) -> State:
  """Sends the state as bytes: sums over hosts do not keep every float's bits."""
  abstract = jax.tree.map(_abstract, template)
  empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract)
  mine = jax.tree.map(_bytes, found[1] if found else empty)
  shared = multihost_utils.broadcast_one_to_all(mine)
  return jax.tree.map(
    lambda leaf, data: np.asarray(data).view(leaf.dtype).reshape(leaf.shape),
    abstract,
    shared,
  )
