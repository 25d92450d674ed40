"""The folder of a run: a contract that scripts can rely on.

config.json         the resolved config
starts.jsonl        a line for each start that trained: see `byol_jax.run.provenance`
encoder.json        of a pretraining run: see `byol_jax.description`
origin.json         of one that began with another run: see `experiments.origin`
metrics.jsonl       one JSON object a line, "step" in each, steps ascending
summary.json        the results, once the run is complete
images.txt.gz       the images, or splits, that a resumed run has to find again
skipped.tsv         images that could not be read, and why, if there are any
checkpoints/        see `byol_jax.run.stored`
figures/*.png       curves and augmentations
tensorboard/        the same scalars for TensorBoard
writers/            of other writers: identity and last step in NAME.json, NAME.log
"""

import json
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
from absl import logging

from byol_jax import disk
from byol_jax.disk import absolute, read_json, write_json
from byol_jax.errors import UserError
from byol_jax.run import image_list, provenance
from byol_jax.run.settings import SCHEDULE, differences, flat, resolved
from byol_jax.run.writers import table

CONFIG = "config.json"
_RELIED_ON = ("seconds", "images_per_second", "mfu")  # of records
# A folder without its config holds no run, and a run cannot go on.
_RESTORE = "restore it, or choose another folder"


def check_name(path: Path) -> None:
  """Raises UserError for a folder in which Orbax or TensorStore find no checkpoints."""
  disk.check_utf8(path)
  # Orbax takes it for a pattern, finds nothing, and leaves parameters out.
  if odd := [sign for sign in "*?[" if sign in str(path)]:
    raise UserError(
      f"{path} has {odd[0]!r} in it, and checkpoints cannot lie there: choose another"
      " --workdir"
    )


