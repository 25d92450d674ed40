"""BYOL with batch norm everywhere (Grill et al., 2006.07733).

  python -m byol_jax.main --config=configs/byol.py

ImageNet linear evaluation of ResNet-50 in the paper: 74.3 % (imagenet-1000),
72.5 % (imagenet-300).
"""

from ml_collections import ConfigDict

from configs import presets


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of a preset; see `configs/presets.py` for their names."""
  return presets.get(preset)
