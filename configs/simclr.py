"""SimCLR, the contrastive control (Chen et al., 2002.05709).

  python -m byol_jax.main --config=configs/simclr.py

NT-Xent on the projections, with all other views of the batch as negatives, or of a
microbatch where gradients are accumulated:
no predictor, no target network. All else is BYOL's, learning rates too, as in BYOL's
table 19: 69.4 % (ResNet-50, 300 epochs). There the loss is `info_nce`, 0.4 times this
one at a temperature of 0.1. In SimCLR's code it is twice this, and more is other:
docs/how-to/systems.md has the differences.
"""

from ml_collections import ConfigDict

from configs import presets


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of a preset; see `configs/presets.py` for their names."""
  config = presets.get(preset)
  config.objective.name = "simclr"
  config.target.kind = "online"
  config.predictor.update(depth=0, norm="none")
  return config
