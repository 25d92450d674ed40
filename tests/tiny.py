"""A config small enough to compile in seconds."""

import ml_collections

from configs import (
  byol,
  byol_bn_init,
  byol_gn_ws,
  byol_prime,
  norm_ablation,
  raft,
  simclr,
  simclr_norm_ablation,
)
from configs import linear_eval as linear_eval_config

SYSTEMS = {
  "byol": byol.get_config,
  "byol_gn_ws": byol_gn_ws.get_config,
  "no_norm": lambda: norm_ablation.get_config("none-none-none"),
  "encoder_bn": lambda: norm_ablation.get_config("bn-none-none"),
  "byol_bn_init": byol_bn_init.get_config,
  "simclr": simclr.get_config,
  "simclr_no_norm": lambda: simclr_norm_ablation.get_config("none-none"),
  "raft": raft.get_config,
  "byol_prime": byol_prime.get_config,
}


def config(system: str = "byol_gn_ws", **train) -> ml_collections.ConfigDict:
  """A system on the embedded set, with a network that learns nothing."""
  config = SYSTEMS[system]()
  config.encoder.update(depth=10, width=0.125, stem="patch", groups=2)
  for head in (config.projector, config.predictor):
    head.update(hidden=16, outputs=8, groups=2)
  config.data.update(train="train[:64]", size=16)
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


def linear_eval(pretrained) -> ml_collections.ConfigDict:
  """Linear evaluation of a run of `config`."""
  config = linear_eval_config.get_config()
  config.pretrained = str(pretrained)
  config.data.update(train="train[:64]", test="test[:40]", size=16)
  config.train.update(steps=4, batch_size=16)
  config.log.every_steps = 1
  config.eval.update(every_steps=4, batch_size=16)
  config.checkpoint.every_minutes = 0.0
  return config
