"""What a config leaves open is chosen from the images and the hardware.

A setting is open where it is None, as most are in the preset `folder`. All choices are
this project's own; each is logged with its reason, and a value in its place wins.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict as Config

from byol_jax.data import batches, crops
from byol_jax.data.sources import Dataset, Source, Unreadable
from byol_jax.description import ImageForm
from byol_jax.errors import UserError, check_at_least

SIZES = (32, 64, 128, 224)
_FEWEST = 10  # images
_SAMPLE = 64  # images that are measured
_TESTS = ("test", "val", "validation", "valid")
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
# Images that two CPU cores see in 15 minutes, at 64 pixels.
_CPU_IMAGES = 120_000
_IMAGES = 30_000_000  # that an accelerator sees, within the bounds of epochs


class Facts(NamedTuple):
  """What choices are made from.

  Attributes:
    sizes: split -> number of its images.
    images: number of those trained on.
    channels: of each.
    side: half of the images measured have a shorter side of this many pixels or more.
    mean: of each channel, in [0, 1], of the images measured.
    std: likewise.
    labelled: whether they have labels.
    accelerated: whether the devices are no CPUs.
    devices: number of devices, over all hosts.
    cores: of this host.
    memory: bytes of a device, None where unknown.
  """

  sizes: Mapping[str, int]
  images: int
  channels: int
  side: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  labelled: bool
  accelerated: bool
  devices: int
  cores: int
  memory: int | None


Choice = tuple[Any, str]  # a value and its reason


def fill(
  config: Config, dataset: Dataset, saved: Mapping[str, Any] | None = None
) -> Config:
  """A config without open settings.

  Args:
    config: any of a training experiment; it is left as it is.
    dataset: that of `config.data`.
    saved: the config of the run that is to go on, whose choices are kept.

  Raises:
    UserError: there are too few images to choose from.
  """
  config = config.copy_and_resolve_references()
  _check_given(config)
  with config.unlocked(), config.ignore_type():
    if config.data.train is None:
      _set(config, "data.train", _train_split(dataset))
    if names := _open(config):
      facts = measure(config, dataset)
      for name in names:
        kept = None if saved is None else _saved(saved, name)
        choice = CHOICES[name](config, facts) if kept is None else (kept, "as before")
        _set(config, name, choice)
  return with_steps(config, dataset)


def fill_evaluation(config: Config, dataset: Dataset, image: ImageForm) -> Config:
  """A linear evaluation without open settings: its images are those of the encoder.

  Args:
    config: of the evaluation; it is left as it is.
    dataset: that of `config.data`.
    image: what the encoder sees.
  """
  config = config.copy_and_resolve_references()
  _check_given(config)
  choices: dict[str, Callable[[], Choice]] = {
    "data.train": lambda: _train_split(dataset),
    "data.test": lambda: _test_split(config, dataset.sizes),
    "data.size": lambda: (image.size, "the encoder's"),
    "data.mean": lambda: (image.mean, "the encoder's"),
    "data.std": lambda: (image.std, "the encoder's"),
    "data.workers": lambda: (0, "as many threads as cores"),
    "train.batch_size": lambda: _evaluation_batch(dataset.check(config.data.train)),
  }
  with config.unlocked(), config.ignore_type():
    for name in EVALUATION_CHOICES:
      if _get(config, name) is None:
        _set(config, name, choices[name]())
  return with_steps(config, dataset)


def with_steps(config: Config, dataset: Dataset) -> Config:
  """A config whose `train.steps` are those of its `train.epochs`, where it has any."""
  if config.train.epochs is None:
    return config
  config = config.copy_and_resolve_references()
  images = dataset.check(config.data.train)
  with config.unlocked():
    _set(config, "train.steps", _steps(config, images))
  return config


def measure(config: Config, dataset: Dataset) -> Facts:
  """Looks at the images and the hardware."""
  source = dataset.split(config.data.train)
  if len(source) < _FEWEST:
    raise UserError(
      f"{dataset.name} has too few images to train on ({len(source)}): give {_FEWEST}"
      " or more"
    )
  side, mean, std = _sample(source)
  device = jax.local_devices()[0]
  return Facts(
    sizes=dataset.sizes,
    images=len(source),
    channels=source.channels,
    side=side,
    mean=mean,
    std=std,
    labelled=bool(source.num_classes),
    accelerated=device.platform != "cpu",
    devices=jax.device_count(),
    cores=os.cpu_count() or 1,
    memory=(device.memory_stats() or {}).get("bytes_limit"),
  )


def _sample(source: Source) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
  """Shorter side, mean and deviation of some images, spread over all."""
  sides: list[int] = []
  crop: list[np.ndarray] = []

  def scale_for(height: int, width: int) -> int:
    sides.append(min(height, width))
    return crops.central_scale(height, width, SIZES[0], 1.0)

  for index in np.linspace(0, len(source) - 1, _SAMPLE).astype(int).tolist():
    try:
      image, _ = batches.read(source, index, scale_for)
    except Unreadable:
      continue
    if len(sides) == len(crop):
      sides.append(min(image.shape[:2]))
    crop.append(crops.central_crop(image, SIZES[0], 1.0) / np.float32(255))
  if not crop:
    raise UserError(f"none of {_SAMPLE} images could be read")
  pixels = np.stack(crop).reshape(-1, source.channels)
  mean = [round(float(value), 3) for value in pixels.mean(0)]
  std = [round(max(float(value), 0.01), 3) for value in pixels.std(0)]
  return int(np.median(sides)), tuple(mean), tuple(std)


def _check_given(config: Config) -> None:
  """Raises UserError for numbers that no choice could be made from."""
  data, train = config.data, config.train
  given = {"data__size": data.size, "train__batch_size": train.batch_size}
  given |= {"train__accumulate": train.accumulate, "train__steps": train.steps}
  check_at_least(
    1, **{name: value for name, value in given.items() if value is not None}
  )
  if train.epochs is not None and train.epochs <= 0:
    raise UserError(f"train.epochs is {train.epochs}: give a number above 0")


def _open(config: Config) -> list[str]:
  """Names of the settings to choose; steps that are given need no epochs."""
  names = [name for name in CHOICES if _get(config, name) is None]
  return (
    names if config.train.steps is None else [n for n in names if "epochs" not in n]
  )


# The rules. Each may read what those before it in CHOICES have chosen.


def _train_split(dataset: Dataset) -> Choice:
  unlabelled = [s for s in dataset.sizes if s in ("unlabelled", "unlabeled")]
  names = [split for split in ("train", *unlabelled) if split in dataset.sizes]
  if not names:
    known = ", ".join(dataset.sizes)
    raise UserError(
      f"{dataset.name} has no split train, but {known}: set data.train to what is to"
      " be trained on"
    )
  has_test = any(split in dataset.sizes for split in _TESTS)
  if has_test or not dataset.split("train").num_classes:
    return "+".join(names), "all images that are not for testing"
  return "train[:90%]", "a tenth is held out, to test with its labels"


def _size(config: Config, facts: Facts) -> Choice:
  most = 224 if facts.accelerated else 64
  size = max([s for s in SIZES if s <= min(most, facts.side)], default=SIZES[0])
  where = "an accelerator" if facts.accelerated else "a CPU"
  return size, f"{where} takes {most}, and images have about {facts.side} pixels"


def _mean(config: Config, facts: Facts) -> Choice:
  if facts.channels == 3:
    return _IMAGENET_MEAN, "that of ImageNet's colours"
  return facts.mean, f"that of {_SAMPLE} images"


def _std(config: Config, facts: Facts) -> Choice:
  if facts.channels == 3:
    return _IMAGENET_STD, "that of ImageNet's colours"
  return facts.std, f"that of {_SAMPLE} images"


def _workers(config: Config, facts: Facts) -> Choice:
  workers = min(facts.cores // 2, 16) if facts.accelerated else 0
  return (
    workers,
    "half of the cores" if workers else "the cores are needed for training",
  )


def _depth(config: Config, facts: Facts) -> Choice:
  if not facts.accelerated:
    return 10, "the smallest, for a CPU"
  if config.data.size <= 64:
    return 18, "for small images"
  return 50, "the papers'"


def _is_small(config: Config) -> bool:
  return config.encoder.depth == 10


def _width(config: Config, facts: Facts) -> Choice:
  return (0.5, "half, for a CPU") if _is_small(config) else (1.0, "the papers'")


def _groups(config: Config, facts: Facts) -> Choice:
  groups = 8 if config.encoder.width < 1 else 16
  return groups, "4 channels a group in the first layers"


def _stem(config: Config, facts: Facts) -> Choice:
  small = facts.accelerated and config.data.size < 64
  return ("cifar", "for small images") if small else ("imagenet", "the papers'")


def _hidden(config: Config, facts: Facts) -> Choice:
  width = {10: 512, 18: 2048}.get(config.encoder.depth, 4096)
  return width, f"to go with ResNet-{config.encoder.depth}"


def _outputs(config: Config, facts: Facts) -> Choice:
  return 128 if _is_small(config) else 256, f"to go with ResNet-{config.encoder.depth}"


def _crop_area(config: Config, facts: Facts) -> Choice:
  if config.data.size <= 64:
    return (0.2, 1.0), "small images show little in a smaller part"
  return (0.08, 1.0), "the papers'"


def _batch_size(config: Config, facts: Facts) -> Choice:
  most = 256 * facts.devices if facts.accelerated else 128
  of_device = max(min(most, facts.images // 2, 4096) // facts.devices, 2)
  size = facts.devices << int(math.log2(of_device))
  kind = "accelerators" if facts.accelerated else "CPU devices"
  return size, f"for {facts.devices} {kind} and {facts.images} images"


def _accumulate(config: Config, facts: Facts) -> Choice:
  """Microbatches, as few as memory allows by a rough estimate."""
  if facts.memory is None:
    return 1, "memory is not known to be short"
  network = {10: 0.1, 18: 0.35}.get(config.encoder.depth, 1.0)
  image = 250e6 * network * (config.data.size / 224) ** 2
  images = config.train.batch_size // facts.devices
  parts = 1
  while images * image / parts > 0.8 * facts.memory and images // parts >= 4:
    parts *= 2
  return parts, f"{images} images a device, and {facts.memory / 2**30:.0f} GiB"


def _epochs(config: Config, facts: Facts) -> Choice:
  if facts.accelerated:
    epochs = min(max(_IMAGES / facts.images, 100), 1000)
    return float(round(epochs)), f"{facts.images} images: between 100 and 1000"
  seen = _CPU_IMAGES * facts.cores / 2 * min((64 / config.data.size) ** 2, 2)
  epochs = min(max(seen / facts.images, 1), 1000)
  return round(epochs, 2), f"{facts.cores} cores see {seen:.0f} images in 15 minutes"


def _steps(config: Config, images: int) -> Choice:
  steps = round(config.train.epochs * images / config.train.batch_size)
  return max(steps, 1), f"{config.train.epochs:g} epochs of {images} images"


def _steps_of(config: Config, facts: Facts) -> Choice:
  return _steps(config, facts.images)


def _learning_rate(config: Config, facts: Facts) -> Choice:
  batch_size = config.train.batch_size
  rate = min(2.0, max(1024 / batch_size, 0.3))
  return round(rate, 3), f"for 256 images; batches have {batch_size}"


def _warmup(config: Config, facts: Facts) -> Choice:
  epochs = config.train.steps * config.train.batch_size / facts.images
  return round(min(0.2, 10 / epochs), 4), "10 epochs, and at most a fifth of the run"


def _predictor_multiplier(config: Config, facts: Facts) -> Choice:
  if config.train.steps < 10_000:
    return 10.0, "a fast predictor keeps short runs from collapsing"
  return 1.0, "the papers'"


def _log_every(config: Config, facts: Facts) -> Choice:
  return max(config.train.steps // 50, 1), "50 times"


def _eval_every(config: Config, facts: Facts) -> Choice:
  return max(config.train.steps // 10, 1), "10 times"


def _eval_batch_size(config: Config, facts: Facts) -> Choice:
  return 256 * facts.devices, "256 a device"


def _test(config: Config, facts: Facts) -> Choice:
  return _test_split(config, facts.sizes)


def _test_split(config: Config, sizes: Mapping[str, int]) -> Choice:
  for split in _TESTS:
    if split in sizes:
      return split, "the split that is there"
  if config.data.train == "train[:90%]":
    return "train[90%:]", "the tenth that was held out"
  split, count = _held_out(config, sizes)
  return f"{split}[:{count}]", "no split is for testing"


def _evaluation_batch(images: int) -> Choice:
  return 1 << int(math.log2(max(min(images // 4, 1024), 2))), f"for {images} images"


def _probe_train(config: Config, facts: Facts) -> Choice:
  most = 10_000
  if facts.accelerated or facts.images <= most:
    return config.data.train, "all images trained on"
  split, _ = _held_out(config, facts.sizes)
  return f"{split}[:{most}]", "of so many images a CPU's probes take long"


def _valid_test(config: Config, facts: Facts) -> Choice:
  split, count = _held_out(config, facts.sizes)
  return f"{split}[:{count}]", "a tenth of the images, at most 1000"


def _valid_train(config: Config, facts: Facts) -> Choice:
  split, first = _held_out(config, facts.sizes)
  last = min(int(0.9 * facts.sizes[split]), first + 5000)
  return f"{split}[{first}:{last}]", "others, at most 5000"


def _held_out(config: Config, sizes: Mapping[str, int]) -> tuple[str, int]:
  """The split trained on, and how many of its images come first in `_valid_test`."""
  named = re.findall(r"[^+\[\]]+", config.data.train)
  split = next(
    (s for s in named if s in sizes), next(iter(sizes))
  )  # of "all", the first
  return split, max(min(sizes[split] // 10, 1000), 2)


# Setting -> its rule, in order.
CHOICES: dict[str, Callable[[Config, Facts], Choice]] = {
  "data.size": _size,
  "data.mean": _mean,
  "data.std": _std,
  "data.workers": _workers,
  "encoder.depth": _depth,
  "encoder.width": _width,
  "encoder.groups": _groups,
  "encoder.stem": _stem,
  "projector.hidden": _hidden,
  "projector.outputs": _outputs,
  "predictor.hidden": _hidden,
  "predictor.outputs": _outputs,
  "views.view1.crop_area": _crop_area,
  "views.view2.crop_area": _crop_area,
  "train.batch_size": _batch_size,
  "train.accumulate": _accumulate,
  "train.epochs": _epochs,
  "train.steps": _steps_of,
  "optimiser.learning_rate": _learning_rate,
  "optimiser.warmup": _warmup,
  "optimiser.predictor_multiplier": _predictor_multiplier,
  "log.every_steps": _log_every,
  "eval.every_steps": _eval_every,
  "eval.batch_size": _eval_batch_size,
  "probe.train": _probe_train,
  "probe.test": _test,
  "probe.valid_train": _valid_train,
  "probe.valid_test": _valid_test,
}

# The same of `fill_evaluation`.
EVALUATION_CHOICES = (
  "data.train",
  "data.test",
  "data.size",
  "data.mean",
  "data.std",
  "data.workers",
  "train.batch_size",
)


def _get(config: Config, name: str) -> Any:
  for key in name.split("."):
    config = config[key]
  return config


def _saved(saved: Mapping[str, Any], name: str) -> Any:
  """A value of config.json, None where it has none."""
  found: Any = saved
  for key in name.split("."):
    found = found.get(key) if isinstance(found, Mapping) else None
  return tuple(found) if isinstance(found, list) else found


def _set(config: Config, name: str, choice: Choice) -> None:
  *sections, key = name.split(".")
  section = config
  for part in sections:
    section = section[part]
  value, reason = choice
  if section[key] != value:
    section[key] = value
    logging.info("%s = %s: %s", name, value, reason)
