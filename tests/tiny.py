"""Every system of configs/, and for each a config that compiles in seconds."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_collections

from configs import linear_eval as linear_eval_config

CONFIGS = Path(__file__).parents[1] / "configs"

System = Callable[[str | None], ml_collections.ConfigDict]  # of a preset


def _systems() -> Iterator[tuple[str, System]]:
  """Those that are files of configs/, and for those that take norms, some of them."""
  for file in sorted(CONFIGS.glob("*.py")):
    module = importlib.import_module(f"configs.{file.stem}")
    if not hasattr(module, "get_config"):
      continue
    for example in getattr(module, "EXAMPLES", (None,)):
      if module.get_config(example).experiment == "pretrain":
        name = ":".join(filter(None, [file.stem, example]))
        yield name, _with_preset(module, example)


def _with_preset(module, example: str | None) -> System:
  def get_config(preset: str | None = None) -> ml_collections.ConfigDict:
    return module.get_config(":".join(filter(None, [example, preset])) or None)

  return get_config


# "byol", ..., "norm_ablation:none-none-none", ...
SYSTEMS = dict(_systems())


def config(system: str = "byol_gn_ws", **train) -> ml_collections.ConfigDict:
  """A system on the embedded set, with a network that learns nothing."""
  config = SYSTEMS[system](None)
  config.encoder.update(depth=10, width=0.125, stem="patch", groups=2)
  for head in (config.projector, config.predictor):
    head.update(hidden=16, outputs=8, groups=2)
  # Instance norm needs more than the one pixel that is left of 16.
  size = 36 if config.encoder.norm == "instance" else 16
  config.data.update(train="train[:64]", size=size)
  config.probe.update(
    train="train[:64]",
    test="test[:40]",
    valid_train="train[:40]",
    valid_test="train[40:64]",
  )
  config.train.update(steps=4, batch_size=16)
  config.train.update(**train)
  config.log.every_steps = 1
  config.eval.update(every_steps=2, batch_size=16)
  config.checkpoint.every_minutes = 0.0
  return config


def linear_eval(encoder) -> ml_collections.ConfigDict:
  """Linear evaluation of a run of `config`."""
  config = linear_eval_config.get_config()
  config.encoder = str(encoder)
  config.data.update(train="train[:64]", test="test[:40]")
  config.train.update(steps=4, batch_size=16)
  config.log.every_steps = 1
  config.eval.update(every_steps=4, batch_size=16)
  config.checkpoint.every_minutes = 0.0
  return config
