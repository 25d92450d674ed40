"""What is run on an accelerator: the stages, and the rules of what is chosen between.

The rules were written before anything was run, and see held-out training images alone.
"""

import functools
import itertools
import subprocess
import sys
from collections.abc import Iterator

from byol_jax.errors import UserError
from configs import presets
from reproduce.stages import COMPLETE, Choice, Plan, Records, Stage

PRESET = "cifar10"
SYSTEMS = {"gn-ws": "byol_gn_ws", "bn": "byol"}  # whose rates are found

SPEED_STEPS = 100
PILOT_STEPS = 970
# Name of a pilot -> factor of the preset's rate, and of the predictor's on top of it:
# one ten times as fast is what helped short runs on CPUs, without batch norm above all.
PACES = {"x1": (1.0, 1.0), "x1-fast": (1.0, 10.0), "x0.5-fast": (0.5, 10.0)}
EPOCHS = (100, 200)
SLICE = 600.0  # seconds that a run of the larger number of epochs may take
LEAST = 90.0  # seconds of work without which no stage is begun: it compiles first

_SETTINGS = presets.get(PRESET)
_BATCH = _SETTINGS.train.batch_size
_EPOCH = 50_000 // _BATCH  # steps
_RATE = _SETTINGS.optimiser.learning_rate
_BFLOAT16 = {"train.precision": "bfloat16"}

_SPEED = {**_BFLOAT16, "experiment": "speed", "train.steps": SPEED_STEPS}
# ResNet-50 at 224 px on enlarged patches of photographs: its step is what is measured.
_RESNET50 = {
  **_SPEED,
  "data.name": "photos",
  "data.workers": 0,  # they are in memory
  "train.batch_size": 256,
  "probe.train": "train[:1024]",
  "probe.test": "test",
  "probe.valid_train": "train[:1024]",
  "probe.valid_test": "train[1024:2048]",
}
# A pilot neither trains on the images that it is judged by nor looks at the test split.
_SEEN, _HELD_OUT = "train[:45000]", "train[45000:]"
_PILOT = {
  **_BFLOAT16,
  "train.steps": PILOT_STEPS,
  "data.train": _SEEN,
  "probe.train": "train[:10000]",
  "probe.test": _HELD_OUT,
  "probe.valid_train": "train[:10000]",
  "probe.valid_test": _HELD_OUT,
  "eval.every_steps": PILOT_STEPS,
  "eval.baselines": (),
  "checkpoint.keep": 1,
}
_TRAIN = {
  **_BFLOAT16,
  "eval.baselines": ("untrained",),
  "checkpoint.keep": 1,
  "checkpoint.every_minutes": 2.0,
}


def _stages() -> Iterator[Stage]:
  for name, config in SYSTEMS.items():
    for on_device in (False, True):
      fed = {"data.on_device": on_device}
      config_file = f"{config}:{PRESET}"
      yield Stage(_speed(name, on_device), "speed", config_file, {**_SPEED, **fed})
  for name, config in SYSTEMS.items():
    large = f"{config}:imagenet-300"
    yield Stage(f"speed-resnet50-{name}", "speed", large, _RESNET50)
  for name, pace in itertools.product(SYSTEMS, PACES):
    config, changes = f"{SYSTEMS[name]}:{PRESET}", {**_PILOT, **_settings(pace)}
    yield Stage(_pilot(name, pace), "pilot", config, changes, ("fed",))
  tau_1 = {**_TRAIN, "target.tau": 1.0}
  none = f"norm_ablation:none-none-none:{PRESET}"
  for name, config, changes, of in (
    ("gn-ws", f"byol_gn_ws:{PRESET}", _TRAIN, "gn-ws"),
    ("bn", f"byol:{PRESET}", _TRAIN, "bn"),
    ("none", none, _TRAIN, "gn-ws"),
    ("bn-tau-1", f"byol:{PRESET}", tau_1, "bn"),
    ("simclr", f"simclr:{PRESET}", _TRAIN, "bn"),
    ("gn-ws-tau-1", f"byol_gn_ws:{PRESET}", tau_1, "gn-ws"),
  ):
    yield Stage(name, "train", config, changes, ("fed", "epochs", f"rate-{of}"))