class RunDir:
  """Writes a run's folder; on all hosts but the first it writes nothing.

  From `claim` on the folder is locked, for other processes and for other `RunDir`s
  of this one, until `close`, the end of a `with`, or until nobody holds this value
  any more.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    writes: bool = True,
    start: Mapping[str, Any] | None = None,
  ):
    """Takes the folder, and touches nothing.

    Args:
      path: of the folder.
      writes: whether this host writes.
      start: of this process, as `provenance.start` has it, for starts.jsonl.
    """
    self.path = absolute(path)
    self._start = start
    self.checkpoints = self.path / "checkpoints"
    self.figures = self.path / "figures"
    self._starts = self.path / "starts.jsonl"
    self._metrics = self.path / "metrics.jsonl"
    self._summary = self.path / "summary.json"
    self._images = self.path / image_list.NAME
    self._origin = self.path / "origin.json"
    self.writes = writes
    self._writer_names = table.DEFAULT
    self._writers: list[table.Writer] = []
    self._unlock: Callable[[], object] | None = None
    self._closed = False

  def __enter__(self) -> "RunDir":
    return self

  def __exit__(self, *error: object) -> None:
    self.close()

  def inside(self, name: str) -> "RunDir":
    """The folder of a run within this one, such as one of a sweep."""
    return RunDir(self.path / name, self.writes, self._start)

  def read_config(self) -> dict[str, Any] | None:
    """The config of the run that is there, None if there is none."""
    path = self.path / CONFIG
    return read_json(path, _RESTORE) if path.exists() else None

  def check_config(self, config: Mapping[str, Any], way_out: str | None = None) -> bool:
    """Looks whether a run that is there is of a config.

    Args:
      config: as `settings.resolved` has it.
      way_out: what the user can do if it is of another; None for what this depends on.

    Returns:
      Whether there is a run.

    Raises:
      UserError: it is of another config.
    """
    before = self.read_config()
    if before is not None and (differing := differences(before, config)):
      if way_out is None:
        way_out = "choose another --workdir"
        if "continue_from" in config and set(differing) <= set(SCHEDULE):
          way_out = (
            "to begin anew, choose another --workdir; to train it for longer, give"
            f" --config.continue_from={self.path} and another --workdir"
          )
      raise UserError(
        f"{self.path} holds the run of another config (it differs in"
        f" {', '.join(differing)}); {way_out}"
      )
    return before is not None

  def check_images(
    self,
    listing: Sequence[str],
    way_out: str = "put them back, or choose another --workdir",
  ) -> None:
    """Looks whether a run that is there began with the same images.

    Args:
      listing: what it would be trained on; see `data.sources.Dataset.listing`.
      way_out: what the user can do if they are others.

    Raises:
      UserError: it began with others.
    """
    if self.writes and self._images.exists():
      image_list.check(self._images, listing, way_out)

  def claim(
    self, config: ml_collections.ConfigDict, listing: Sequence[str] = ()
  ) -> bool:
    """Creates the folder for a config, or finds that it is this config's.

    Args:
      config: of the run.
      listing: of what it is trained on, kept for `check_images`.

    Returns:
      Whether the run is a new one; False on all hosts but the first.

    Raises:
      UserError: it holds the run of another config, is in use by another run,
        or cannot be written; or a package of `log.writers` is missing.
    """
    if not self.writes:
      return False
    disk.check_utf8(self.path)
    settings = resolved(config)
    self._writer_names = flat(settings).get("log.writers", table.DEFAULT)
    table.check(self._writer_names)
    try:
      new = self._claim(settings, listing)
      self._closed = False
      return new
    except OSError as error:
      raise UserError(
        f"cannot use {self.path} as the run's folder: {error.strerror}; choose"
        " another --workdir"
      ) from error

  def _claim(self, config: dict[str, Any], listing: Sequence[str]) -> bool:
    new = not self.check_config(config)
    if new:
      check_name(self.path)
      self._check_empty()
    elif not self._summary.exists():
      before = self.starts()
      self._check_jax(before)
      self._say_changes(before)
    self.figures.mkdir(parents=True, exist_ok=True)
    if self._unlock is None:
      release = disk.lock(
        self.path, "wait until it has ended, or choose another --workdir"
      )
      self._unlock = weakref.finalize(self, release)
    write_json(self.path / CONFIG, config)
    if self._start and not self._summary.exists():
      _write_lines(self._starts, [*self.starts(), self._start])
    if listing and not self._images.exists():
      image_list.write(self._images, listing)
    return new

  def _check_jax(self, before: Sequence[Mapping[str, Any]]) -> None:
    """Looks whether JAX computes as it did when the run was last started."""
    noted = [start["jax"] for start in before if "jax" in start]
    last: dict[str, str] = noted[-1] if noted else {}
    for name, value in (self._start or {}).get("jax", {}).items():
      if (old := last.get(name, value)) != value:
        variable = name.upper()
        mended = f"unset {variable}" if old == "None" else f"set {variable}={old}"
        raise UserError(
          f"{self.path} was trained with {name} = {old}, and now it is {value}:"
          f" {mended}, or choose another --workdir"
        )

  def _say_changes(self, before: Sequence[Mapping[str, Any]]) -> None:
    """Warns if code, packages or machine are not those of the last start."""
    if before and (found := provenance.changes(before[-1], self._start or {})):
      logging.warning(
        "%s goes on with %s: the result may be other than that of a run in one go",
        self.path,
        ", ".join(found),
      )

  def check_no_run(self) -> None:
    """Looks whether views can be drawn here, where no run is to be.

    Raises:
      UserError: there is a run, or something else.
      OSError: it cannot be looked at.
    """
    if (self.path / CONFIG).exists():
      raise UserError(
        f"{self.path} holds a run, whose views are {self.figures / 'views.png'}: choose"
        " another --workdir"
      )
    self._check_empty()

  def _check_empty(self) -> None:
    # A start that was cut short, or that only drew the views, leaves figures/.
    ours = {self.figures.name, f"{CONFIG}.tmp", disk.LOCK}
    if self.path.exists() and {p.name for p in self.path.iterdir()} - ours:
      raise UserError(
        f"{self.path} is not empty and holds no run; choose another --workdir"
      )

  def close(self) -> None:
    """Lets go of the folder: another run may claim it, and this one writes no more."""
    self._closed = True
    while self._writers:
      self._writers.pop().close()
    if self._unlock is not None:
      self._unlock()
      self._unlock = None

  def _may_write(self) -> bool:
    if self._closed:
      raise RuntimeError(f"{self.path} was closed: claim it again")
    return self.writes

  def rewind(self, step: int) -> dict[str, Any]:
    """Drops what was logged after a step, which is about to be done again.

    Returns:
      The last record that is left, {} if none is.
    """
    if self.writes and step > 0 and not self._metrics.exists():
      logging.warning("%s is gone: curves begin after step %d", self._metrics, step)
    records = [r for r in self.records() if r["step"] <= step]
    if self._may_write():
      _write_lines(self._metrics, records)
      # They are open where the history of another run has just been copied.
      self._writers = self._writers or table.opened(
        self._writer_names, self.path, step + 1, records
      )
    return records[-1] if records else {}

  def log(self, step: int, scalars: Mapping[str, float]) -> None:
    """Appends one line to metrics.jsonl, and hands the same to the writers."""
    if not self._may_write():
      return
    with self._metrics.open("a") as file:
      file.write(json.dumps({"step": step, **scalars}) + "\n")
    for writer in self._writers:
      writer.add(step, scalars)

  def records(self) -> list[dict[str, Any]]:
    """All complete lines of metrics.jsonl."""
    return _lines(self._metrics, _is_record)

  def starts(self) -> list[dict[str, Any]]:
    """All complete lines of starts.jsonl; none of a run of version 0.2 or before."""
    return _lines(
      self._starts,
      lambda line: "started" in line and isinstance(line.get("jax", {}), dict),
    )

  def write_encoder(self, description: Mapping[str, Any]) -> None:
    """Writes encoder.json, with which the encoder can be used elsewhere."""
    if self._may_write():
      write_json(self.path / "encoder.json", description)

  def write_origin(self, description: Mapping[str, Any]) -> None:
    """Writes origin.json, with what the run begins if that is another run."""
    if self._may_write():
      write_json(self._origin, description)

  def read_origin(self) -> dict[str, Any] | None:
    """What is in origin.json, None where there is none."""
    return read_json(self._origin) if self._origin.exists() else None

  def write_skipped(self, unreadable: Mapping[str, str]) -> None:
    """Writes skipped.tsv, path and reason a line; nothing if all could be read."""
    if unreadable and self._may_write():
      rows = [f"{_in_one_line(p)}\t{_in_one_line(r)}\n" for p, r in unreadable.items()]
      disk.replace(self.path / "skipped.tsv", "".join(rows))

  def write_summary(self, summary: Mapping[str, Any]) -> None:
    """Writes summary.json, which marks the run as complete."""
    if self._may_write():
      write_json(self._summary, summary)

  def read_summary(self) -> dict[str, Any] | None:
    """The summary of a complete run, None for any other."""
    if not self._summary.exists():
      return None
    if found := read_json(self._summary):
      return found
    raise UserError(f"{self._summary} has nothing in it: delete it or restore it")


def _is_record(line: Mapping[str, Any]) -> bool:
  """Whether it has a step, and numbers where a run goes on by them."""
  return type(line.get("step")) is int and all(
    isinstance(line.get(name, 0), int | float) for name in _RELIED_ON
  )


def _lines(
  path: Path, is_right: Callable[[Mapping[str, Any]], bool]
) -> list[dict[str, Any]]:
  """The whole lines of a file, a JSON object in each that has to be right."""
  if not path.exists():
    return []
  try:
    content = disk.read(path)
  except OSError as error:
    raise UserError(
      f"cannot read {path}: {error.strerror}; restore it, or move it away"
    ) from error
  # A run that was killed may leave half a line behind.
  whole = content.decode(errors="replace").split("\n")[:-1]
  found = []
  for number, line in enumerate(whole, 1):
    try:
      value = json.loads(line)
      if not isinstance(value, dict) or not is_right(value):
        raise ValueError("no JSON object of this file's form")
    except (ValueError, RecursionError) as error:  # the latter of too deep a one
      raise UserError(
        f"{path} is damaged in line {number}: delete that line"
      ) from error
    found.append(value)
  return found


def _write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
  disk.replace(path, "".join(json.dumps(line) + "\n" for line in lines))


def _in_one_line(text: str) -> str:
  return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
