"""BYOL without batch statistics (Richemond et al., 2010.10241, section 3.3).

  python -m byol_jax.main --config=configs/byol_gn_ws.py

Every batch norm is replaced by group norm, and the weights of convolutional and
linear layers are standardised. ImageNet linear evaluation of ResNet-50 in the
paper: 73.9 % after 1000 epochs (batch norm: 74.3 %). The paper's learning rate,
weight decay and tau could not be verified: BYOL's are used.
"""

from ml_collections import ConfigDict

from configs import presets


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of a preset; see `configs/presets.py` for their names."""
  config = presets.get(preset)
  for component in (config.encoder, config.projector, config.predictor):
    component.norm = "group"
    component.standardised = True
  return config
