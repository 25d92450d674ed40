"""The rules by which settings are chosen that a config leaves open.

Each gives a value and its reason, and may read what those before it in `CHOICES` have
chosen. All are this project's own choices.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict as Config

from byol_jax.data.folder import UNLABELLED
from byol_jax.data.labelled import has_labels
from byol_jax.data.sources import Dataset
from byol_jax.errors import UserError

MOST_STEPS = 2**31 - 1  # of a state, which counts in int32
SIZES = (32, 64, 128, 224)
SAMPLE = 64  # images that are measured
_TESTS = ("test", "val", "validation", "valid")
_MOST = "train[:90%]"  # of what has labels, where nothing is for testing
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
# A CPU trains for so long by default, and takes of one core for each image so much:
# for a view of 64 x 64 pixels, for its crops, and to decode a million pixels of JPEG.
_CPU_MINUTES = 12
_CPU_VIEW, _CPU_CROPS, _CPU_DECODING = 0.0075, 0.0005, 0.0032  # seconds
_IMAGES = 30_000_000  # that an accelerator sees, within the bounds of epochs

Choice = tuple[Any, str]  # a value and its reason


class Facts(NamedTuple):
  """What choices are made from.

  Attributes:
    sizes: split -> number of its images.
    test: the split that is there for testing; see `testing`.
    images: number of those trained on.
    channels: of each.
    side: half of the images measured have a shorter side of this many pixels or more.
    pixels: as many in all, rows times columns.
    mean: of each channel, in [0, 1], of the images measured.
    std: likewise.
    accelerated: whether the devices are no CPUs.
    devices: number of devices, over all hosts.
    cores: of this host that the process may use.
    memory: bytes of a device, None where unknown.
  """

  sizes: Mapping[str, int]
  test: str | None
  images: int
  channels: int
  side: int
  pixels: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  accelerated: bool
  devices: int
  cores: int
  memory: int | None


def train_split(dataset: Dataset, *, labelled: bool = False) -> Choice:
  """What to train on: with labels and no split for testing, a tenth is held out.

  Args:
    dataset: the images.
    labelled: whether a split without labels is of no use.

  Raises:
    UserError: there is no split train.
  """
  unlabelled = [split for split in dataset.sizes if split in UNLABELLED]
  names = [split for split in ("train", *unlabelled) if split in dataset.sizes]
  if not names:
    known = ", ".join(dataset.sizes)
    raise UserError(
      f"{dataset.name} has no split train, but {known}: set data.train to what is to"
      " be trained on"
    )
  if labelled and "train" in names:
    names = ["train"]
  if testing(dataset) or "train" not in names or not has_labels(dataset.split("train")):
    return "+".join(names), "all images that are not for testing"
  return "+".join([_MOST, *names[1:]]), "a tenth is held out, to test with its labels"


def testing(dataset: Dataset) -> str | None:
  """The split that is there for testing: one with labels, if images to train on are."""
  there = [split for split in _TESTS if split in dataset.sizes]
  labelled = (split for split in there if has_labels(dataset.split(split)))
  if (found := next(labelled, None)) or not there:
    return found
  is_labelled = "train" in dataset.sizes and has_labels(dataset.split("train"))
  return None if is_labelled else there[0]


def _size(config: Config, facts: Facts) -> Choice:
  most = 224 if facts.accelerated else 64
  size = max([s for s in SIZES if s <= min(most, facts.side)], default=SIZES[0])
  where = "an accelerator" if facts.accelerated else "a CPU"
  return size, f"{where} takes {most}, and images have about {facts.side} pixels"


def _eval_fraction(config: Config, facts: Facts) -> Choice:
  if facts.side < 1.15 * config.data.size:
    return 1.0, "images are hardly larger than what is shown"
  return 0.875, "the papers'"


def _mean(config: Config, facts: Facts) -> Choice:
  if facts.channels == 3:
    return _IMAGENET_MEAN, "that of ImageNet's colours"
  return facts.mean, f"that of {SAMPLE} images"


def _std(config: Config, facts: Facts) -> Choice:
  if facts.channels == 3:
    return _IMAGENET_STD, "that of ImageNet's colours"
  return facts.std, f"that of {SAMPLE} images"


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
  return crop_area(config.data.size)


def crop_area(size: int) -> Choice:
  """`crop_area` of a view of so many pixels a side."""
  if size <= 64:
    return (0.2, 1.0), "small images show little in a smaller part"
  return (0.08, 1.0), "the papers'"


def _batch_size(config: Config, facts: Facts) -> Choice:
  most = 256 * facts.devices if facts.accelerated else 128
  of_device = max(min(most, facts.images // 2, 4096) // facts.devices, 2)
  size = facts.devices << int(math.log2(of_device))
  kind = "accelerator" if facts.accelerated else "CPU device"
  several = "s" if facts.devices > 1 else ""
  return size, f"for {facts.devices} {kind}{several} and {facts.images} images"


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
  view = _CPU_VIEW * (config.data.size / 64) ** 2
  image = view + _CPU_CROPS + _CPU_DECODING * facts.pixels / 1e6
  seen = 60 * _CPU_MINUTES * facts.cores / image
  epochs = round(min(max(seen / facts.images, 1), 1000), 2)
  why = f"{facts.cores} cores see {seen:.0f} images in {_CPU_MINUTES} minutes"
  if facts.pixels > 1_500_000:
    why += "; byol_jax.data.prepare --folder would make photographs so large faster"
  return epochs, why


def steps_of_epochs(config: Config, images: int) -> Choice:
  """`train.steps` of `train.epochs`, at least 1.

  Raises:
    UserError: they are more than a state can count.
  """
  steps = round(config.train.epochs * images / config.train.batch_size)
  if steps > MOST_STEPS:
    raise UserError(
      f"{config.train.epochs:g} epochs are {steps:,} steps, and no more than"
      f" {MOST_STEPS:,} can be counted: give fewer"
    )
  return max(steps, 1), f"{config.train.epochs:g} epochs of {images} images"


def _steps(config: Config, facts: Facts) -> Choice:
  return steps_of_epochs(config, facts.images)


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
  return -(-config.train.steps // 50), "50 times"


def _eval_every(config: Config, facts: Facts) -> Choice:
  return -(-config.train.steps // 10), "10 times"


def _eval_batch_size(config: Config, facts: Facts) -> Choice:
  return 256 * facts.devices, "256 a device"


def _test(config: Config, facts: Facts) -> Choice:
  return test_split(config, facts.sizes, facts.test)


def test_split(config: Config, sizes: Mapping[str, int], there: str | None) -> Choice:
  """What to test on: without labels, images that were trained on.

  Args:
    config: what is chosen so far.
    sizes: of the splits.
    there: what `testing` has found.
  """
  if there is not None:
    return there, "the split that is there"
  if config.data.train.split("+")[0] == _MOST:
    return "train[90%:]", "the tenth that was held out"
  split, count = _held_out(config, sizes)
  return f"{split}[:{count}]", "no split is for testing, so that these were trained on"


def fitted_split(config: Config) -> str:
  """What is fitted to in the end: `data.train`, and any split to choose settings by."""
  train, valid = config.data.train, config.data.get("valid")
  return train if valid is None else f"{train}+{valid}"


def evaluation_batch(images: int) -> Choice:
  """Batch of a linear evaluation."""
  return 1 << int(math.log2(max(min(images // 4, 1024), 2))), f"for {images} images"


def _probe_train(config: Config, facts: Facts) -> Choice:
  most = 10_000
  are_all = facts.accelerated or facts.images <= most
  split, count = _held_out(config, facts.sizes)
  if config.probe.test == f"{split}[:{count}]":  # a probe would know their labels
    last = "" if are_all else count + most
    return f"{split}[{count}:{last}]", "others than are tested on"
  if are_all:
    return config.data.train, "all images trained on"
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
  "data.eval_fraction": _eval_fraction,
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
  "train.steps": _steps,
  "optimiser.learning_rate": _learning_rate,
  "optimiser.warmup": _warmup,
  "optimiser.predictor_multiplier": _predictor_multiplier,
  "log.every_steps": _log_every,
  "eval.every_steps": _eval_every,
  "eval.batch_size": _eval_batch_size,
  "probe.test": _test,
  "probe.train": _probe_train,
  "probe.valid_train": _valid_train,
  "probe.valid_test": _valid_test,
}
