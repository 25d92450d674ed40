"""What is run on an accelerator: the stages, and the rules of what is chosen between.

The rules were written before anything was run, and see held-out training images alone.
"""

import functools
import math
import subprocess
import sys
from collections.abc import Iterator

from byol_jax.errors import UserError
from configs import presets
from reproduce import arms
from reproduce.stages import COMPLETE, Choice, Plan, Records, Stage

PRESET = "cifar10"
SYSTEMS = {"gn-ws": "byol_gn_ws", "bn": "byol"}  # whose rates are found

SPEED_STEPS = 100
PILOT_STEPS = 970
# Name of a pilot -> factor of the predictor's rate, and the share of the run in which
# the target is frozen: what helped short runs on CPUs, without batch norm above all.
PACES = {"x1": (1.0, 0.0), "x1-fast": (10.0, 0.0), "x1-fast-waits": (10.0, 0.3333333)}
# Batch norm needs no wait.
PILOTS = {"gn-ws": ("x1", "x1-fast", "x1-fast-waits"), "bn": ("x1", "x1-fast")}
EPOCHS = (50, 100, 200)
LONGEST = 450.0  # seconds that a run may take, so that three fit in half an hour
WORKERS = 8  # processes that crop, where the host feeds
LEAST = 90.0  # seconds of work without which no stage is begun: it compiles first

_SETTINGS = presets.get(PRESET)
_BATCH = _SETTINGS.train.batch_size
_EPOCH = 50_000 // _BATCH  # steps
_BFLOAT16 = {"train.precision": "bfloat16"}
_SAVES = {"checkpoint.keep": 1, "checkpoint.every_minutes": 2.0}

_BY_DEVICE: dict[str, object] = {"data.on_device": True}
_BY_HOST: dict[str, object] = {"data.on_device": False, "data.workers": WORKERS}
_OF_BOTH = "gn-ws"  # the system that is fed both ways
_SPEED_BY_HOST = f"speed-{_OF_BOTH}-by-host"

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
  **_SAVES,
}
_TRAIN = {**_BFLOAT16, "eval.baselines": ("untrained",), **_SAVES}
# As on CPUs: a predictor no faster than the rest, and a target that moves at once.
_COLLAPSE = {
  **arms.SLOW_PREDICTOR,
  "train.steps": 20 * _EPOCH,
  "eval.every_steps": 2 * _EPOCH,
}


def _stages() -> Iterator[Stage]:
  def speed(name: str, system: str, fed: dict[str, object]) -> Stage:
    return Stage(name, "speed", f"{SYSTEMS[system]}:{PRESET}", {**_SPEED, **fed})

  for name in SYSTEMS:
    yield speed(f"speed-{name}", name, _BY_DEVICE)
  yield speed(_SPEED_BY_HOST, _OF_BOTH, _BY_HOST)
  for name, config in SYSTEMS.items():
    large = f"{config}:imagenet-300"
    yield Stage(f"speed-resnet50-{name}", "speed", large, _RESNET50)
  for name, paces in PILOTS.items():
    for pace in paces:
      config, changes = f"{SYSTEMS[name]}:{PRESET}", {**_PILOT, **_settings(pace)}
      yield Stage(_pilot(name, pace), "pilot", config, changes, ("fed",))
  tau_1 = {**_TRAIN, "target.tau": 1.0}
  standardised = arms.standardised("encoder", "projector")
  simclr_gn_ws = f"simclr_norm_ablation:gn-gn:{PRESET}"
  # Name -> config, settings, and whose choices it takes.
  runs = {
    "gn-ws": (f"byol_gn_ws:{PRESET}", _TRAIN, "gn-ws"),
    "bn": (f"byol:{PRESET}", _TRAIN, "bn"),
    "none": (f"norm_ablation:none-none-none:{PRESET}", _TRAIN, "gn-ws"),
    "bn-tau-1": (f"byol:{PRESET}", tau_1, "bn"),
    "simclr": (f"simclr:{PRESET}", _TRAIN, "bn"),
    "gn-ws-tau-1": (f"byol_gn_ws:{PRESET}", tau_1, "gn-ws"),
    "simclr-gn-ws": (simclr_gn_ws, {**_TRAIN, **standardised}, "bn"),
    # As batch norm is trained, whose target does not wait.
    "gn-ws-at-once": (f"byol_gn_ws:{PRESET}", _TRAIN, "bn"),
    # What batch norm is ahead by, and what is the standardised weights'.
    "bn-ws": (f"byol:{PRESET}", {**_TRAIN, **arms.WS}, "bn"),
    "bn-ws-tau-1": (f"byol:{PRESET}", {**tau_1, **arms.WS}, "bn"),
  }
  for name in ("gn-ws", "bn", "gn-ws-tau-1", "none"):
    config, changes, of = runs[name]
    runs[f"{name}-seed-1"] = config, {**changes, "seed": 1}, of
  for name, (config, changes, of) in runs.items():
    yield Stage(name, "train", config, changes, ("fed", "epochs", f"rate-{of}"))
  for depth in (18, 50):
    changes = {**_TRAIN, **_COLLAPSE, "encoder.depth": depth}
    config = f"norm_ablation:none-none-none:{PRESET}"
    yield Stage(f"none-slow-{depth}", "train", config, changes, ("fed",))


