"""With what a run was made: command, code, versions, machine, time."""

import contextlib
import datetime
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import byol_jax

_ROOT = Path(__file__).resolve().parents[2]  # of the clone, if it is one
_CODE = ("byol_jax", "experiments", "configs", "reproduce", "benchmarks")
_PACKAGES = (
  *("jax", "jaxlib", "dm-haiku", "optax", "numpy", "scipy"),
  *("opencv-python-headless", "pillow", "grain", "tensorflow-datasets"),
)
# Of a start, what its numbers may depend on beside the versions of packages.
_MADE_BY = ("byol_jax", "commit", "hosts", "devices", "kind", "processor")
# What JAX reads from the environment, and what numbers may depend on.
_VARIABLES = ("JAX_", "XLA_", "CUDA_VISIBLE_DEVICES")
# Settings of JAX that change numbers; each is a variable too, in capitals.
_OF_JAX = (
  "jax_default_matmul_precision",
  "jax_default_prng_impl",
  "jax_disable_jit",
  "jax_enable_x64",
  "jax_random_seed_offset",
  "jax_threefry_partitionable",
)


def start() -> dict[str, Any]:
  """What starts.jsonl has of a start of this process, here and now; asks for devices.

  Returns:
    command: this process's command line, quoted so that a shell takes it back.
    folder: where it was given.
    environment: variables that JAX reads, as they are now.
    jax: see `of_jax`.
    started: UTC, ISO 8601.
    byol_jax, commit: version of the library, and the clone's commit; see `commit`.
    versions: {"Python": ..., "jax": ..., ...}.
    devices, kind, backend, hosts: how many devices of what kind on how many hosts.
    cores, processor: of this host.
  """
  import jax  # `reproduce` notes things without starting any device

  environment = {k: v for k, v in os.environ.items() if k.startswith(_VARIABLES)}
  return {
    "command": shlex.join(sys.orig_argv),
    "folder": os.getcwd(),
    "environment": environment,
    "jax": of_jax(),
    "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    "byol_jax": byol_jax.__version__,
    "commit": commit(),
    "versions": versions(),
    "devices": jax.device_count(),
    "kind": jax.devices()[0].device_kind,
    "backend": jax.default_backend(),
    "hosts": jax.process_count(),
    "cores": os.cpu_count(),
    "processor": processor(),
  }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """What numbers may depend on, and is other than it was at a start before.

  Args:
    before: as `start` has it; what is not noted there is not compared.
    now: likewise.

  Returns:
    Such as ["jax 0.12.0 (it was 0.10.2)"].
  """
  old, new = _made_by(before), _made_by(now)
  return [
    f"{name} {value} (it was {old[name]})"
    for name, value in new.items()
    if name in old and old[name] != value
  ]


def _made_by(start: Mapping[str, Any]) -> dict[str, Any]:
  packages = start.get("versions")
  found = dict(packages) if isinstance(packages, dict) else {}
  return found | {name: start[name] for name in _MADE_BY if start.get(name) is not None}


def commit() -> str | None:
  """The clone's commit by its short name, with "+" where the code is not that commit's.

  None where this is no clone: an installed package may lie in someone else's.
  """
  try:
    if Path(_git("rev-parse", "--show-toplevel")).resolve() != _ROOT:
      return None
    changed = _git("status", "--porcelain", "--", *_CODE)
    return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
  except (OSError, subprocess.CalledProcessError):
    return None


def code() -> str:
  """A checksum of all code that a run is made by, committed or not."""
  total = hashlib.sha256()
  for file in sorted(path for each in _CODE for path in _ROOT.glob(f"{each}/**/*.py")):
    total.update(f"{file.relative_to(_ROOT)}\0".encode() + file.read_bytes() + b"\0")
  return total.hexdigest()[:16]


def _git(*arguments: str) -> str:
  command = ["git", "-C", str(_ROOT), *arguments]
  found = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
  return found.strip()


def versions() -> dict[str, str]:
  """Name -> version of Python and of the packages that numbers depend on."""
  found = {"Python": platform.python_version()}
  for name in _PACKAGES:
    # One that came from elsewhere than PyPI may go by another name.
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      found[name] = importlib.metadata.version(name)
  return found


def of_jax() -> dict[str, str]:
  """The settings of JAX that change numbers: "jax_enable_x64" -> "False", ..."""
  import jax

  return {name: str(getattr(jax.config, name)) for name in _OF_JAX}


def processor() -> str:
  """The model of this machine's cores."""
  cpuinfo = Path("/proc/cpuinfo")
  if cpuinfo.exists():
    for line in cpuinfo.read_text().splitlines():
      if line.startswith("model name"):
        return line.partition(":")[2].strip()
  return platform.processor() or platform.machine()
