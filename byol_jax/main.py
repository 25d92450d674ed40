"""Runs an experiment: flags -> config -> experiments.NAME.run.

  python -m byol_jax.main --config=configs/byol_gn_ws.py --workdir=runs/mine

Any value of the config can be set by a flag: --config.train.steps=100.
"""

from byol_jax import interrupts

if __name__ == "__main__":
  interrupts.importing()

import difflib
import functools
import importlib
import json
import os
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from byol_jax import commands, disk
from byol_jax.errors import UserError, no_such

if TYPE_CHECKING:  # it imports much
  from byol_jax.run.folder import RunDir

_COLUMNS = 80
ROOT = Path(__file__).resolve().parents[1]


class _Flags(NamedTuple):
  """What the command line says."""

  config: flags.FlagHolder[ConfigDict]
  workdir: flags.FlagHolder[str | None]
  show_config: flags.FlagHolder[bool]
  show_views: flags.FlagHolder[bool]
  distributed: flags.FlagHolder[bool]


def _define_flags() -> _Flags:
  commands.define_flags()
  return _Flags(
    config_flags.DEFINE_config_file(
      "config", None, "Config file: FILE.py or FILE.py:PRESET.", lock_config=True
    ),
    flags.DEFINE_string(
      "workdir",
      None,
      "Folder of the run; by default runs/CONFIG or runs/CONFIG-PRESET.",
    ),
    flags.DEFINE_bool(
      "show_config", False, "Only print the config's settings; open ones are chosen."
    ),
    flags.DEFINE_bool(
      "show_views", False, "Only write figures/views.png: some images, augmented."
    ),
    flags.DEFINE_bool(
      "distributed", False, "Join the other hosts of a cluster before anything else."
    ),
  )


def _parse_flags(given: _Flags, argv: list[str]) -> list[str]:
  """Parses the flags; what is wrong with them becomes one line."""
  if not (ROOT / "experiments").is_dir():
    raise UserError(
      f"{ROOT} has no experiments/: run from a clone of the repository,"
      " installed with pip install -e ."
    )
  try:
    rest = flags.FLAGS(argv)
  except UserError:
    raise
  except (AttributeError, KeyError) as error:
    if _is_of_config_file(error):
      raise _failed_config(error) from error
    raise UserError(_no_setting(error)) from error
  except (flags.Error, TypeError, ValueError) as error:
    # Of a file that failed, ml_collections hands on the whole stack trace as text.
    text = str(error).strip().rpartition("\n")[2] if "Traceback" in str(error) else ""
    if str(error).startswith("Override "):
      text = _no_setting(error)
    raise UserError(text or commands.of_flags(error)) from error
  except Exception as error:
    if isinstance(error, OSError) and not _is_of_config_file(error):
      raise UserError(_no_config(_named(argv))) from error
    raise _failed_config(error) from error
  if rest[1:]:
    raise UserError(f"unexpected argument {rest[1]!r}; flags begin with --")
  if not given.config.present:
    raise UserError("name a config, as in --config=configs/byol_gn_ws.py")
  if given.workdir.value == "":
    raise UserError("--workdir is empty: name a folder, or leave it out")
  if "://" in (given.workdir.value or ""):
    raise UserError(
      f"--workdir={given.workdir.value} is no folder of this machine: mount it, and"
      " name that folder"
    )
  return rest


def _named(argv: list[str]) -> str:
  """The config as the command line names it: the flag may not have been parsed."""
  both = re.search(r"(?:^|\0)--?config[=\0]([^\0]*)", "\0".join(argv))
  return both[1] if both else ""


def _is_of_config_file(error: Exception) -> bool:
  """Whether it was raised by the code of a config, not by a flag that sets a value."""
  frames = traceback.extract_tb(error.__traceback__)
  return any(frame.name == "get_config" for frame in frames) or "module '" in str(error)


def _failed_config(error: Exception) -> UserError:
  text = " ".join(str(error).split())
  lines = [
    f" (line {frame.lineno} of {frame.filename})"
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.name == "get_config"
  ]
  where = lines[-1] if lines else ""
  return UserError(f"the config failed: {type(error).__name__}: {text}{where}")


def _no_setting(error: Exception) -> str:
  """What ml_collections says of a name, and with it of one that is like it."""
  if whole := re.search(r"(?:lookup:|Override) ([\w.]+)", str(error)):
    return f"the config has no setting {whole[1]!r}: docs/settings.md lists all of them"
  name, *like = re.findall(r"""["']([\w.]+)\\?["']""", str(error)) or [""]
  if not name:  # as of a FrozenConfigDict
    return f"the config cannot be changed: {error}"
  if like:
    return f"the config has no setting {name!r}: did you mean {like[0]}?"
  return f"the config has no setting {name!r}: docs/settings.md lists all of them"


