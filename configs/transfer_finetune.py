r"""Fine-tuning of a pretrained encoder on other data sets (BYOL, App. D.3).

  python -m byol_jax.main --config=configs/transfer_finetune.py:dtd --config.encoder=RUN

What comes after the colon is as in configs/transfer.py, with the same sets, splits and
metrics.

As in BYOL: 20 000 steps of batch 256 on crops and flips, with each of seven rates and
of eight weight decays, each divided by the rate; the pair that is best on the images
held out is trained again with these, and tested once. These are 57 runs a set. A
smaller machine takes fewer values and steps:

  --config.rates="(0.01,0.1)" --config.weight_decays="(0.0,)" --config.train.steps=2000
"""

from ml_collections import ConfigDict

from configs import evaluations, finetuning


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of one or more sets; of the embedded one if none is given."""
  config = evaluations.on_sets(finetuning.base, "transfer_finetune", preset)
  config.rates = tuple(10 ** (power / 2) for power in range(-8, -1))  # 1e-4 to 0.1
  # 1e-6 to 1e-3, and none.
  config.weight_decays = (0.0, *(10 ** (power / 2) for power in range(-12, -5)))
  config.train.update(steps=20_000, batch_size=256)
  config.optimiser.scale_with_batch = False
  return config
