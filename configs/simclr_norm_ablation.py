"""SimCLR with a norm of its own in encoder and projector (Richemond et al., 3.1).

  python -m byol_jax.main --config=configs/simclr_norm_ablation.py:none-none
  python -m byol_jax.main --config=configs/simclr_norm_ablation.py:none-none:cifar10

As `configs/norm_ablation.py`, for two components: SimCLR has no predictor. By a
review of the paper SimCLR still performs reasonably well without batch norm, by notes
on it it fails; neither the sentence nor its numbers could be verified.
"""

from ml_collections import ConfigDict

from configs import simclr
from configs.norm_ablation import parse, set_norms

# What may come before the preset; any other will do too.
EXAMPLES = ("none-none", "bn-none")


def get_config(norms: str | None = None) -> ConfigDict:
  """The config of `ENCODER-PROJECTOR` or `ENCODER-PROJECTOR:PRESET`."""
  kinds, preset = parse(norms, ("encoder", "projector"))
  config = simclr.get_config(preset)
  set_norms(config, kinds)
  return config
