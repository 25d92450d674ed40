"""Times the start of a training run, from the command to the end of its first step.

  python -m benchmarks.startup              BN and GN+WS, nothing compiled and all
  python -m benchmarks.startup --system=byol

It is the command itself, ResNet-50 at 224 px and batch 8 on the embedded images, in
a process of its own, first with an empty cache of compiled programs and then again.
The evaluation before the first step is one of 32 images. In brackets is the kernel's
time, of all threads: nearly all of it maps memory that is touched for the first time.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

from absl import flags

from benchmarks import tables
from byol_jax import commands

SYSTEMS = ("byol", "byol_gn_ws")

_HEAD = {"hidden": 4096, "outputs": 256, "groups": 16}
_SETTINGS: dict[str, dict[str, Any]] = {
  "encoder": {"depth": 50, "width": 1.0, "stem": "imagenet", "groups": 16},
  "projector": _HEAD,
  "predictor": _HEAD,
  "data": {"size": 224, "train": "train[:64]"},
  "probe": {
    "train": "train[:16]",
    "test": "test[:16]",
    "valid_train": "train[:16]",
    "valid_test": "train[16:32]",
  },
  "train": {"steps": 1, "batch_size": 8},
  "eval": {"batch_size": 16},
}


def _flags() -> Iterator[str]:
  for section, values in _SETTINGS.items():
    for name, value in values.items():
      yield f"--config.{section}.{name}={value}"


class _Clock:
  """Seconds of each phase, one after the other, and those of them in the kernel."""

  def __init__(self, began: float):
    self._last = began, 0.0
    self.phases: dict[str, tuple[float, float]] = {}

  def ends(self, phase: str) -> None:
    """What was done since the last call was this phase."""
    now = time.time(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
    self.phases[phase] = now[0] - self._last[0], now[1] - self._last[1]
    self._last = now


class _Timed:
  """An experiment that stops the time and ends with its first step."""

  def __init__(self, experiment: Any, clock: _Clock):
    self._experiment, self._clock = experiment, clock
    self.batches = experiment.batches
    self.encoder_description = experiment.encoder_description
    self._trained = False
    clock.ends("data and shapes")

  def show_views(self, folder: Any) -> None:
    self._experiment.show_views(folder)
    self._clock.ends("sheet of views")

  def init(self) -> Any:
    import jax

    state = jax.block_until_ready(self._experiment.init())
    self._clock.ends("state")
    return state

  def evaluate(self, state: Any) -> dict[str, float]:
    if self._trained:
      self._clock.ends("first step: run")
      return {}
    found = self._experiment.evaluate(state)
    self._clock.ends("evaluation")
    return found

  def step(self, state: Any, batch: Any) -> Any:
    import jax

    def listen(event: str, duration_secs: float, **_: Any) -> None:
      del duration_secs
      if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
        self._clock.ends("first step: lower")
      if event == "/jax/core/compile/backend_compile_duration" and not self._trained:
        self._clock.ends("first step: compile or load")
        self._trained = True

    outputs = self._experiment.step(state, batch)
    self._clock.ends("first step: trace")
    jax.monitoring.register_event_duration_secs_listener(listen)
    return outputs

  def summarise(self, state: Any) -> dict[str, Any]:
    del state
    return self._clock.phases


def run_timed() -> None:
  """In a process of its own: BEGAN, then the flags of a run."""
  clock = _Clock(float(sys.argv.pop(1)))
  from byol_jax.run import host

  host.tune()
  from byol_jax import main
  from experiments import pretrain

  clock.ends("imports")
  make = pretrain.Pretrain
  with mock.patch.object(pretrain, "Pretrain", lambda c: _Timed(make(c), clock)):
    main.cli()


def measure(system: str, cache: str) -> dict[str, tuple[float, float]]:
  """Seconds of the phases of one start, and those of them in the kernel.

  Raises:
    SystemExit: the run failed, and has said why.
  """
  with tempfile.TemporaryDirectory() as folder:
    code = "from benchmarks import startup; startup.run_timed()"
    command = [sys.executable, "-c", code, str(time.time())]
    where = [f"--config=configs/{system}.py", f"--workdir={folder}/run"]
    done = subprocess.run(
      [*command, *where, *_flags()],
      env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
      capture_output=True,
      text=True,
    )
  if done.returncode:
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode)
  others = ("steps", "images_seen", "images_per_second", "seconds")
  found = json.loads(done.stdout)
  return {phase: value for phase, value in found.items() if phase not in others}


def main(systems: Sequence[str]) -> None:
  """Measures both starts of each system, a file of configs/."""
  columns = {}
  for system in systems:
    with tempfile.TemporaryDirectory() as cache:
      for state in ("cold", "warm"):
        columns[f"{system}, {state}"] = measure(system, cache)
  first = next(iter(columns.values()))
  tables.head(("seconds", *columns))
  for phase in first:
    tables.row((phase, *(_cell(*column[phase]) for column in columns.values())))
  sums = (map(sum, zip(*column.values(), strict=True)) for column in columns.values())
  tables.row(("all", *(_cell(*both) for both in sums)))


def _cell(seconds: float, kernel: float) -> str:
  return f"{seconds:.1f} ({kernel:.1f})"


if __name__ == "__main__":
  SYSTEM = flags.DEFINE_multi_string("system", SYSTEMS, "Files of configs/.")
  commands.run(lambda: main(SYSTEM.value), sys.argv)
