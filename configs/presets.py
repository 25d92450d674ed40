"""What the systems share: the data sets, and the schedule and scale for each.

A preset is a whole config of vanilla BYOL; each system's file changes the few
lines that make it what it is.
"""

from ml_collections import ConfigDict, config_dict

from byol_jax.data.views import BYOL_VIEW1, BYOL_VIEW2
from byol_jax.errors import no_such

_IMAGENET_TRAIN = 1_281_167  # images
_IMAGENETTE_TRAIN = 9_469
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def _head(hidden: int, outputs: int) -> dict:
  return {
    "norm": "batch",
    "groups": 16,
    "standardised": False,
    "depth": 2,
    "hidden": hidden,
    "outputs": outputs,
    "identity_init": False,
  }


def imagenet(epochs: int) -> ConfigDict:
  r"""ResNet-50 on ImageNet, batch 4096: BYOL sections 3.3 and 5, App. B.

    python -m byol_jax.main --config=configs/byol_gn_ws.py:imagenet-1000 \
      --config.data.data_dir=DIR --config.train.precision=bfloat16 \
      --config.train.accumulate=8
    python -m byol_jax.main --config=configs/linear_eval.py:imagenet \
      --config.data.data_dir=DIR --config.encoder=RUN

  8 microbatches are for 8 GPUs, whose 512 images each do not fit otherwise; 16 chips of
  a TPU v4-32 take 4, the papers' 512 cores 1. Batch norm (configs/byol.py) then sees
  the images of a microbatch, 512 on 8 GPUs, where the papers' saw 4096; 4096 to 512
  cost BYOL 0.3 points (BYOL, table 16).

  Linear evaluation: 74.3 % after 1000 epochs and 72.5 % after 300 (BYOL, table 1
  and section 5); with group norm and weight standardisation 73.9 % after 1000
  (Richemond et al., abstract). The 100-epoch schedule is that of the reference
  code; the paper has no number for it.

  By arithmetic (docs/scale.md), 1000 epochs take 30 to 101 hours on 8 A100 and 17 to
  57 on a TPU v4-32.
  """
  rate, decay, tau = {
    100: (0.45, 1e-6, 0.99),
    300: (0.3, 1e-6, 0.99),
    1000: (0.2, 1.5e-6, 0.996),
  }[epochs]
  batch_size = 4096
  steps = epochs * _IMAGENET_TRAIN // batch_size
  return ConfigDict(
    {
      "experiment": "pretrain",
      "seed": 0,
      "start_from": config_dict.placeholder(str),  # a run, for its weights
      "continue_from": config_dict.placeholder(str),  # a run, to train it for longer
      "data": {
        "name": "imagenet2012",
        "data_dir": config_dict.placeholder(str),  # ~/tensorflow_datasets
        "train": "train",
        "size": 224,
        "eval_fraction": 224 / 256,
        "mean": _IMAGENET_MEAN,
        "std": _IMAGENET_STD,
        "workers": 16,
        "on_device": False,  # whether all images live there, and are cropped there
        "max_unreadable": 0.01,  # share of the images
      },
      "views": {
        "view1": BYOL_VIEW1._asdict(),
        "view2": BYOL_VIEW2._asdict(),
      },
      "augmentations": "all",
      "encoder": {
        "norm": "batch",
        "groups": 16,
        "standardised": False,
        "depth": 50,
        "width": 1.0,
        "stem": "imagenet",
        "zero_last_scale": False,
        "projected_shortcuts": "as_needed",
      },
      "projector": _head(4096, 256),
      "predictor": _head(4096, 256),
      "closed_form": {"name": "none", "rho": 0.3, "epsilon": 0.01},
      "bn_init": False,
      "objective": {
        "name": "byol",
        "byol": {"normalise": "l2", "centre_targets": False},
        "isoloss": {},
        "byol_prime": {"alpha": 1.0, "beta": 1.0},
        "raft": {"alpha": 1.0, "beta": 1.0},
        "simclr": {"temperature": 0.1},
        "info_nce": {"temperature": 0.1, "beta": 1.0},
      },
      "target": {
        "kind": "ema",
        "same_init": False,
        "tau": tau,
        "schedule": "cosine",
        "frozen": 0.0,  # share of the steps before it moves
      },
      "optimiser": {
        "name": "lars",
        "learning_rate": rate,
        "scale_with_batch": True,
        "predictor_multiplier": 1.0,
        "schedule": "cosine",
        "warmup": 10 / epochs,
        "lars": {"weight_decay": decay, "momentum": 0.9, "trust_coefficient": 1e-3},
        "sgd": {"weight_decay": 0.0, "momentum": 0.9},
        "adam": {"weight_decay": 0.0},
      },
      "train": {
        "steps": steps,
        "epochs": config_dict.placeholder(float),  # in place of steps
        "batch_size": batch_size,
        "accumulate": 1,
        "remat": False,
        "precision": "float32",
      },
      # Held out for tuning as in the reference code: the first 10 000 images.
      "probe": {
        "train": "train[10000:60000]",
        "test": "validation",
        "valid_train": "train[10000:60000]",
        "valid_test": "train[:10000]",
      },
      "log": {"every_steps": 50, "writers": "tensorboard"},
      "eval": {
        "every_steps": steps // 50,
        "batch_size": 1024,
        "baselines": ("untrained", "pixels"),  # beside the encoder in the summary
      },
      # The reference code's five minutes.
      "checkpoint": {"every_minutes": 5.0, "keep": 3},
    }
  )


