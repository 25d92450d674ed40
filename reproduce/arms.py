"""The runs that the argument needs, each the ordinary command with its flags."""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from configs import presets

PRESET = "evidence"
_SETTINGS = presets.get(PRESET)
_TRAIN = _SETTINGS.train
IMAGES = _TRAIN.steps * _TRAIN.batch_size  # that each arm sees, but for the long ones
BATCHES = (16, 64, 256)  # beside the preset's own
FIRST_SEED = 1  # 0 has chosen the setting, so that it decides on nothing

_NO_PREDICTOR = {"predictor.depth": 0, "predictor.norm": "none"}
_LINEAR_PREDICTOR = {"predictor.depth": 1, "predictor.norm": "none"}
_FAST_PREDICTOR = {"optimiser.predictor_multiplier": 4.0}
_SLOW_PREDICTOR = {"optimiser.predictor_multiplier": 0.1}
_STANDARDISED = {
  f"{component}.standardised": True
  for component in ("encoder", "projector", "predictor")
}
_SGD = {
  "optimiser.name": "sgd",
  "optimiser.learning_rate": 0.1,
  "optimiser.warmup": 0.05,
}
_DEEP = {"encoder.depth": 34}
_NO_COLOUR = {"augmentations": "no_colour"}
_FIXED_TARGET = {"target.tau": 1.0}
_NO_AVERAGE = {"target.tau": 0.0, "target.schedule": "constant"}


class Arm(NamedTuple):
  """A system and its settings.

  Attributes:
    config: file of configs/, with what it takes before the preset.
    changes: settings that differ from the config's.
    seeds: how many runs; three where the argument rests on it.
  """

  config: str
  changes: Mapping[str, object] = {}
  seeds: int = 1

  @property
  def file(self) -> str:
    """Name of the config's file, without .py."""
    return self.config.partition(":")[0]

  @property
  def argument(self) -> str:
    """What follows the file: norms, if it takes any, and the preset."""
    return ":".join([*self.config.split(":")[1:], PRESET])


def _of_steps(steps: int) -> dict[str, object]:
  return {
    "train.steps": steps,
    "eval.every_steps": -(-steps // 10),
    "log.every_steps": -(-steps // 100),
  }


def _of_batch(batch: int) -> dict[str, object]:
  return {"train.batch_size": batch, **_of_steps(IMAGES // batch)}


def _of_batch_at_one_rate(batch: int) -> dict[str, object]:
  """Takes back that the rate goes down with the batch."""
  rate = _SETTINGS.optimiser.learning_rate * _TRAIN.batch_size / batch
  return {**_of_batch(batch), "optimiser.learning_rate": rate}


_LONG = _of_steps(4 * _TRAIN.steps)

ARMS = {
  "bn": Arm("byol", seeds=3),
  "gn-ws": Arm("byol_gn_ws", seeds=3),
  "none": Arm("norm_ablation:none-none-none", seeds=3),
  "bn-encoder": Arm("norm_ablation:bn-none-none", seeds=3),
  "bn-init": Arm("byol_bn_init", seeds=3),
  "bn-fast": Arm("byol", _FAST_PREDICTOR, seeds=3),
  "gn-ws-fast": Arm("byol_gn_ws", _FAST_PREDICTOR, seeds=3),
  "none-fast": Arm("norm_ablation:none-none-none", _FAST_PREDICTOR, seeds=3),
  "bn-init-fast": Arm("byol_bn_init", _FAST_PREDICTOR, seeds=3),
  "bn-sgd": Arm("byol", _SGD, seeds=3),
  "gn-ws-sgd": Arm("byol_gn_ws", _SGD, seeds=3),
  "none-sgd": Arm("norm_ablation:none-none-none", _SGD, seeds=3),
  "bn-deep": Arm("byol", _DEEP),
  "gn": Arm("norm_ablation:gn-gn-gn"),
  "bn-ws": Arm("byol", _STANDARDISED),
  "simclr": Arm("simclr", seeds=3),
  "simclr-none": Arm("simclr_norm_ablation:none-none", seeds=3),
  "raft": Arm("raft", seeds=3),
  "byol-prime": Arm("byol_prime", seeds=3),
  "raft-linear": Arm("raft", _LINEAR_PREDICTOR),
  "byol-prime-linear": Arm("byol_prime", _LINEAR_PREDICTOR),
  "raft-np": Arm("raft", _NO_PREDICTOR),
  "byol-prime-np": Arm("byol_prime", _NO_PREDICTOR),
  "bn-np": Arm("byol", _NO_PREDICTOR),
  "bn-tau-1": Arm("byol", _FIXED_TARGET),
  "bn-tau-0": Arm("byol", _NO_AVERAGE),
  "bn-tau-1-fast": Arm("byol", {**_FIXED_TARGET, **_FAST_PREDICTOR}),
  "bn-slow": Arm("byol", _SLOW_PREDICTOR),
  "bn-tau-0-slow": Arm("byol", {**_NO_AVERAGE, **_SLOW_PREDICTOR}),
  "bn-no-colour": Arm("byol", _NO_COLOUR),
  "simclr-no-colour": Arm("simclr", _NO_COLOUR),
  **{
    f"{name}-batch-{batch}": Arm(config, _of_batch(batch))
    for batch in BATCHES
    for name, config in (("bn", "byol"), ("gn-ws", "byol_gn_ws"))
  },
  "bn-long": Arm("byol", _LONG),
  "bn-tau-1-long": Arm("byol", {**_FIXED_TARGET, **_LONG}),
  "gn-ws-long": Arm("byol_gn_ws", _LONG),
  "none-long": Arm("norm_ablation:none-none-none", _LONG),
  "gn-ws-sgd-long": Arm("byol_gn_ws", {**_SGD, **_LONG}),
  "none-sgd-long": Arm("norm_ablation:none-none-none", {**_SGD, **_LONG}),
  "gn-ws-one-rate-16": Arm("byol_gn_ws", _of_batch_at_one_rate(16)),
  # BYOL's table 16: the optimiser's batch stays, batch norm sees a microbatch of it.
  "bn-of-4": Arm("byol", {"train.accumulate": _TRAIN.batch_size // 4}),
}


def config(name: str, seed: int, data_dir: str | None) -> ConfigDict:
  """The config of an arm, as `Run.flags` describes it for the command line."""
  arm = ARMS[name]
  module = importlib.import_module(f"configs.{arm.file}")
  found = module.get_config(arm.argument)
  found.update_from_flattened_dict(dict(arm.changes))
  found.seed = seed
  found.data.data_dir = data_dir
  return found


# What is measured beside the arms, each by the module of that name.
STUDIES = ("independence", "mirror", "costs", "score")


class Run(NamedTuple):
  """One arm with one seed."""

  arm: str
  seed: int

  @property
  def name(self) -> str:
    """Of its folder and its record."""
    return f"{self.arm}-seed{self.seed}"

  def folder(self, root: Path) -> Path:
    """Where it is trained, under the folder of them all."""
    return root / "runs" / self.name

  def flags(self) -> list[str]:
    """What `byol_jax.main` is given, but for --workdir."""
    arm = ARMS[self.arm]
    changes = {**arm.changes, "seed": self.seed}
    settings = (f"--config.{name}={value}" for name, value in changes.items())
    return [f"--config=configs/{arm.file}.py:{arm.argument}", *settings]


def runs() -> Iterator[Run]:
  """All of them: every arm once, then with the other seeds."""
  for more in range(max(arm.seeds for arm in ARMS.values())):
    for name, arm in ARMS.items():
      if more < arm.seeds:
        yield Run(name, FIRST_SEED + more)
