"""Nothing happens at import, and nothing is held that cannot be let go of."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The state of a process that a library has no business with, before and after our
# modules are imported. Their own dependencies come first: what those do is theirs.
_CODE = """
import importlib, json, locale, logging, os, pkgutil, signal, sys, threading
import array_record.python.array_record_module, cv2, chex, grain, haiku, jax, matplotlib
import ml_collections.config_flags, optax, orbax.checkpoint, scipy.optimize
import skimage.data, skimage.transform, tensorboardX, tensorflow_datasets, tensorstore
from absl import flags
from absl import logging as absl_logging
from jax.experimental import multihost_utils
from tensorflow_datasets.core.read_only_builder import builder_from_files

def state():
  handlers = [root.handlers + root.filters for root in (
    logging.getLogger(), absl_logging.get_absl_logger(), logging.getLogger("jax"))]
  return {
    "backend": matplotlib.rcParams._get_backend_or_none(),
    "pyplot": "matplotlib.pyplot" in sys.modules,
    "rc": {k: repr(v) for k, v in dict.items(matplotlib.rcParams)},
    "opencv threads": cv2.getNumThreads(),
    "flags": sorted(flags.FLAGS),
    "parsed": flags.FLAGS.is_parsed(),
    "verbosity": absl_logging.get_verbosity(),
    "logging": repr(handlers),
    "signals": [repr(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)],
    "environment": dict(os.environ),
    "locale": repr(locale.setlocale(locale.LC_ALL)),
    "threads": threading.active_count(),
    "jax": {k: repr(v) for k, v in jax.config.values.items()},
    "backends": repr(jax._src.xla_bridge._backends),
    "path": sys.path,
    "folder": os.getcwd(),
    "hooks": repr([sys.excepthook, sys.unraisablehook]),
  }

before = state()
for package in sys.argv[1:]:
  root = importlib.import_module(package)
  for module in pkgutil.walk_packages(root.__path__, f"{package}."):
    importlib.import_module(module.name)
after = state()
print(json.dumps({k: [before[k], after[k]] for k in before if before[k] != after[k]}))
"""


def run(code, *arguments):
  return subprocess.run(
    [sys.executable, "-c", code, *arguments],
    cwd=ROOT,
    env={k: v for k, v in os.environ.items() if k != "MPLBACKEND"},
    check=True,
    capture_output=True,
    text=True,
  ).stdout


def test_importing_every_module_changes_nothing():
  found = run(_CODE, "byol_jax", "experiments", "configs")
  assert json.loads(found.splitlines()[-1]) == {}


def test_import_byol_jax_imports_no_jax():
  code = (
    "import sys, byol_jax; print(sorted({'jax', 'numpy', 'absl'} & set(sys.modules)))"
  )
  assert run(code).strip() == "[]"


# `data.batches` has no need of it either, but Grain imports it.
@pytest.mark.parametrize(
  "module", ["byol_jax.data.crops", "byol_jax.data.datasets", "configs.linear_eval"]
)
def test_what_configs_and_the_host_share_needs_no_jax(module):
  code = f"import sys, {module}; print('jax' in sys.modules)"
  assert run(code).strip() == "False"


def test_a_notebooks_backend_stays_and_its_figures_too(tmp_path):
  # `%matplotlib inline` chooses a backend, before or after a run has drawn.
  code = """
import matplotlib, sys
from pathlib import Path
import numpy as np
from byol_jax.run import figures
matplotlib.use("module://matplotlib.backends.backend_svg")
import matplotlib.pyplot as plt
shown = plt.figure()
figures.contact_sheet([np.zeros((2, 8, 8, 3))], Path(sys.argv[1]) / "views.png")
print(matplotlib.get_backend(), plt.get_fignums())
"""
  assert run(code, str(tmp_path)).split() == [
    "module://matplotlib.backends.backend_svg",
    "[1]",
  ]
  assert (tmp_path / "views.png").read_bytes().startswith(b"\x89PNG")
