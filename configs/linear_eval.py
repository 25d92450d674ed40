"""Linear evaluation of a pretrained encoder (BYOL, App. C.1).

  python -m byol_jax.main --config=configs/linear_eval.py:cifar10 \\
    --config.pretrained=runs/byol_gn_ws-cifar10

A linear classifier is trained on the frozen encoder, on crops and flips, by SGD
with Nesterov momentum: 80 epochs of batch 1024 without weight decay in the paper,
which chooses the learning rate among 0.4, 0.3, 0.2, 0.1 and 0.05 on held-out
images. `imagenet-valid` trains and tests on the reference code's split for that.
"""

from ml_collections import ConfigDict, config_dict

from byol_jax.errors import UserError
from configs import presets

# Preset -> the pretraining preset with its data, its training images, splits.
_PRESETS = {
  "embedded": ("embedded", 5_769, "train", "test"),
  "cifar10": ("cifar10", 50_000, "train", "test"),
  "imagenette": ("imagenette", 9_469, "train", "validation"),
  "imagenet": ("imagenet-1000", 1_281_167, "train", "validation"),
  "imagenet-valid": ("imagenet-1000", 1_271_167, "train[10000:]", "train[:10000]"),
}
_EPOCHS = 80


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of a preset, embedded if none is given.

  Raises:
    UserError: there is none of that name.
  """
  if (preset := preset or "embedded") not in (*_PRESETS, "folder"):
    raise UserError(
      f"unknown preset {preset!r}; choose one of {', '.join(_PRESETS)}, folder, as in"
      " --config=configs/linear_eval.py:cifar10"
    )
  if preset == "folder":
    return _folder()
  name, images, train, test = _PRESETS[preset]
  pretraining = presets.get(name)
  batch_size = 256 if preset == "embedded" else 1024
  config = ConfigDict(
    {
      "experiment": "linear_eval",
      "pretrained": config_dict.placeholder(str),
      "seed": 0,
      "data": pretraining.data,
      "view": pretraining.views.view1,
      "optimiser": {
        "name": "sgd",
        "learning_rate": 0.2,
        "scale_with_batch": True,
        "predictor_multiplier": 1.0,
        "schedule": "cosine",
        "warmup": 0.0,
        "sgd": {"weight_decay": 0.0, "momentum": 0.9},
      },
      "train": {
        "steps": _EPOCHS * images // batch_size,
        "epochs": config_dict.placeholder(float),  # in place of steps
        "batch_size": batch_size,
        "accumulate": 1,
        "precision": pretraining.train.precision,
      },
      "log": {"every_steps": 50},
      "eval": {"every_steps": 10 * images // batch_size, "batch_size": 1024},
      "checkpoint": {"every_minutes": 5.0, "keep": 2},
    }
  )
  config.data.train = train
  config.data.test = test
  # Crops and flips are all that the paper's protocol augments with.
  config.view.update(jitter=0.0, grayscale=0.0, blur=0.0, solarise=0.0)
  return config


def _folder() -> ConfigDict:
  r"""On the classes of a folder of images.

    python -m byol_jax.main --config=configs/linear_eval.py:folder \
      --config.data.data_dir=FOLDER --config.pretrained=RUN --workdir=RUN_linear

  What is None here is what the encoder saw, or chosen by experiments/choices.py.
  """
  config = get_config("cifar10")
  config.data.name = "folder"
  for key in ("size", "eval_fraction", "mean", "std", "workers", "train", "test"):
    config.data[key] = config_dict.placeholder(type(config.data[key]))
  config.train.update(epochs=float(_EPOCHS))
  config.train.batch_size = config_dict.placeholder(int)
  return config
