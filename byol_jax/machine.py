"""What of this machine the process may use: affinity and control groups leave it less.

SLURM and `taskset` bind a process to some cores; containers and Kubernetes give it a
quota of their time, and a limit of memory above which it is killed.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_OWN_GROUPS = Path("/proc/self/cgroup")
_ALL_GROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
  """CPU cores that this process may use, or as many as its share of time comes to."""
  if hasattr(os, "sched_getaffinity"):
    allowed = len(os.sched_getaffinity(0))
  else:
    allowed = os.cpu_count() or 1
  return max(min([allowed, *map(math.ceil, _quotas())]), 1)


def memory() -> int:
  """Bytes of memory that this process may use."""
  physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  return min([physical, *_limits()])


def _quotas() -> Iterator[float]:
  """Of the control groups that have one, cores' worth of time."""
  names = ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")  # the first, or the rest
  for folder in _groups("cpu"):
    found = [number for name in names for number in _numbers(folder / name)]
    if len(found) == 2 and min(found) > 0:
      yield found[0] / found[1]


def _limits() -> Iterator[int]:
  """Of the control groups that have one, bytes."""
  for folder in _groups("memory"):
    for name in ("memory.max", "memory.limit_in_bytes"):
      yield from _numbers(folder / name)


def _groups(controller: str) -> Iterator[Path]:
  """The control groups that this process is in, in both versions, from its own up.

  In a container the path of its own may be that of the host, and not be there; the
  files at the top are then its own.
  """
  try:
    lines = _OWN_GROUPS.read_text().splitlines()
  except OSError:  # no Linux
    return
  for line in lines:
    _, controllers, path = line.split(":", 2)
    if not controllers:
      top = _ALL_GROUPS
    elif controller in controllers.split(","):
      top = _ALL_GROUPS / controller
    else:
      continue
    own = Path(path.lstrip("/"))
    yield from (top / each for each in (own, *own.parents))


def _numbers(path: Path) -> list[int]:
  """Those in a file, none if it is not there or says "max"."""
  try:
    return list(map(int, path.read_text().split()))
  except (OSError, ValueError):
    return []