def _pilot(name: str, pace: str) -> str:
  return f"pilot-{name}-{pace}"


def _settings(pace: str) -> dict[str, float]:
  multiplier, frozen = PACES[pace]
  return {"optimiser.predictor_multiplier": multiplier, "target.frozen": frozen}


def rate(name: str, records: Records) -> Choice:
  """The pilot with the best held-out kNN that has not collapsed; of equals the first.

  Without any, the preset's.
  """
  found: dict[str, float] = {}
  for pace in PILOTS[name]:
    record = records.get(_pilot(name, pace))
    if record and record.state == COMPLETE and not record.found["collapsed"]:
      found[pace] = record.curves["valid_knn"][1][-1]
  best = max(found, key=lambda pace: found[pace], default=PILOTS[name][0])
  points = ", ".join(f"{100 * knn:.1f} % at {pace}" for pace, knn in found.items())
  why = f"held-out kNN of pilots: {points}" if found else "no pilot: the preset's"
  return Choice(_settings(best), why)


def _speeds(records: Records, *names: str) -> list[float]:
  """Images/s of those of these stages that are complete."""
  found = (records.get(name) for name in names)
  return [r.found["images_per_second"] for r in found if r and r.state == COMPLETE]


def fed(records: Records) -> Choice:
  """By the device itself, unless the host was faster for the same system."""
  host = _speeds(records, _SPEED_BY_HOST)
  device = _speeds(records, f"speed-{_OF_BOTH}")
  by_host = bool(host and device and host > device)
  rates = (f"{each[0]:.0f}" if each else "unknown" for each in (host, device))
  why = "images/s of {} fed by the host: {}; by the device: {}"
  return Choice(_BY_HOST if by_host else _BY_DEVICE, why.format(_OF_BOTH, *rates))


def epochs(records: Records) -> Choice:
  """As many as the slower of both systems makes in `LONGEST` by its measured speed."""
  speeds = _speeds(records, *(f"speed-{name}" for name in SYSTEMS))
  seconds = _EPOCH * _BATCH / min(speeds) if len(speeds) == len(SYSTEMS) else math.inf
  chosen = max(
    (each for each in EPOCHS if each * seconds <= LONGEST), default=EPOCHS[0]
  )
  took = f"{seconds:.2f} s" if math.isfinite(seconds) else "an unknown time"
  return Choice(
    {"train.steps": chosen * _EPOCH},
    f"{chosen} epochs: one of the slower of {len(SYSTEMS)} takes {took},"
    f" and {LONGEST:.0f} s are the most",
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
