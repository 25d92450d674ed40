"""Two simulated devices for every test, so that none is blind to a second one."""

import os
from pathlib import Path

import chex
import jax

os.environ["JAX_PLATFORMS"] = "cpu"
# Compiled programs are shared between the tests' processes.
# Tests check results, not speed: less optimised programs compile sooner.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
jax.config.update("jax_disable_most_optimizations", True)
CACHE = Path(__file__).parents[1] / ".jax_cache"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
chex.set_n_cpu_devices(2)
