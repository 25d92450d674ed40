"""Runs an experiment: flags -> config -> experiment -> loop.

  python -m byol_jax.main --config=configs/byol_gn_ws.py --workdir=runs/mine

Any value of the config can be set by a flag: --config.train.steps=100.
"""

import errno
import importlib
import json
import logging as python_logging
import os
import signal
import sys
from pathlib import Path

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from byol_jax import host
from byol_jax.errors import Stopped, UserError

ROOT = Path(__file__).resolve().parents[1]

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Config file: FILE.py or FILE.py:PRESET.", lock_config=True
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; by default runs/CONFIG or runs/CONFIG-PRESET."
)
_SHOW_VIEWS = flags.DEFINE_bool(
  "show_views", False, "Only write figures/views.png: some images, augmented."
)
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Join the other hosts of a cluster before anything else."
)


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses the flags; what is wrong with them becomes one line."""
  try:
    rest = flags.FLAGS(argv)
    if _CONFIG.value is None:
      raise UserError("name a config, as in --config=configs/byol_gn_ws.py")
    _ = _CONFIG.value.experiment  # A file that is missing is noticed here.
  except OSError as error:
    raise UserError(f"cannot read the config {_config_name()}") from error
  except AttributeError as error:
    # It arrives as the text of a text: "'\\'stepz\\'\\nDid you mean ...".
    hint = str(error).replace("\\n", " ").replace("\\'", "'").strip("'\"")
    raise UserError(f"the config has no setting '{hint}") from error
  except (flags.Error, TypeError, ValueError) as error:
    raise UserError(" ".join(str(error).split())) from error
  if rest[1:]:
    raise UserError(f"unexpected argument {rest[1]!r}; flags begin with --")
  return rest


def _main(argv: list[str]) -> None:
  del argv
  host.tune()
  from byol_jax import loop, parallel
  from byol_jax.rundir import RunDir

  _set_up_logging()
  if _DISTRIBUTED.value:
    parallel.join_cluster()
  _keep_programs()
  config = _CONFIG.value
  _check_counts(config)
  experiment = importlib.import_module(f"experiments.{config.experiment}").make(config)
  run_dir = RunDir(_WORKDIR.value or _default_workdir(), parallel.is_first_host())
  if _SHOW_VIEWS.value:
    print(experiment.show_views(run_dir.figures))
    return
  if run_dir.claim(config):
    experiment.show_views(run_dir.figures)
  logging.info("%s: %s", run_dir.path, parallel.describe())
  summary = loop.run(experiment, config, run_dir)
  print(json.dumps(summary, indent=2))


def _check_counts(config: ml_collections.ConfigDict) -> None:
  """Refuses counts below 1, which are divided by or looped over, and times below 0."""
  for section, key in (
    ("train", "steps"),
    ("train", "batch_size"),
    ("train", "accumulate"),
    ("log", "every_steps"),
    ("eval", "every_steps"),
    ("eval", "batch_size"),
    ("checkpoint", "keep"),
  ):
    if config[section][key] < 1:
      raise UserError(f"{section}.{key} is {config[section][key]}: give 1 or more")
  if (minutes := config.checkpoint.every_minutes) < 0:
    raise UserError(f"checkpoint.every_minutes is {minutes}: give 0 or more")


def _set_up_logging() -> None:
  logging.set_verbosity(logging.INFO)
  line = python_logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
  handler = logging.get_absl_handler()
  handler.setFormatter(line)
  handler.addFilter(lambda record: "tensorflow_datasets" not in record.pathname)
  python_logging.getLogger("jax").setLevel(python_logging.ERROR)


def _keep_programs() -> None:
  """Keeps compiled programs between runs, small ones too: they are hundreds."""
  import jax

  if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    cache = Path.home() / ".cache" / "byol_jax"
    jax.config.update("jax_compilation_cache_dir", str(cache))
  if not os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _config_name() -> str:
  return config_flags.get_config_filename(flags.FLAGS["config"])


def _default_workdir() -> str:
  """runs/byol_gn_ws-cifar10 for configs/byol_gn_ws.py:cifar10."""
  file, *arguments = _config_name().split(":")
  return str(Path("runs", "-".join([Path(file).stem, *filter(None, arguments)])))


def cli() -> None:
  """The command line: a user's mistake is one line and exit status 1."""
  sys.path.insert(0, str(ROOT))
  try:
    if not (ROOT / "experiments").is_dir():
      raise UserError(
        f"{ROOT} has no experiments/: run from a clone of the repository,"
        " installed with pip install -e ."
      )
    app.run(_main, flags_parser=_parse_flags)
  except UserError as error:
    sys.exit(f"byol_jax: {error}")
  except Stopped as stopped:
    print(f"byol_jax: {stopped}", file=sys.stderr)
    sys.exit(128 + stopped.signal_number)
  except KeyboardInterrupt:
    print("byol_jax: interrupted; the same command continues the run", file=sys.stderr)
    sys.exit(128 + signal.SIGINT)
  except OSError as error:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
      raise
    sys.exit(
      f"byol_jax: {error.strerror}; free some space, and the same command continues"
      " the run"
    )


if __name__ == "__main__":
  cli()