def cifar10(epochs: int = 200) -> ConfigDict:
  r"""ResNet-18 with the CIFAR stem on CIFAR-10, batch 512.

    python -m byol_jax.main --config=configs/byol.py:cifar10 --config.data.data_dir=DIR
    python -m byol_jax.main --config=configs/linear_eval.py:cifar10 \
      --config.data.data_dir=DIR --config.encoder=RUN

  `cifar10-800` is the same for 800 epochs.

  No paper of BYOL's has this: schedule and views are our choice. Others' numbers, with
  schedules of their own: kNN 86.8 % after 200 epochs and 91.0 % after 800 (Lightly's
  benchmarks), linear 92.58 % after 1000 (solo-learn).

  By arithmetic (docs/scale.md), either takes under an hour on 8 A100 or on a
  TPU v4-32, if the hosts keep them fed.
  """
  config = imagenet(300)
  batch_size = 512
  epoch = 50_000 // batch_size
  config.data.update(
    name="cifar10",
    size=32,
    eval_fraction=1.0,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    workers=0,
  )
  for view in config.views.values():
    view.update(crop_area=(0.2, 1.0), blur=0.0)
  config.encoder.update(depth=18, stem="cifar")
  config.projector.update(_head(2048, 256))
  config.predictor.update(_head(2048, 256))
  config.optimiser.update(learning_rate=2.0, warmup=0.05)
  config.train.update(steps=epochs * epoch, batch_size=batch_size)
  config.probe.update(
    train="train",
    test="test",
    valid_train="train[:10000]",
    valid_test="train[45000:47000]",
  )
  config.eval.update(every_steps=10 * epoch, batch_size=512)
  return config


def imagenette() -> ConfigDict:
  r"""ResNet-18 on ten classes of ImageNet at 128 px, 1000 epochs of batch 256.

    python -m byol_jax.main --config=configs/byol.py:imagenette \
      --config.data.data_dir=DIR

  The recipe of the README of BYOL's reference code, which names an accuracy of the
  online classifier of about 92.3 %, and the ResNet-18 of that code: it projects the
  first shortcut of stage 1 too, which torchvision's does not. Lightly's benchmarks have
  kNN 88.7 % after 800 epochs of a schedule of their own.

  The recipe replaces each 224 of the code by 128, and so its central crop of 224 / 256
  by one of 128 / 160.

  By arithmetic (docs/scale.md), under an hour on 8 A100 or on a TPU v4-32, if the
  hosts keep them fed.
  """
  config = imagenet(1000)
  batch_size = 256
  epoch = _IMAGENETTE_TRAIN // batch_size
  config.data.update(name="imagenette/160px-v2", size=128, eval_fraction=128 / 160)
  config.encoder.update(depth=18, projected_shortcuts="every_stage")
  config.optimiser.learning_rate = 2.0
  config.optimiser.lars.weight_decay = 1e-6
  steps = 1000 * _IMAGENETTE_TRAIN // batch_size
  config.train.update(steps=steps, batch_size=batch_size)
  config.probe.update(
    train="train",
    test="validation",
    valid_train="train[:80%]",
    valid_test="train[80%:]",
  )
  config.eval.update(every_steps=20 * epoch, batch_size=256)
  return config


