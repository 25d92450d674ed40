"""Fills in what a config leaves open, from the images and the hardware.

A setting is open where it is None, as most are in the preset `folder`. What is chosen
is logged with its reason; a value in its place wins.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict as Config

from byol_jax import machine, parallel
from byol_jax.data import crops, reduce
from byol_jax.data.sources import Dataset, Source, Unreadable
from byol_jax.description import ImageForm
from byol_jax.errors import UserError
from byol_jax.run.settings import flat
from experiments import choices

_FEWEST = 10  # images to train on
_EPOCHS = 80.0  # of a linear evaluation: BYOL, App. C.1
# Settings that may be open in a linear evaluation; `fill_evaluation` chooses them.
EVALUATION_CHOICES = (
  "data.train",
  "data.test",
  "data.size",
  "data.eval_fraction",
  "data.mean",
  "data.std",
  "data.workers",
  "view.crop_area",
  "train.batch_size",
  "train.steps",
  "train.epochs",
  "eval.every_steps",
)


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
  with config.unlocked(), config.ignore_type():
    if config.data.train is None:
      _set(config, "data.train", choices.train_split(dataset))
    if names := _open(config):
      facts, before = measure(config, dataset), flat(saved or {})
      for name in names:
        kept = before.get(name)
        kept = tuple(kept) if isinstance(kept, list) else kept  # as JSON has it
        rule = choices.CHOICES[name]
        _set(config, name, rule(config, facts) if kept is None else (kept, "as before"))
  return with_steps(config, dataset)


def fill_evaluation(config: Config, dataset: Dataset, image: ImageForm) -> Config:
  """A linear evaluation without open settings: its images are those of the encoder.

  Args:
    config: of the evaluation; it is left as it is.
    dataset: that of `config.data`.
    image: what the encoder sees.
  """
  config = config.copy_and_resolve_references()
  rules: dict[str, Callable[[], choices.Choice]] = {
    "data.train": lambda: choices.train_split(dataset, labelled=True),
    "data.test": lambda: choices.test_split(
      config, dataset.sizes, choices.testing(dataset)
    ),
    "data.size": lambda: (image.size, "the encoder's"),
    "data.eval_fraction": lambda: (image.crop, "the encoder's"),
    "data.mean": lambda: (image.mean, "the encoder's"),
    "data.std": lambda: (image.std, "the encoder's"),
    "view.crop_area": lambda: choices.crop_area(config.data.size),
    "data.workers": lambda: (0, "as many threads as cores"),
    "train.batch_size": lambda: evaluation_batch(
      config, dataset.check(choices.fitted_split(config))
    ),
  }
  with config.unlocked(), config.ignore_type():
    for name, rule in rules.items():
      if _get(config, name) is None:
        _set(config, name, rule())
    if config.train.steps is None and config.train.epochs is None:
      _set(config, "train.epochs", (_EPOCHS, "the paper's"))
  config = with_steps(config, dataset)
  with config.unlocked(), config.ignore_type():
    if config.eval.every_steps is None:
      _set(config, "eval.every_steps", (-(-config.train.steps // 8), "8 times"))
  return config


def evaluation_batch(config: Config, images: int) -> choices.Choice:
  """Batch of an evaluation by training, of which all devices have equal shares."""
  size, why = choices.evaluation_batch(images)
  unit = config.train.accumulate
  return parallel.device_multiple(-(-size // unit)) * unit, why


def with_steps(config: Config, dataset: Dataset) -> Config:
  """A config whose `train.steps` are those of its `train.epochs`, where it has any."""
  if config.train.epochs is None:
    return config
  config = config.copy_and_resolve_references()
  images = dataset.check(choices.fitted_split(config))
  with config.unlocked():
    _set(config, "train.steps", choices.steps_of_epochs(config, images))
  return config


def measure(config: Config, dataset: Dataset) -> choices.Facts:
  """Looks at the images and the hardware."""
  source = dataset.split(config.data.train)
  if len(source) < _FEWEST:
    raise UserError(
      f"{dataset.name} has too few images to train on ({len(source)}): give {_FEWEST}"
      " or more"
    )
  side, pixels, mean, std = _sample(source)
  return choices.Facts(
    sizes=dataset.sizes,
    test=choices.testing(dataset),
    images=len(source),
    channels=source.channels,
    side=side,
    pixels=pixels,
    mean=mean,
    std=std,
    accelerated=jax.local_devices()[0].platform != "cpu",
    devices=jax.device_count(),
    cores=machine.cores(),
    memory=parallel.device_memory(),
  )


def _sample(source: Source) -> tuple[int, int, tuple[float, ...], tuple[float, ...]]:
  """Shorter side, pixels, mean and deviation of some images, spread over all."""
  sizes: list[tuple[int, int]] = []
  crop: list[np.ndarray] = []
  read = reduce.reader(source)

  def scale_for(height: int, width: int) -> int:
    sizes.append((height, width))
    return crops.central_scale(height, width, choices.SIZES[0], 1.0)

  for index in np.linspace(0, len(source) - 1, choices.SAMPLE).astype(int).tolist():
    try:
      image, _ = read(index, scale_for)
    except Unreadable:
      continue
    crop.append(crops.central_crop(image, choices.SIZES[0], 1.0) / np.float32(255))
  if not crop:
    raise UserError(f"none of {choices.SAMPLE} images could be read")
  pixels = np.stack(crop).reshape(-1, source.channels)
  mean = [round(float(value), 3) for value in pixels.mean(0)]
  std = [round(max(float(value), 0.01), 3) for value in pixels.std(0)]
  side, area = (int(np.median([f(s) for s in sizes])) for f in (min, math.prod))
  return side, area, tuple(mean), tuple(std)


def _open(config: Config) -> list[str]:
  """Names of the settings to choose; steps that are given need no epochs."""
  names = [name for name in choices.CHOICES if _get(config, name) is None]
  return (
    names if config.train.steps is None else [n for n in names if "epochs" not in n]
  )


def _get(config: Config, name: str) -> Any:
  for key in name.split("."):
    config = config[key]
  return config


def _set(config: Config, name: str, choice: choices.Choice) -> None:
  *sections, key = name.split(".")
  section = config
  for part in sections:
    section = section[part]
  value, reason = choice
  if section[key] != value:
    section[key] = value
    logging.info("%s = %s: %s", name, value, reason)
