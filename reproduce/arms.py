"""The runs that the argument needs, each the ordinary command with its flags."""

import importlib
import os
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from configs import presets

PRESET = "evidence"
SEEDS = (1, 2, 3)  # 0 has chosen the setting (reproduce/trials.py), and decides nothing
BATCHES = (64, 512)  # beside the preset's own
DEPTHS = (10, 18, 34, 50)

_SETTINGS = presets.get(PRESET)
_TRAIN = _SETTINGS.train

Changes = Mapping[str, object]  # settings by their full names


class Arm(NamedTuple):
  """A system and its settings.

  Attributes:
    config: file of configs/, with what it takes before the preset.
    changes: settings that differ from the config's.
    preset: that of the config.
    seeds: a run for each.
  """

  config: str
  changes: Changes = types.MappingProxyType({})
  preset: str = PRESET
  seeds: tuple[int, ...] = SEEDS

  @property
  def file(self) -> str:
    """Name of the config's file, without .py."""
    return self.config.partition(":")[0]

  @property
  def argument(self) -> str:
    """What follows the file: norms, if it takes any, and the preset."""
    return ":".join([*self.config.split(":")[1:], self.preset])

  def changed(self, *changes: Changes) -> "Arm":
    """The same with more settings changed."""
    both = dict(self.changes)
    for more in changes:
      both.update(more)
    return self._replace(changes=both)


def standardised(*components: str) -> Changes:
  """Standardises the weights of these components."""
  return {f"{component}.standardised": True for component in components}


