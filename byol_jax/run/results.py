"""results.jsonl: a line for each accuracy that an evaluation came to.

Evaluations append to it, whichever folder they run in; `python -m byol_jax.report
results.jsonl` makes a table of it. A line is a JSON object with

protocol, setting    what was done, and the values that the sweep has chosen
data, train, test    the images
valid                the split that settings were chosen by; None for a part of train
images               how they were shown, where that changes the result; else None
metric, value        a key of `probes.METRICS`, and a number in [0, 1]
test_images          of how many images it is
encoder              path, checksum and step of it, and its network
pretrained           of a run: what it was trained on, and how; None for a file
seed, run            of the evaluation, and its folder
byol_jax, commit, time
"""

import datetime
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import byol_jax
from byol_jax.disk import absolute
from byol_jax.errors import UserError
from byol_jax.run import provenance

FILE = "results.jsonl"
_NOT_OF_THE_RESULT = ("byol_jax", "commit", "time")


def append(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
  """Adds a line, with version, commit and time; not if the same result is there.

  That is so where a process was killed after the line and before it had ended.

  Raises:
    UserError: the file cannot be written, or is damaged.
  """
  file = absolute(path)
  line = {
    **result,
    "byol_jax": byol_jax.__version__,
    "commit": provenance.commit(),
    "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
  }
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as opened:
      fcntl.flock(opened, fcntl.LOCK_EX)
      opened.seek(0)
      text = opened.read()
      there = [_essence(each) for each in _parsed(file, text)]
      if _essence(json.loads(json.dumps(line))) in there:
        return
      whole = text[: text.rfind("\n") + 1]  # the rest is of a process that was killed
      opened.truncate(len(whole.encode()))
      opened.write(json.dumps(line) + "\n")
  except OSError as error:
    raise UserError(
      f"cannot write {file}: {error.strerror or error}; choose another --config.results"
    ) from error


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """All results of a file, in the order in which they came.

  Raises:
    UserError: it is not there, or damaged.
  """
  file = absolute(path)
  try:
    return _parsed(file, file.read_text())
  except OSError as error:
    raise UserError(f"cannot read {file}: {error.strerror or error}") from error


def _parsed(path: Path, text: str) -> list[dict[str, Any]]:
  """The objects in whole lines; half a line at the end is one that was cut short."""
  found = []
  for number, line in enumerate(text.split("\n")[:-1], 1):
    try:
      value = json.loads(line)
      if not {"protocol", "metric", "value", "encoder"} <= value.keys():
        raise ValueError("no result")
    except (AttributeError, ValueError) as error:
      raise UserError(
        f"{path} is damaged in line {number}: delete that line"
      ) from error
    found.append(value)
  return found


def _essence(result: Mapping[str, Any]) -> dict[str, Any]:
  return {k: v for k, v in result.items() if k not in _NOT_OF_THE_RESULT}
