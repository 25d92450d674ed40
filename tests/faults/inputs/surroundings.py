"""What surrounds a process: its environment, its streams, its devices."""

import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator

from tests.devices import xla_flags
from tests.faults.inputs.bad import Bad, Command, instead
from tests.faults.inputs.place import Place
from tests.faults.trial import ROOT, Ended

_Start = Callable[[Command], Ended]


def rows(place: Place) -> list[Iterator[Bad]]:
  """Of each kind its rows: true starts, as JAX looks around when it is imported."""
  return [_refused(place), _odd(place)]


def _refused(place: Place) -> Iterator[Bad]:
  for platform in ("cuda", "tpu", "nonsense"):
    yield Bad(
      f"JAX_PLATFORMS={platform}",
      place.views(),
      f"no device of JAX_PLATFORMS={platform} .*unset JAX_PLATFORMS",
      instead(place.views()),
      start=_start(JAX_PLATFORMS=platform),
    )
  yield Bad(
    "JAX_ENABLE_X64=maybe",
    place.views(),
    "'maybe' for environment 'JAX_ENABLE_X64'.*unset it",
    instead(place.views()),
    start=_start(JAX_ENABLE_X64="maybe"),
  )
  yield Bad(
    "hosts without a number",
    place.views("--distributed"),
    "cannot join the other hosts .*leave out --distributed",
    instead(place.views()),
    start=_start(JAX_NUM_PROCESSES="x"),
  )
  yield Bad(
    "three devices",
    place.views(),
    "train.batch_size is 16: give a multiple of 3",
    instead(place.views("--config.train.batch_size=18")),
    start=_start(XLA_FLAGS=xla_flags(3)),
  )


def _odd(place: Place) -> Iterator[Bad]:
  for name, start in _ODD.items():
    yield Bad(
      name,
      place.views("--config.train.stepz=1"),
      "",
      instead(place.views()),
      start=start,
      then_start=start,
    )


def _start(redirected: str = "", unset: str = "", **env: str) -> _Start:
  """Starts commands with other variables, or without some of the streams."""

  def start(command: Command) -> Ended:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = shlex.join([sys.executable, "-m", *map(str, command)])
    done = subprocess.run(
      ["bash", "-c", f"{words} {redirected}"],
      cwd=ROOT,
      env={k: v for k, v in (os.environ | env).items() if k != unset},
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
      check=False,
    )
    lines = done.stderr.splitlines()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ended(done.returncode, lines, seconds)

  return start


# Odd, and no reason to refuse anything.
_ODD = {
  "HOME is unset": _start(unset="HOME"),
  "HOME is nowhere": _start(HOME="/proc/nowhere"),
  "TMPDIR is nowhere": _start(TMPDIR="/nowhere"),
  "the cache is a file": _start(JAX_COMPILATION_CACHE_DIR="/etc/hostname"),
  "LANG=C": _start(LANG="C", LC_ALL="C", PYTHONUTF8="0"),
  "no stdin": _start("<&-"),
  "no stdout": _start(">&-"),
  "neither": _start("<&- >&-"),
  "a full stdout": _start(">/dev/full"),
}
