r"""Linear evaluation of a frozen encoder (BYOL, section 4 and App. C.1).

  python -m byol_jax.main --config=configs/linear_eval.py:cifar10 --config.encoder=RUN

The paper's protocol: a linear classifier on the frozen encoder, on crops and flips, by
SGD with Nesterov momentum, 80 epochs of batch 1024 without weight decay. The learning
rate is one of 0.4, 0.3, 0.2, 0.1 and 0.05, best on the last images of train. All of
them are trained at once, on what one pass of the encoder makes of each batch; then the
best one again, on all of train, and of data.valid if that was given; and the test split
is looked at once.

What the paper does not say is our choice: a rate is per 256 images, as in the code
released with it; of equally good rates the lowest is taken; the sweep makes as many
steps as the run itself; classifiers start from zeros, at random in that code.

The variants of the paper's table 7, whose values are a = 20 and b = 0.01:

  --config.augmentations=pretraining                        those of its first view
  --config.logits.clip=20.0 --config.logits.penalty=0.01    logits are regularised
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

from configs import evaluations, presets


def get_config(preset: str | None = None) -> ConfigDict:
  r"""The config of a preset, embedded if none is given.

  What is None is what the encoder saw, or chosen by experiments/dial.py: 80 epochs, if
  neither `train.steps` nor `train.epochs` is given. On a folder of one's own images:

    python -m byol_jax.main --config=configs/linear_eval.py:folder \
      --config.data.data_dir=FOLDER --config.encoder=RUN --workdir=RUN_linear

  Raises:
    UserError: there is none of that name.
  """
  preset = preset or "embedded"
  config = evaluations.base("linear_eval", preset)
  # The pretraining preset whose views its images are seen in.
  pretraining = presets.get({"imagenet": "imagenet-1000"}.get(preset, preset))
  config.data.update(
    size=config_dict.placeholder(int),
    eval_fraction=config_dict.placeholder(float),
    mean=config_dict.placeholder(tuple),
    std=config_dict.placeholder(tuple),
    workers=pretraining.data.workers,
    on_device=pretraining.data.on_device,
    max_unreadable=pretraining.data.max_unreadable,
  )
  config.view = pretraining.views.view1
  config.augmentations = "crops"  # and flips; or "pretraining": all of `view`
  config.update(classifier(preset))
  config.train.update(
    steps=config_dict.placeholder(int),
    epochs=config_dict.placeholder(float),  # in place of steps
    accumulate=1,
  )
  config.log = {"every_steps": 50, "writers": "tensorboard"}
  config.eval.update(every_steps=config_dict.placeholder(int), batch_size=1024)
  config.checkpoint = {"every_minutes": 5.0, "keep": 2}
  if preset == "folder":
    config.data.workers = config_dict.placeholder(int)
  return config


def classifier(preset: str) -> dict[str, Any]:
  """The settings of the classifiers: those of the paper, but for small sets."""
  return {
    "optimiser": {
      "name": "sgd",
      "learning_rate": (0.4, 0.3, 0.2, 0.1, 0.05),  # one of them
      "scale_with_batch": True,
      "schedule": "cosine",
      "warmup": 0.0,
      "sgd": {"weight_decay": 0.0, "momentum": 0.9},
    },
    "logits": {"clip": 0.0, "penalty": 0.0},  # a and b of the paper's table 7; 0 is off
    "train": {
      "batch_size": {
        "embedded": 256,
        "folder": config_dict.placeholder(int),
      }.get(preset, 1024)
    },
  }