def of_steps(steps: int) -> Changes:
  """Another length, looked at as often."""
  return {
    "train.steps": steps,
    "eval.every_steps": -(-steps // 5),
    "log.every_steps": -(-steps // 100),
  }


def closed_form(name: str, epsilon: float = 0.01) -> Changes:
  """A linear predictor that is computed, not learned."""
  return {
    "closed_form.name": name,
    "closed_form.epsilon": epsilon,
    "predictor.depth": 1,
    "predictor.norm": "none",
    "predictor.standardised": False,
  }


WS = standardised("encoder", "projector", "predictor")
WAITS: Changes = {"target.frozen": 0.3333333}  # for a third of the run
_HALF = of_steps(_TRAIN.steps // 2)
NO_PREDICTOR: Changes = {"predictor.depth": 0, "predictor.norm": "none"}
LINEAR_PREDICTOR: Changes = {"predictor.depth": 1, "predictor.norm": "none"}
FIXED_TARGET: Changes = {"target.tau": 1.0}
NO_AVERAGE: Changes = {"target.tau": 0.0, "target.schedule": "constant"}
SLOW_PREDICTOR: Changes = {"optimiser.predictor_multiplier": 1.0}  # the papers'
NO_COLOUR: Changes = {"augmentations": "no_colour"}
CENTRED: Changes = {"objective.byol.centre_targets": True}
ISO: Changes = {"objective.name": "isoloss"}
SGD: Changes = {
  "optimiser.name": "sgd",
  "optimiser.learning_rate": 0.1,
  "optimiser.warmup": 0.05,
  "optimiser.predictor_multiplier": 1.0,
}
DIRECT_PRED = closed_form("direct_pred")
DIRECT_COPY = closed_form("direct_copy", 0.25)  # each with its authors' epsilon
ORTHOGONAL = closed_form("orthogonal")

# Each norm has the rate, and the wait, that trials with seed 0 chose for it.
BN = Arm("byol")
GN_WS_AT_ONCE = Arm("byol_gn_ws")
GN_WS = GN_WS_AT_ONCE.changed(WAITS)
NONE = Arm("norm_ablation:none-none-none", {"optimiser.learning_rate": 0.75})
NORMS = {
  "bn": BN,
  "bn-ws": BN.changed(WS),
  "gn-ws": GN_WS,
  "none": NONE,
}
_AT_ONCE = {"gn-ws": GN_WS_AT_ONCE, "none": NONE}
_SIMCLR = {
  "bn": Arm("simclr"),
  "bn-ws": Arm("simclr", standardised("encoder", "projector")),
  "gn-ws": Arm("simclr_norm_ablation:gn-gn", standardised("encoder", "projector")),
  "none": Arm("simclr_norm_ablation:none-none"),
}


def of_batch(batch: int) -> Changes:
  """As many images and renewals of the target, in other batches."""
  share = batch / _TRAIN.batch_size
  tau = round(1 - share * (1 - _SETTINGS.target.tau), 6)
  steps = of_steps(round(_TRAIN.steps / share))
  return {"train.batch_size": batch, "target.tau": tau, **steps}


def of_depth(depth: int) -> Changes:
  """Half the width and half the steps: 50 layers can be afforded."""
  narrow = {"encoder.depth": depth, "encoder.width": 0.25, "encoder.groups": 4}
  return {**narrow, **_HALF}


# What tests an explanation -> how. With group norm the target moves at once: what
# makes the wait needless is what explains it. Each brings one batch statistic and no
# other: the mean of the targets, or the moments that a predictor is computed from.
_EXPLANATIONS: dict[str, Changes] = {
  "centred": CENTRED,
  "direct-pred": DIRECT_PRED,
  "direct-copy": DIRECT_COPY,
  "orthogonal": ORTHOGONAL,
}

# In the order of the report; what the claims need is made first: `claims.runs`.
ARMS = {
  **NORMS,
  **{f"{name}-tau-1": arm.changed(FIXED_TARGET) for name, arm in NORMS.items()},
  **{f"simclr-{name}": arm for name, arm in _SIMCLR.items()},
  "bn-encoder": Arm("norm_ablation:bn-none-none"),
  "bn-projector": Arm("norm_ablation:none-bn-none"),
  "bn-predictor": Arm("norm_ablation:none-none-bn"),
  "bn-init": Arm("byol_bn_init"),
  "raft": Arm("raft"),
  "byol-prime": Arm("byol_prime"),
  "bn-adam": Arm("raft", {"objective.name": "byol"}),  # with RAFT's optimiser and tau
  "raft-linear": Arm("raft", LINEAR_PREDICTOR),
  "byol-prime-linear": Arm("byol_prime", LINEAR_PREDICTOR),
  "gn-ws-at-once": GN_WS_AT_ONCE,
  "bn-waits": BN.changed(WAITS),
  "bn-np": BN.changed(NO_PREDICTOR),
  "raft-np": Arm("raft", NO_PREDICTOR),
  "byol-prime-np": Arm("byol_prime", NO_PREDICTOR),
  "bn-tau-0": BN.changed(NO_AVERAGE),
  "bn-tau-996": BN.changed({"target.tau": 0.996}),
  "bn-of-4": BN.changed({"train.accumulate": _TRAIN.batch_size // 4}),
  "bn-no-colour": BN.changed(NO_COLOUR),
  "simclr-no-colour": Arm("simclr", NO_COLOUR),
  **{
    f"{name}-batch-{batch}": arm.changed(of_batch(batch))
    for batch in BATCHES
    for name, arm in (("bn", BN), ("gn-ws", GN_WS))
  },
  **{
    f"none-depth-{depth}": NONE.changed(of_depth(depth), SLOW_PREDICTOR)
    for depth in DEPTHS
  },
  **{
    f"{name}-{what}": arm.changed(changes)
    for name, arm in _AT_ONCE.items()
    for what, changes in _EXPLANATIONS.items()
  },
  "gn-ws-iso": GN_WS_AT_ONCE.changed(DIRECT_PRED, ISO),
  "bn-direct-pred": BN.changed(DIRECT_PRED),
  # Under SGD projections collapse within hundreds of steps: half of them show it.
  **{f"{name}-sgd": arm.changed(SGD, _HALF) for name, arm in _AT_ONCE.items()},
  **{
    f"{name}-sgd-{what}": arm.changed(changes, SGD, _HALF)
    for name, arm in _AT_ONCE.items()
    for what, changes in _EXPLANATIONS.items()
  },
  "bn-sgd": BN.changed(SGD, _HALF),
}

COMPARED = ("bn", "gn-ws", "none")  # by studies
# What is measured beside the arms, each by the module of that name, and the arms whose
# first networks it needs.
STUDIES: dict[str, tuple[str, ...]] = {
  "pixels": (),
  "independence": COMPARED,
  "mirror": (),
  "costs": (),
}


class Run(NamedTuple):
  """One arm with one seed."""

  name: str
  arm: Arm
  seed: int

  @property
  def id(self) -> str:
    """Of its folder and its record."""
    return f"{self.name}-seed{self.seed}"

  def folder(self, root: Path) -> Path:
    """Where it is trained, under the folder of them all."""
    return root / "runs" / self.id

  def flags(self, configs: str = "configs") -> list[str]:
    """What `byol_jax.main` is given, but for --workdir; `configs` is their folder."""
    changes = {**self.arm.changes, "seed": self.seed}
    settings = (f"--config.{name}={value}" for name, value in changes.items())
    return [f"--config={configs}/{self.arm.file}.py:{self.arm.argument}", *settings]

  def config(self, data_dir: str | None) -> ConfigDict:
    """The config that these flags come to."""
    settings = {**self.arm.changes, "seed": self.seed}
    return config_of(self.arm.file, self.arm.argument, settings, data_dir)


def configs() -> str:
  """The folder of configs, as seen from the current one."""
  return os.path.relpath(Path(presets.__file__).parent)


def config_of(
  file: str, argument: str | None, settings: Changes, data_dir: str | None
) -> ConfigDict:
  """The config of a file of configs/, with settings changed by their full names."""
  found = importlib.import_module(f"configs.{file}").get_config(argument)
  found.update_from_flattened_dict(dict(settings))
  found.data.data_dir = data_dir
  return found


def first(name: str) -> Run:
  """The run of an arm with its first seed."""
  return Run(name, ARMS[name], ARMS[name].seeds[0])


def runs(arms: Mapping[str, Arm]) -> Iterator[Run]:
  """All of them: every arm once, then with the other seeds."""
  for more in range(max((len(arm.seeds) for arm in arms.values()), default=0)):
    for name, arm in arms.items():
      if more < len(arm.seeds):
        yield Run(name, arm, arm.seeds[more])