def _main(given: _Flags) -> None:
  interrupts.importing()
  commands.set_up(flags.FLAGS.quiet)
  from byol_jax import cluster, parallel
  from byol_jax.run import provenance, settings
  from byol_jax.run.folder import RunDir

  config = _config(given)
  experiment = _experiment(config)
  if given.show_config.value:
    values = settings.flat(settings.resolved(config)).items()
    lines = [f"{name} = {'open' if v is None else json.dumps(v)}" for name, v in values]
    commands.say("\n".join(lines), "docs/settings.md")
    return
  interrupts.imported()
  if given.distributed.value:
    cluster.join()
  workdir = given.workdir.value or _default_workdir()
  run_dir = RunDir(workdir, parallel.is_first_host(), provenance.start())
  if given.show_views.value:
    commands.say(_show_views(experiment, config, run_dir), run_dir.figures)
    return
  logging.info("%s: %s", run_dir.path, parallel.describe())
  summary = experiment.run(config, run_dir)
  commands.say(_in_lines(summary), run_dir.path)


def _in_lines(value: Any, indent: str = "") -> str:
  """JSON; what fits into a line has one."""
  whole = json.dumps(value)
  if not isinstance(value, dict | list) or len(indent + whole) <= _COLUMNS:
    return whole
  inner = f"{indent}  "
  if isinstance(value, dict):
    parts = [f"{json.dumps(k)}: {_in_lines(v, inner)}" for k, v in value.items()]
  else:
    parts = [_in_lines(each, inner) for each in value]
  joined = f",\n{inner}".join(parts)
  return f"{whole[0]}\n{inner}{joined}\n{indent}{whole[-1]}"


def _config(given: _Flags) -> ConfigDict:
  """The config, if it can be read and names an experiment."""
  config, name = given.config.value, _config_name()
  try:
    if not isinstance(config.experiment, str):
      raise UserError(f"{name} has an experiment that is no name")
  except OSError as error:  # A file that is missing is noticed here.
    raise UserError(_no_config(name)) from error
  except AttributeError as error:
    raise UserError(
      f"{name} names no experiment: set config.experiment to one of"
      f" {', '.join(_experiments())}"
    ) from error
  return config


def _no_config(name: str) -> str:
  """What is said of a config file that cannot be read."""
  there = {path.stem: path for path in (ROOT / "configs").glob("*.py")}
  file = Path(name.partition(":")[0])
  try:
    file.read_bytes()
    why = "it is no Python"
  except OSError as error:
    why = str(error.strerror)
  close = difflib.get_close_matches(file.stem, there, n=1)
  advice = (
    f"did you mean {os.path.relpath(there[close[0]])}?"
    if close
    else ("name a file, such as configs/byol_gn_ws.py")
  )
  return f"cannot read the config {name!r} ({why}): {advice}"


def _experiments() -> list[str]:
  """Names of experiments: the files that can be run."""
  files = (ROOT / "experiments").glob("*.py")
  return sorted(file.stem for file in files if "\ndef run(" in file.read_text())


def _experiment(config: ConfigDict) -> ModuleType:
  """The module of the experiment that a config names.

  Raises:
    UserError: there is none, or the config lacks a setting of it.
  """
  name = config.experiment
  if name not in _experiments():
    raise no_such("experiment", name, _experiments())
  return importlib.import_module(f"experiments.{name}")


def _show_views(experiment: ModuleType, config: ConfigDict, run_dir: "RunDir") -> Path:
  if not hasattr(experiment, "show_views"):
    raise UserError(f"{config.experiment} augments no images: leave out --show_views")
  try:
    run_dir.check_no_run()
    return experiment.show_views(config, run_dir.figures)
  except OSError as error:
    raise UserError(f"cannot write to {run_dir.figures}: {error.strerror}") from error


def _config_name() -> str:
  return config_flags.get_config_filename(flags.FLAGS["config"])


def _default_workdir() -> str:
  """runs/byol_gn_ws-cifar10 for configs/byol_gn_ws.py:cifar10."""
  file, *arguments = _config_name().split(":")
  return str(Path("runs", "-".join([Path(file).stem, *filter(None, arguments)])))


def cli() -> None:
  """The command line: a user's mistake is one line and exit status 1."""
  sys.path.insert(0, str(ROOT))
  given = _define_flags()
  parse = functools.partial(_parse_flags, given)
  folder = functools.partial(_folder, given)
  commands.run(functools.partial(_main, given), sys.argv, parse, folder)


def _folder(given: _Flags) -> Path | None:
  """The folder of the run, if it is one already."""
  if not flags.FLAGS.is_parsed():  # it may be their parsing that has failed
    return None
  found = disk.absolute(given.workdir.value or _default_workdir())
  return found if (found / "config.json").exists() else None


if __name__ == "__main__":
  cli()
