"""`host.tune`, in processes of their own: it is for a whole process."""

import os
import platform
import re
import subprocess
import sys

import pytest

from byol_jax.run import host

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
import resource, threading
from byol_jax.run import host
{tune}
import experiments.pretrain  # with all its imports, as a run has
import jax, jax.numpy as jnp

# Threads that took memory before the first step does, as some imports' may.
ready, over = threading.Barrier(9), threading.Event()
def work():
  mine = [bytes(1000) for _ in range(100)]
  ready.wait()
  over.wait()
for _ in range(8):
  threading.Thread(target=work, daemon=True).start()
ready.wait()

@jax.jit
def step(x):
  return jnp.sin(jnp.outer(x, x)) @ x  # 64 MiB of temporary memory

x = jnp.ones(4096)
size = step.lower(x).compile().memory_analysis().temp_size_in_bytes
def faults():
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range({steps}):
  step(x).block_until_ready()
print(size, faults() - before)
over.set()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_a_steps_memory_is_mapped_once():
  # A step may find the memory of the one before in use still, or a corner of it
  # taken, so it takes some steps, five at most in what was seen, until malloc has
  # enough.
  steps, pages = 60, 4096 * 4096 * 4 // 4096

  def faults(tune: str) -> int:
    size, faults = map(int, _run(_STEPS.format(tune=tune, steps=steps)).split())
    assert size >= 4096 * pages
    return faults

  assert faults("") > 0.9 * steps * pages
  assert faults("host.tune()") < 0.25 * steps * pages


def test_flags_are_known_to_this_jaxlib_and_added_once():
  code = (
    "import os; from byol_jax.run import host; host.tune(); host.tune(); import jax;"
    "jax.devices(); print(os.environ['XLA_FLAGS'])"
  )
  flags = _run(code, XLA_FLAGS="--xla_force_host_platform_device_count=2").split()
  assert flags[0] == "--xla_force_host_platform_device_count=2"
  assert len(flags) == len({flag.split("=")[0] for flag in flags})


def test_what_the_user_chose_stays(monkeypatch):
  given = f"{_FLAG}=LIBRARY_FUSION_TYPE_DOT"
  monkeypatch.setenv("XLA_FLAGS", given)
  monkeypatch.setattr(host, "_keep_memory", lambda: None)
  host.tune()
  found = os.environ["XLA_FLAGS"].split()
  assert [flag for flag in found if flag.startswith(_FLAG)] == [given]


def test_an_untried_jaxlib_gets_no_flags_and_a_line(monkeypatch, caplog):
  monkeypatch.delenv("XLA_FLAGS", raising=False)
  monkeypatch.setattr(host, "_keep_memory", lambda: None)
  monkeypatch.setattr(host.jaxlib, "__version__", "0.99.0")
  with caplog.at_level("INFO"):
    host.tune()
  assert "XLA_FLAGS" not in os.environ
  assert len(caplog.messages) == 1
  assert re.match("jaxlib 0.99.0 is not one that was tried", caplog.messages[0])


@pytest.mark.parametrize(
  ("platforms", "packages", "only_cpus"),
  [
    ("cpu", ["jax_plugins"], True),
    ("cuda,cpu", [], False),
    ("", [], True),
    ("", ["jax_plugins"], False),
    ("", ["libtpu"], False),
    ("", ["entry point"], False),
  ],
)
def test_accelerators_are_left_as_they_are(monkeypatch, platforms, packages, only_cpus):
  kept = []
  monkeypatch.delenv("XLA_FLAGS", raising=False)
  monkeypatch.setenv("JAX_PLATFORMS", platforms)
  monkeypatch.setattr(host, "_keep_memory", lambda: kept.append(True))
  found = dict.fromkeys(packages, object())
  monkeypatch.setattr(host.importlib.util, "find_spec", found.get)
  points = [object()] if "entry point" in packages else []
  monkeypatch.setattr(host.importlib.metadata, "entry_points", lambda group: points)
  host.tune()
  assert ("XLA_FLAGS" in os.environ) is only_cpus
  assert bool(kept) is only_cpus  # malloc and dispatch


def test_barriers_keep_what_they_separate_from_being_fused():
  code = """
from byol_jax.run import host; host.tune()
import jax, jax.numpy as jnp
from jax import lax
def two_readers(x):
  y = lax.optimization_barrier(2 * x + 1)
  return y[::2] - y[1::2], y[:, ::2] - y[:, 1::2]
program = jax.jit(two_readers).lower(jnp.ones((64, 64))).compile().as_text()
print(program.count(" opt-barrier("), program.count(" multiply("))
"""
  assert _run(code) == "1 1"


def test_a_file_of_flags_stays_one(tmp_path, monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "flags"))
  host._set_flags()
  assert os.environ["XLA_FLAGS"] == str(tmp_path / "flags")
