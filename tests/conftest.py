"""Two simulated devices for every test, so that none is blind to a second one."""

import os
import signal
from pathlib import Path

import jax
import pytest

from tests.devices import xla_flags

os.environ["XLA_FLAGS"] = xla_flags(2)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
jax.config.update("jax_disable_most_optimizations", True)
# In the background shells have these ignored, by all that tests start too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Compiled programs are shared between the tests' processes.
CACHE = Path(__file__).parents[1] / ".jax_cache"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])


@pytest.fixture(autouse=True, scope="module")
def _programs_are_dropped():
  """Keeps the memory of hundreds of compiled programs from adding up."""
  yield
  jax.clear_caches()


@pytest.fixture(autouse=True)
def _interrupts_as_before():
  """Commands change what Ctrl-C does, for a process that is theirs."""
  before = signal.getsignal(signal.SIGINT)
  yield
  signal.signal(signal.SIGINT, before)
