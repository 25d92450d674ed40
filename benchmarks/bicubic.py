"""Measures how far our crops are from those of BYOL's code, in levels of 255.

  python -m benchmarks.bicubic --preset=imagenet-300 --name=folder --data_dir=FOLDER
  python -m benchmarks.bicubic --preset=cifar10 --data_dir=DIR

BYOL resizes crops by `tf.image.resize`: bicubic with Keys' kernel of a = -0.5, float32.
OpenCV's has a = -0.75, and gives whole levels. Neither antialiases. The crops are those
that a run with seed 0 sees first, without flips.
"""

import functools
import sys
from typing import Any

import numpy as np
from absl import flags

from benchmarks import tables
from byol_jax import commands

_SEED = 0


def weights(pixels: int, size: int, a: float, renormalised: bool) -> np.ndarray:
  """What each of `size` rows takes of `pixels` rows, with half-pixel centres.

  Args:
    pixels: rows of a crop.
    size: rows that it is resized to.
    a: of the kernel (Keys 1981): -0.5 is TensorFlow's, -0.75 OpenCV's.
    renormalised: whether the kernel is cut at the edge and its rest scaled to sum 1, as
      in TensorFlow; else pixels of the edge stand for what lies outside, as in OpenCV.

  Returns:
    float64[size, pixels].
  """
  centres = (np.arange(size) + 0.5) * pixels / size - 0.5
  found = np.zeros((size, pixels))
  for row, centre in enumerate(centres):
    taps = np.floor(centre).astype(int) + np.arange(-1, 3)
    x = np.abs(centre - taps)
    near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
    of_taps = np.where(x <= 1, near, far)
    if renormalised:
      of_taps = np.where((taps >= 0) & (taps < pixels), of_taps, 0)
      of_taps = of_taps / of_taps.sum()
    np.add.at(found[row], np.clip(taps, 0, pixels - 1), of_taps)
  return found


def resized(image: np.ndarray, size: int, a: float, renormalised: bool) -> np.ndarray:
  """An image [H, W, C] at [size, size, C], float64 in [0, 255]; see `weights`."""
  rows, columns = (weights(pixels, size, a, renormalised) for pixels in image.shape[:2])
  found = np.einsum("iy,yxc,jx->ijc", rows, image, columns, optimize=True)
  return np.clip(found, 0, 255)


tensorflow = functools.partial(resized, a=-0.5, renormalised=True)
opencv_without_rounding = functools.partial(resized, a=-0.75, renormalised=False)


def differences(source: Any, view: Any, size: int, images: int) -> dict[str, Any]:
  """Absolute differences to TensorFlow's crops, of all values of all crops."""
  from byol_jax.data import batches, crops

  still = view._replace(flip=0.0)
  uniforms = batches.crop_uniforms(_SEED, 0, 0, images)
  order = batches.image_order(_SEED, 0, images, len(source)).tolist()
  found: dict[str, list[np.ndarray]] = {"kernel and edges": [], "as trained on": []}
  for draw, index in zip(uniforms, order, strict=True):
    image, _ = source[index]
    patch = image[crops.random_patch(image.shape[0], image.shape[1], draw, still)]
    theirs = tensorflow(patch, size)
    found["kernel and edges"].append(opencv_without_rounding(patch, size) - theirs)
    ours = crops.random_crop_flip(image, draw, size, still)
    found["as trained on"].append(ours - theirs)
  return {name: np.abs(np.stack(parts)) for name, parts in found.items()}


def main(preset: str, name: str | None, data_dir: str | None, images: int) -> None:
  """Prints the table.

  Args:
    preset: of configs/presets.py; its size and its first view are taken.
    name: of the data set; None for the preset's.
    data_dir: where it lies.
    images: how many are cropped, at most one epoch.
  """
  from byol_jax.data import datasets, views
  from configs import presets

  config = presets.get(preset)
  source = datasets.open_dataset(name or config.data.name, data_dir).split("train")
  view = views.from_settings(config.views.view1)
  images = min(images, len(source))
  print(f"{images} crops of {config.data.size} px, levels of 255:\n")
  tables.head(("", "mean", "99 %", "largest"))
  found = differences(source, view, config.data.size, images)
  for row, values in found.items():
    figures = values.mean(), np.quantile(values, 0.99), values.max()
    tables.row((row, *(f"{figure:.2f}" for figure in figures)))


if __name__ == "__main__":
  PRESET = flags.DEFINE_string("preset", "cifar10", "Gives size and view.")
  NAME = flags.DEFINE_string("name", None, "Data set: that of the preset.")
  DATA_DIR = flags.DEFINE_string("data_dir", None, "Where it lies.")
  COUNT = flags.DEFINE_integer("images", 1000, "Images to crop.", lower_bound=1)
  commands.run(
    lambda: main(PRESET.value, NAME.value, DATA_DIR.value, COUNT.value), sys.argv
  )
