"""Cores and memory under affinity, and under control groups of both versions."""

import os

import pytest

from byol_jax import machine

PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
NO_LIMIT = 9223372036854771712  # as version 1 has it
V2 = "0::/slice/job\n"
V1 = "9:name=systemd:/\n4:memory:/job\n2:cpu,cpuacct:/job\n"


@pytest.fixture
def limited(tmp_path, monkeypatch):
  """Makes the process one of some groups, on a machine of 64 cores."""
  monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)

  def limit(own, files):
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
      path = tmp_path / "fs" / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(text)
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "_ALL_GROUPS", tmp_path / "fs")

  return limit


@pytest.mark.parametrize(
  ("own", "files", "cores"),
  [
    (V2, {}, 64),
    (V2, {"slice/job/cpu.max": "200000 100000\n"}, 2),
    (V2, {"slice/job/cpu.max": "150000 100000\n"}, 2),
    (V2, {"slice/job/cpu.max": "10000 100000\n"}, 1),
    (V2, {"slice/job/cpu.max": "max 100000\n"}, 64),
    # The group above counts too, and the top of a container's own.
    (
      V2,
      {
        "slice/job/cpu.max": "800000 100000\n",
        "slice/cpu.max": "300000 100000\n",
      },
      3,
    ),
    (V2, {"cpu.max": "400000 100000\n"}, 4),
    (V2, {"cpu.max": "no numbers\n"}, 64),
    (V2, {"cpu.max": "6500000 100000\n"}, 64),
    (
      V1,
      {
        "cpu/job/cpu.cfs_quota_us": "500000\n",
        "cpu/job/cpu.cfs_period_us": "100000\n",
      },
      5,
    ),
    (
      V1,
      {
        "cpu/job/cpu.cfs_quota_us": "-1\n",
        "cpu/job/cpu.cfs_period_us": "100000\n",
      },
      64,
    ),
    (
      V1,
      {
        "cpu/cpu.cfs_quota_us": "600000\n",
        "cpu/cpu.cfs_period_us": "200000\n",
      },
      3,
    ),
  ],
)
def test_cores(limited, own, files, cores):
  limited(own, files)
  assert machine.cores() == cores


@pytest.mark.parametrize(
  ("own", "files", "memory"),
  [
    (V2, {}, PHYSICAL),
    (V2, {"slice/job/memory.max": "1048576\n"}, 2**20),
    (V2, {"slice/job/memory.max": "max\n"}, PHYSICAL),
    (V2, {"memory.max": "1048576\n"}, 2**20),
    (V1, {"memory/job/memory.limit_in_bytes": "2097152\n"}, 2**21),
    (V1, {"memory/job/memory.limit_in_bytes": f"{NO_LIMIT}\n"}, PHYSICAL),
    (V1, {"memory/memory.limit_in_bytes": "2097152\n"}, 2**21),
  ],
)
def test_memory(limited, own, files, memory):
  limited(own, files)
  assert machine.memory() == memory


def test_affinity(limited, monkeypatch):
  limited(V2, {"cpu.max": "400000 100000\n"})
  monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
  assert machine.cores() == 2


def test_other_systems(tmp_path, monkeypatch):
  monkeypatch.delattr(os, "sched_getaffinity", raising=False)
  monkeypatch.setattr(os, "cpu_count", lambda: 7)
  monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "not there")
  assert (machine.cores(), machine.memory()) == (7, PHYSICAL)


def test_this_one():
  assert 1 <= machine.cores() <= os.cpu_count()
  assert 2**20 <= machine.memory() <= PHYSICAL
