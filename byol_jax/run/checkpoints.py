"""Saves and restores the state of a run, by Orbax; `stored` says what it writes.

Orbax writes a checkpoint in the background and renames it into place once it is
complete. With several hosts the state is the same on all of them: the first one
alone writes and reads, and sends what it read to the others. Hosts therefore need no
shared file system, and a call that reads has to be made on every host.

Orbax logs each of its steps through absl. As long as there are `Checkpoints`, those
records are dropped, and no others: a failure of Orbax reaches the user as the one
line of a `UserError` or of a warning from here.
"""

import contextlib
import errno
import logging as python_logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from byol_jax import parallel
from byol_jax.disk import absolute
from byol_jax.errors import UserError
from byol_jax.run import stored

State = TypeVar("State")

_FULL = {errno.ENOSPC: "free space", errno.EDQUOT: "free space"}
_CLOSED = dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it writable")


def _not_from_orbax(record: python_logging.LogRecord) -> bool:
  return not record.pathname.startswith(os.path.dirname(ocp.__file__))


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
    self.directory = absolute(directory)
    self._manager: ocp.CheckpointManager | None = None
    if not parallel.is_first_host():
      return
    logging.get_absl_logger().addFilter(_not_from_orbax)
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
    arrays = stored.named(jax.tree.map(np.asarray, jax.device_get(state)))
    sums = {name: stored.checksum(array) for name, array in arrays.items()}
    items = ocp.args.Composite(
      **{
        stored.STATE: ocp.args.PyTreeSave(arrays),
        stored.CHECKSUMS: ocp.args.JsonSave(sums),
      }
    )
    score = float((metrics or {}).get(stored.SCORE, math.nan))
    ranking = {stored.SCORE: score} if math.isfinite(score) else None
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
      folders = stored.step_folders(self.directory)
      if not folders:
        return None
      step, state, unusable = stored.read_newest(folders, template, stored.whole)
      self._set_aside(unusable)
      return step, state

    return parallel.from_first_host(read)

  def latest_step(self) -> int | None:
    """Returns the newest step saved, or None; call it on every host."""
    return parallel.from_first_host(
      lambda: self._manager.latest_step() if self._manager else None
    )

  def wait(self) -> None:
    """Returns once every save is on disk, on every host; call it on every host.

    Raises:
      UserError: as `save` does, on every host.
    """
    parallel.from_first_host(self._wait)

  def _wait(self) -> None:
    if self._manager is not None:
      with self._writing():
        self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits and releases the background threads; raises as `save` does."""
    if self._manager is not None:
      try:
        with self._writing():
          self._manager.close()
      finally:
        logging.get_absl_logger().removeFilter(_not_from_orbax)

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
      folders = stored.step_folders(self.directory)
      resumes = f"continues from step {folders[0].name}" if folders else "starts"
      raise UserError(
        f"cannot write checkpoint at {self.directory}: {cause}; {remedy} and "
        f"run the same command again: the run {resumes}"
      ) from error


def _manager(directory: Path, keep: int) -> ocp.CheckpointManager:
  policies = ocp.checkpoint_managers

  def score(metrics: Mapping[str, float]) -> float:
    return metrics[stored.SCORE]

  newest = policies.LatestN(keep)
  best = policies.BestN(
    get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False
  )
  hosts = ocp.options.MultiprocessingOptions(
    primary_host=parallel.FIRST_HOST,
    active_processes={parallel.FIRST_HOST},
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
  # The format is that of `stored`, whatever Orbax's default may become. Weights hardly
  # shrink, and compressing them takes a fifth of a save's time.
  states = ocp.PyTreeCheckpointHandler(
    use_ocdbt=True,
    use_zarr3=False,
    use_compression=False,
    multiprocessing_options=hosts,
  )
  sums = ocp.JsonCheckpointHandler(multiprocessing_options=hosts)
  handlers = {stored.STATE: states, stored.CHECKSUMS: sums}
  return _Manager(directory, options=options, item_handlers=handlers)


def _forget_broken_scores(directory: Path) -> None:
  """Removes scores that Orbax would stop at; their states stay."""
  for folder in stored.step_folders(directory):
    metrics = folder / stored.METRICS
    if metrics.exists() and stored.score(folder) is None:
      shutil.rmtree(metrics)


def _diagnose(error: Exception) -> tuple[str, str]:
  """Returns what stopped a write, in the system's words, and the remedy.

  Orbax hands the system's words on inside a long message of TensorStore.
  """
  for code, remedy in (_FULL | _CLOSED).items():
    if os.strerror(code) in str(error):
      return os.strerror(code), remedy
  return str(error).partition("\n")[0], "put that right"