def _speed(name: str, on_device: bool) -> str:
  return f"speed-{name}-on-device" if on_device else f"speed-{name}"


def _pilot(name: str, pace: str) -> str:
  return f"pilot-{name}-{pace}"


def _settings(pace: str) -> dict[str, float]:
  factor, multiplier = PACES[pace]
  return {
    "optimiser.learning_rate": factor * _RATE,
    "optimiser.predictor_multiplier": multiplier,
  }


def rate(name: str, records: Records) -> Choice:
  """The pilot with the best held-out kNN that has not collapsed; of equals the first.

  Without any, the preset's rate.
  """
  found: dict[str, float] = {}
  for pace in PACES:
    record = records.get(_pilot(name, pace))
    if record and record.state == COMPLETE and not record.found["collapsed"]:
      found[pace] = record.curves["valid_knn"][1][-1]
  best = max(found, key=lambda pace: found[pace], default=next(iter(PACES)))
  points = ", ".join(f"{100 * knn:.1f} % at {pace}" for pace, knn in found.items())
  why = f"held-out kNN of pilots: {points}" if found else "no pilot: the preset's rate"
  return Choice(_settings(best), why)


def _speeds(records: Records, on_device: bool) -> list[float]:
  """Images/s of both systems, or of those of which it was measured."""
  found = (records.get(_speed(name, on_device)) for name in SYSTEMS)
  return [r.found["images_per_second"] for r in found if r and r.state == COMPLETE]


def fed(records: Records) -> Choice:
  """By the device itself, where that is faster for both systems."""
  host, device = (_speeds(records, on_device) for on_device in (False, True))
  measured = len(host) == len(device) == len(SYSTEMS)
  faster = measured and all(a < b for a, b in zip(host, device, strict=True))
  rates = (", ".join(f"{rate:.0f}" for rate in each) for each in (host, device))
  why = "images/s of {} fed by the host: {}; by the device: {}"
  systems = ", ".join(SYSTEMS)
  return Choice({"data.on_device": faster}, why.format(systems, *rates))


def epochs(records: Records) -> Choice:
  """200 where GN + WS and BN both take one slice at most by their measured speed."""
  fewer, more = EPOCHS
  speeds = _speeds(records, fed(records).settings["data.on_device"])
  seconds = [more * _EPOCH * _BATCH / speed for speed in speeds]
  fast = len(seconds) == len(SYSTEMS) and max(seconds) <= SLICE
  chosen = more if fast else fewer
  took = f"{max(seconds):.0f} s" if seconds else "unknown"
  return Choice(
    {"train.steps": chosen * _EPOCH},
    f"{chosen} epochs: {more} of the slower of {len(seconds)} would take {took},"
    f" and {SLICE:.0f} s are the most",
  )


PLAN = Plan(
  tuple(_stages()),
  {
    "fed": fed,
    "epochs": epochs,
    **{f"rate-{name}": functools.partial(rate, name) for name in SYSTEMS},
  },
  LEAST,
)


def check_device() -> None:
  """Asks JAX, in a process of its own, which lets go of the device again.

  Raises:
    UserError: there is no accelerator.
  """
  code = "import jax; print(jax.default_backend())"
  asked = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=False
  )
  if asked.returncode:
    *_, last = asked.stderr.strip().splitlines() or ["it said nothing"]
    raise UserError(f"JAX finds no device: {last}")
  if asked.stdout.strip() == "cpu":
    raise UserError(
      "JAX finds no accelerator here: install jax for it, such as jax[cuda12] or"
      " jax[cuda13]; on CPUs leave out --scale and --minutes"
    )
