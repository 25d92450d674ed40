"""results.jsonl: a line for each accuracy that an evaluation came to.

Evaluations append to it, whichever folder they run in; `python -m byol_jax.report
results.jsonl` makes a table of it. A line is a JSON object with

format               `FORMAT`
protocol, setting    what was done, and the values that the sweep has chosen
data, train, test    the set and its splits
valid                the split that settings were chosen by; None for a part of train
images               how they were shown, where that changes the result; else None
listing              SHA-256 of the set's listing: folders are all called "folder"
metric, value        a key of `probes.METRICS`, and a number in [0, 1]
test_images          of how many images it is
encoder              path, checksum and step of it, and its network
seed, run, config    of the evaluation: its seed, its folder, all its settings
pretrained           folder, config and origin.json, if there is one, of the encoder's
                     own run; None for a file
byol_jax, commit, time
"""

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import byol_jax
from byol_jax import disk
from byol_jax.disk import absolute
from byol_jax.errors import UserError
from byol_jax.run import provenance
from byol_jax.valid import fits

FILE = "results.jsonl"
FORMAT = 1  # a reader refuses a higher one
# What a reader can rely on.
_FORM: dict[str, Any] = {
  "protocol": str,
  "setting": dict,
  "data": str,
  "train": str,
  "test": str,
  "listing": str,
  "metric": str,
  "value": (int, float),
  "test_images": int,
  "encoder": {"path": str, "checksum": str, "step": int, "network": dict},
  "config": dict,
  "pretrained": (dict, type(None)),
  "time": str,
}
_BEGINNING = json.dumps({"format": FORMAT})[:-1].encode()  # of each line
_PRETRAINED = {"run": str, "config": dict}  # unless it is None
_NO_JSON = (ValueError, RecursionError)  # the latter of too deep a one
_NOT_OF_THE_RESULT = ("byol_jax", "commit", "time")


def check(path: str | os.PathLike[str]) -> None:
  """Looks whether results can be added to a file, before there are any.

  Raises:
    UserError: the file cannot be written, is damaged, or is of a newer version.
  """
  file = absolute(path)
  if os.path.lexists(file):  # also a link to nothing
    if not file.is_file():  # a pipe or a device would be read without end
      raise UserError(f"{file} is no file: choose another --config.results")
    read(file)
  there = next(each for each in (file, *file.parents) if each.exists())
  if not os.access(there, os.W_OK) or (there != file and not there.is_dir()):
    raise UserError(f"{file} cannot be written: choose another --config.results")


def append(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
  """Adds a line, with version, commit and time; not if the same result is there.

  That is so where a process was killed after the line and before it had ended.

  Raises:
    UserError: the file cannot be written, or is damaged.
    ValueError: it is no result that `read` would take.
  """
  file = absolute(path)
  line = {
    "format": FORMAT,
    **result,
    "byol_jax": byol_jax.__version__,
    "commit": provenance.commit(),
    "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
  }
  if not _is_result(line):
    raise ValueError(f"this is no result: {line}")
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as opened:
      disk.wait_for(opened)
      opened.seek(0)
      content = opened.read()
      there = [_essence(each) for each in _parsed(file, content)]
      if _essence(json.loads(json.dumps(line))) in there:
        return
      whole = _whole(content)
      opened.truncate(min(len(whole), len(content)))
      opened.write(whole[len(content) :] + json.dumps(line).encode() + b"\n")
  except OSError as error:
    raise UserError(
      f"cannot write {file}: {error.strerror or error}; choose another --config.results"
    ) from error


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """All results of a file, in the order in which they came.

  Raises:
    UserError: it is not there, is damaged, or is of a newer version.
  """
  file = absolute(path)
  try:
    return _parsed(file, disk.read(file))
  except OSError as error:
    raise UserError(f"cannot read {file}: {error.strerror or error}") from error


def _whole(content: bytes) -> bytes:
  """The lines that are whole: a process that was killed may leave part of one.

  A part of anything else is a line by itself, and no result: the file is another one.
  """
  lines, end, rest = content.rpartition(b"\n")
  try:
    json.loads(rest)  # as an editor may leave it, without the end of the line
  except _NO_JSON:
    if rest[: len(_BEGINNING)] == _BEGINNING[: len(rest)]:
      return lines + end
  return content + b"\n"


def _parsed(path: Path, content: bytes) -> list[dict[str, Any]]:
  """The objects in whole lines."""
  found = []
  for number, line in enumerate(_whole(content).split(b"\n")[:-1], 1):
    try:
      value = json.loads(line)
    except _NO_JSON:
      value = None
    version = value.get("format") if isinstance(value, dict) else None
    if type(version) is int and version > FORMAT:
      raise UserError(
        f"{path} is of format {version} in line {number}, and this byol_jax reads up to"
        f" {FORMAT}: install a newer one"
      )
    if version != FORMAT or not _is_result(value):
      raise UserError(
        f"{path} has no result in line {number}: delete that line, or name another file"
      )
    found.append(value)
  return found


def _is_result(value: Any) -> bool:
  if not fits(value, _FORM) or not 0 <= value["value"] <= 1:
    return False
  return value["pretrained"] is None or fits(value["pretrained"], _PRETRAINED)


def _essence(result: Mapping[str, Any]) -> dict[str, Any]:
  return {k: v for k, v in result.items() if k not in _NOT_OF_THE_RESULT}
