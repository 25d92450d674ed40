"""BYOL with batch norm as an initialisation (Richemond et al., section 3.2).

  python -m byol_jax.main --config=configs/byol_bn_init.py

A first pass with batch norms sets the scale and offset of plain affines, which
take the batch norms' place; no batch statistics after that. That the statistics go
into the affines' scale and offset is our reading. ImageNet linear evaluation of
ResNet-50 in the paper: 65.7 % after 1000 epochs. The paper's learning rate, weight
decay and tau could not be verified: BYOL's are used.
"""

from ml_collections import ConfigDict

from configs import presets


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of a preset; see `configs/presets.py` for their names."""
  config = presets.get(preset)
  for component in (config.encoder, config.projector, config.predictor):
    component.norm = "affine"
  config.bn_init = True
  return config
