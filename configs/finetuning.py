"""What evaluations by fine-tuning share."""

from ml_collections import ConfigDict, config_dict

from configs import evaluations


def base(experiment: str, preset: str | None) -> ConfigDict:
  """The settings that all of them have: SGD on crops and flips.

  The papers name neither the schedule of the rate nor whether it goes with the size
  of the batch. Both are as in BYOL's code, which fine-tunes by a cosine, times
  batch / 256. Unlike there, the classifier starts from zeros and batch norm pools over
  all devices. That weight decay spares biases and norms is our choice. What is open is
  chosen.

  Args:
    experiment: a file of experiments/.
    preset: of the images; see `evaluations.base`.
  """
  config = evaluations.base(experiment, preset)
  config.data.update(
    workers=16 if preset == "imagenet" else 0,
    on_device=False,  # whether the images to train on live there
  )
  config.view = {
    "crop_area": config_dict.placeholder(tuple),  # by the size of the encoder's images
    "crop_aspect": (3 / 4, 4 / 3),
    "flip": 0.5,
  }
  config.optimiser = {
    "schedule": "cosine",
    "scale_with_batch": True,
    "momentum": 0.9,  # Nesterov's
    # Of batch norm's running statistics; max(1 - 10 / s, 0.9) of s steps an epoch, if
    # open (BYOL, App. D.3).
    "statistics_decay": config_dict.placeholder(float),
  }
  config.train = {
    "batch_size": config_dict.placeholder(int),  # by the number of images
    "accumulate": 1,
  }
  config.log = {"every_steps": 50, "writers": "tensorboard"}
  config.checkpoint = {"every_minutes": 5.0, "keep": 1}
  return config
