"""`host.tune`, in processes of their own: it is for a whole process."""

import os
import platform
import subprocess
import sys

import pytest

from byol_jax import host

_FLAG = "--xla_cpu_experimental_ynn_fusion_type"


def _run(code: str, **environment: str) -> str:
  kept = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  return subprocess.run(
    [sys.executable, "-c", code],
    env=kept | environment,
    check=True,
    capture_output=True,
    text=True,
  ).stdout.strip()


_STEPS = """
import resource
import byol_jax.main  # with all its imports, as a run has
import jax, jax.numpy as jnp
{tune}

@jax.jit
def step(x):
  y = jax.lax.sort(jnp.outer(x, x), dimension=1)  # 64 MiB of temporary memory
  return y.sum(0)

x = step(jnp.ones(4096)).block_until_ready()
def faults():
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(4):
  step(jnp.ones(4096)).block_until_ready()
print(step.lower(x).compile().memory_analysis().temp_size_in_bytes, faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_a_steps_memory_is_mapped_once():
  pages = 4096

  def faults(tune: str) -> int:
    size, faults = map(int, _run(_STEPS.format(tune=tune)).split())
    assert size >= 4096 * pages * 4
    return faults

  assert faults("") > 4 * 4096
  assert faults("from byol_jax import host; host.tune()") < 4096


def test_flags_are_known_to_this_jaxlib_and_added_once():
  code = (
    "import os; from byol_jax import host; host.tune(); host.tune(); import jax;"
    "jax.devices(); print(os.environ['XLA_FLAGS'])"
  )
  flags = _run(code, XLA_FLAGS="--xla_force_host_platform_device_count=2").split()
  assert flags[0] == "--xla_force_host_platform_device_count=2"
  assert len([flag for flag in flags if flag.startswith(_FLAG)]) <= 1


def test_what_the_user_chose_stays(monkeypatch):
  given = f"{_FLAG}=LIBRARY_FUSION_TYPE_DOT"
  monkeypatch.setenv("XLA_FLAGS", given)
  monkeypatch.setattr(host, "_keep_memory", lambda: None)
  host.tune()
  assert os.environ["XLA_FLAGS"] == given


def test_an_untried_jaxlib_gets_no_flags(monkeypatch):
  monkeypatch.delenv("XLA_FLAGS", raising=False)
  monkeypatch.setattr(host, "_keep_memory", lambda: None)
  monkeypatch.setattr(host.jaxlib, "__version__", "0.99.0")
  host.tune()
  assert "XLA_FLAGS" not in os.environ
