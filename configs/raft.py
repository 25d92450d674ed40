"""RAFT: run away from your teacher (Shi et al., 2011.10944).

  python -m byol_jax.main --config=configs/raft.py

alpha L_align - beta L_cross: the predictions of the two views are drawn together,
and each away from the mean teacher's projection of the same view. Adam at 3e-4
and tau 0.996, both constant (App. B). With `:cifar10` the rest of App. B too:
ResNet-18 on images of 96 pixels a side, heads of 512 and 128, 300 epochs of batch
128 (`:cifar10-800` is the same for 800); linear evaluation in the paper: 71.31 %
(table 1). It says neither which stem nor which strengths of augmentation: the authors'
3x3 stem is used, and the views of the preset `cifar10`, our choice for small images:
BYOL's colours, crops from 0.2 of the area on, no blur.
The paper's predictor has batch norm in section 3 and none in App. B: here it has,
as in the authors' code.

Linear predictor:    --config.predictor.depth=1 --config.predictor.norm=none
  at the identity:   the same and --config.predictor.identity_init
No predictor:        --config.predictor.depth=0 --config.predictor.norm=none
"""

from ml_collections import ConfigDict

from configs import presets

# Presets of the paper's data set -> epochs: its own 300, unless others are asked for.
_EPOCHS = {"cifar10": 300, "cifar10-800": 800}


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of a preset; see `configs/presets.py` for their names."""
  config = presets.get(preset)
  config.objective.name = "raft"
  config.target.update(tau=0.996, schedule="constant")
  config.optimiser.update(
    name="adam",
    learning_rate=3e-4,
    scale_with_batch=False,
    predictor_multiplier=1.0,
    schedule="constant",
    warmup=0.0,
  )
  if preset in _EPOCHS:
    config.data.size = 96
    for head in (config.projector, config.predictor):
      head.update(hidden=512, outputs=128)
    epoch = 50_000 // 128
    config.train.update(steps=_EPOCHS[preset] * epoch, batch_size=128)
    config.eval.every_steps = 10 * epoch
  return config
