"""BYOL': towards the teacher (Shi et al., 2011.10944, equation 7).

  python -m byol_jax.main --config=configs/byol_prime.py

alpha L_align + beta L_cross, all else as in `configs/raft.py`, predictors and
presets too. With a linear predictor each run of RAFT is one of BYOL' with the
predictor's sign changed (theorem 5.1); the same algebra holds for any predictor whose
last layer is linear. Linear evaluation in the paper: 69.21 % (table 1).
"""

from ml_collections import ConfigDict

from configs import raft


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of a preset; see `configs/presets.py` for their names."""
  config = raft.get_config(preset)
  config.objective.name = "byol_prime"
  return config