def cifar10_cpu() -> ConfigDict:
  """CIFAR-10 at what two CPU cores do in about half an hour; our choice.

  ResNet-10 of half width with the ImageNet stem computes a hundredth of what
  ResNet-18 with the CIFAR stem does. Batches are small, as short runs need
  updates more than images, and the predictor learns ten times as fast as the
  encoder, which keeps short runs without batch norm from collapsing (BYOL,
  table 21, varies the predictor's rate too).
  """
  config = cifar10()
  _shrink(config)
  config.target.tau = 0.996
  config.optimiser.learning_rate = 1.5
  config.train.update(steps=9_000, batch_size=128)
  config.log.every_steps = 100
  config.eval.every_steps = 1000
  return config


def evidence() -> ConfigDict:
  """CIFAR-10 for `python -m reproduce`: ten minutes a run on one core; our choice.

  `cifar10_cpu` at a third of its length, its target renewed 30 times, its predictor
  thirty times as fast as the rest: trials have chosen that (docs/reproduction.md).
  """
  config = cifar10_cpu()
  config.target.tau = 0.98
  config.optimiser.predictor_multiplier = 30.0
  config.train.steps = 3000
  config.log.every_steps = 30
  # That of the pixels is the same in every run, and takes minutes of each.
  config.eval.update(every_steps=600, baselines=("untrained",))
  return config


def embedded() -> ConfigDict:
  """Patches of photographs that come with scikit-image, in a few minutes.

  The network and the predictor's rate are those of `cifar10_cpu`.
  """
  config = cifar10()
  _shrink(config)
  config.data.update(name="photos", mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
  config.views = imagenet(300).views
  for view in config.views.values():
    view.update(crop_area=(0.2, 1.0))
  config.optimiser.learning_rate = 2.0
  config.train.update(steps=1000, batch_size=128)
  config.probe.update(valid_train="train[:80%]", valid_test="train[80%:]")
  config.log.every_steps = 20
  config.eval.every_steps = 250
  return config


# Type -> section -> settings that `folder` leaves open.
_OPEN: dict[type, dict[str, tuple[str, ...]]] = {
  int: {
    "data": ("size", "workers"),
    "encoder": ("depth", "groups"),
    "projector": ("hidden", "outputs"),
    "predictor": ("hidden", "outputs"),
    "train": ("steps", "batch_size", "accumulate"),
    "log": ("every_steps",),
    "eval": ("every_steps", "batch_size"),
  },
  float: {
    "data": ("eval_fraction",),
    "encoder": ("width",),
    "optimiser": ("learning_rate", "warmup", "predictor_multiplier"),
  },
  str: {
    "data": ("train",),
    "encoder": ("stem",),
    "probe": ("train", "test", "valid_train", "valid_test"),
  },
  tuple: {"data": ("mean", "std")},
}


def folder() -> ConfigDict:
  r"""A folder of one's own images, labelled or not.

    python -m byol_jax.main --config=configs/byol_gn_ws.py:folder \
      --config.data.data_dir=FOLDER

  `data.size` is the one dial: 32, 64, 128 or 224. What is None here is chosen by
  experiments/choices.py from the images and the hardware, and logged with the reason.
  """
  config = imagenet(300)
  config.data.name = "folder"
  for kind, names in _OPEN.items():
    for section, keys in names.items():
      for key in keys:
        config[section][key] = config_dict.placeholder(kind)
  for view in config.views.values():
    view.crop_area = config_dict.placeholder(tuple)
  return config


def _shrink(config: ConfigDict) -> None:
  """Makes the network small enough for a CPU."""
  config.encoder.update(depth=10, width=0.5, stem="imagenet", groups=8)
  for head in (config.projector, config.predictor):
    head.update(hidden=512, outputs=128)
  config.optimiser.update(warmup=0.2, predictor_multiplier=10.0)
  config.eval.batch_size = 256


PRESETS = {
  "embedded": embedded,
  "cifar10": cifar10,
  "cifar10-800": lambda: cifar10(800),
  "cifar10-cpu": cifar10_cpu,
  "evidence": evidence,
  "folder": folder,
  "imagenette": imagenette,
  "imagenet-100": lambda: imagenet(100),
  "imagenet-300": lambda: imagenet(300),
  "imagenet-1000": lambda: imagenet(1000),
}


def get(name: str | None) -> ConfigDict:
  """The preset of that name, the embedded one where none is given.

  Raises:
    UserError: there is none of that name.
  """
  if (name := name or "embedded") not in PRESETS:
    raise no_such("preset", name, PRESETS)
  return PRESETS[name]()
