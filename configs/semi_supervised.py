r"""Fine-tuning of a pretrained encoder on a share of the labels (BYOL, App. C.1).

  python -m byol_jax.main --config=configs/semi_supervised.py:cifar10 \
    --config.encoder=RUN --config.data.labels=0.01

The whole network is trained on 1 %, 10 % or all of the labelled images, with each rate
for each number of epochs. The pair that is best on held-out images is trained again on
all that are labelled, and tested once. The papers' batch is 1024.

The labelled images of ImageNet are those of SimCLR's published lists (1 % and 10 %),
which tensorflow-datasets has as imagenet2012_subset. Elsewhere `seed` draws them, as
equally many of each class as can be. Held out is a tenth of them, with an image of each
class where there are two, and at most 10 009 in all. Of few labels that is few images,
and the choice is noisy. With one rate and one number of epochs there is no sweep.
"""

from ml_collections import ConfigDict, config_dict

from configs import finetuning


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of a preset, embedded if none is given."""
  config = finetuning.base("semi_supervised", preset)
  config.data.labels = 0.01  # share of the images
  config.data.held_out = config_dict.placeholder(int)  # of those with labels
  config.optimiser.statistics_decay = 0.9  # that of pretraining, as in BYOL's code
  if preset == "imagenet":
    config.train.batch_size = 1024
  config.rates = (0.005, 0.01, 0.02, 0.05, 0.1)
  config.epochs = (30.0, 50.0)
  return config
