"""The encoders that an evaluation names: one, or each that a pattern matches."""

import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from byol_jax import parallel, progress
from byol_jax.disk import read_json
from byol_jax.errors import UserError
from byol_jax.formats import saved
from byol_jax.run import results
from byol_jax.run.folder import RunDir

Summary = dict[str, Any]


def each(
  config: ConfigDict, run_dir: RunDir, evaluate: Callable[[ConfigDict, RunDir], Summary]
) -> Summary:
  """Evaluates the encoder that a config names, or each of several.

  Args:
    config: its `encoder` is a run, a file, or a pattern such as "runs/*".
    run_dir: of the evaluation; of several encoders each has a folder within.
    evaluate: of one encoder, in a folder of its own.

  Returns:
    The summary, or that of each encoder by its name.

  Raises:
    UserError: there is no encoder, or one could not be evaluated; of several the
      others are, before that, unless there are several hosts.
  """
  pattern = config.encoder
  if not pattern:
    raise UserError(
      "name the encoder to evaluate, as in --config.encoder=runs/byol_gn_ws"
    )
  names = parallel.value_from_first_host(lambda: _find(pattern))
  config = config.copy_and_resolve_references()
  if config.results is None:
    config.results = str(run_dir.path.parent / results.FILE)
  parallel.value_from_first_host(lambda: results.check(config.results))
  if names is None:
    return evaluate(config, run_dir)
  found: dict[str, Summary] = {}
  failed: dict[str, UserError] = {}
  with progress.shown("encoders", len(names), "encoders", lines=False) as bar:
    for name, path in names.items():
      one = config.copy_and_resolve_references()
      one.encoder = path
      logging.info("%s", path)
      try:
        found[name] = evaluate(one, run_dir.inside(name))
      except UserError as error:
        # It may be this host's alone, and what the others wait for is of this encoder.
        if jax.process_count() > 1:
          raise UserError(f"{path}: {error}") from error
        # The others are none the worse for it.
        logging.warning("%s: %s", path, error)
        failed[path] = error
      bar.add()
  if failed:
    path, why = next(iter(failed.items()))
    raise UserError(
      f"{len(failed)} of {len(names)} encoders could not be evaluated, such as {path}"
      f" ({why}); put that right, and the same command goes on with them"
    )
  return found


def _find(pattern: str) -> dict[str, str] | None:
  """Name -> path of the encoders that a pattern matches; None for a single path."""
  path = os.path.expanduser(pattern)
  if os.path.lexists(path) or not glob.has_magic(path):
    return None
  found = [each for each in sorted(glob.glob(path)) if _is_encoder(each)]
  if not found:
    raise UserError(f"there is no encoder at {pattern}: give runs or files of encoders")
  shared = os.path.commonpath([os.path.dirname(each) for each in found])
  named: dict[str, str] = {}
  for each in found:
    name = os.path.relpath(each, shared).replace(os.sep, "-")
    if name in named:
      raise UserError(
        f"{named[name]} and {each} would both be called {name}: give them one at a"
        " time, each with a --workdir"
      )
    named[name] = each
  return named


def _is_encoder(path: str) -> bool:
  """Whether it is a file of one, or a pretraining run, of any version."""
  if os.path.isfile(path):
    return path.endswith(saved.SUFFIX)
  config = Path(path) / "config.json"
  try:
    return config.exists() and read_json(config).get("experiment") == "pretrain"
  except UserError:
    return True  # its own evaluation will say so, and no other's
