r"""Weighted nearest neighbours on a frozen encoder (Wu et al. 2018, section 3.4).

  python -m byol_jax.main --config=configs/knn.py:cifar10 --config.encoder=RUN

All k with all temperatures in one pass over the held-out images of train. The pair that
is best there is tested, once; the summary has what was held out of all of them. BYOL's
papers have no such protocol: the code of Wu et al. (1805.01978) has k = 200, with 0.07
for ImageNet and 0.1 for CIFAR-10; k = 20 with 0.07 is common in benchmarks.
"""

from ml_collections import ConfigDict

from configs import evaluations


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of a preset, embedded if none is given."""
  config = evaluations.base("knn", preset)
  config.k = (1, 5, 10, 20, 50, 100, 200)
  config.temperature = (0.02, 0.05, 0.07, 0.1, 0.2, 0.5)
  return config
