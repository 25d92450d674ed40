"""The embedded data set: patches of the photographs in scikit-image's wheel.

Sixteen photographs and micrographs, from an astronaut to gravel, cut into
patches of 32 x 32 pixels; the label of a patch is the picture that it is from.
It needs no download, shows textures and colours of the real world, and is small
enough for a laptop. It is no benchmark: use it to see a method work.
"""

import functools

import numpy as np
import skimage.data
from skimage.transform import downscale_local_mean

from byol_jax.data.sources import ArrayDataset
from byol_jax.errors import UserError

SIZE = 32  # pixels a side of a patch
_BLOCK = 64  # pixels a side of the squares that go to one split as a whole
_STRIDE = 16  # pixels between the training patches of a square
_TEST_EVERY = 4
_LARGEST = 512  # pixels a side of a picture, lest one of them outweigh the rest

PICTURES = (
  "astronaut",
  "brick",
  "camera",
  "cat",
  "cell",
  "coffee",
  "coins",
  "grass",
  "gravel",
  "hubble_deep_field",
  "immunohistochemistry",
  "moon",
  "page",
  "retina",
  "rocket",
  "stereo_motorcycle",
)


def open_dataset(data_dir: str | None = None) -> ArrayDataset:
  """The set, in memory; it needs no folder.

  Raises:
    UserError: there is one, which can only be meant for another set.
  """
  if data_dir:
    raise UserError(
      f"the set photos lies in scikit-image, and not in {data_dir}: leave out"
      " data.data_dir, or name the set that is there, as in --config.data.name=folder"
    )
  return ArrayDataset("photos", load())


@functools.cache
def load() -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Cuts the patches.

  Every picture is divided into squares of 64 pixels; every fourth square is for
  testing, so that no pixel is in both splits.

  Returns:
    "train" and "test": patches uint8[N, 32, 32, 3], labels int32[N]. Each
    split runs through all pictures from top to bottom at once: a slice of it
    shows all of them in equal shares, and two slices hardly share a pixel.
  """
  patches: dict[str, list[np.ndarray]] = {"train": [], "test": []}
  labels: dict[str, list[int]] = {"train": [], "test": []}
  depths: dict[str, list[float]] = {"train": [], "test": []}
  for label, name in enumerate(PICTURES):
    for split, cut in zip(("train", "test"), _cut(_picture(name)), strict=True):
      patches[split] += cut
      labels[split] += [label] * len(cut)
      depths[split] += np.linspace(0.0, 1.0, len(cut)).tolist()
  splits = {}
  for split in patches:
    order = np.argsort(depths[split], kind="stable")
    splits[split] = (
      np.stack(patches[split])[order],
      np.array(labels[split], np.int32)[order],
    )
  return splits


def _picture(name: str) -> np.ndarray:
  """The middle of a picture, uint8[H, W, 3] of at most 512 x 512 pixels."""
  loaded = getattr(skimage.data, name)()
  image = loaded[0] if isinstance(loaded, tuple) else loaded  # of a stereo pair
  if image.ndim == 2:
    image = np.repeat(image[..., None], 3, axis=-1)
  if max(image.shape) >= 2 * _LARGEST:
    image = downscale_local_mean(image, (2, 2, 1)).astype(np.uint8)
  top, left = (max(size - _LARGEST, 0) // 2 for size in image.shape[:2])
  return image[top : top + _LARGEST, left : left + _LARGEST]


def _cut(image: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
  """The patches of a picture for training, and those for testing."""
  train: list[np.ndarray] = []
  test: list[np.ndarray] = []
  rows, columns = (size // _BLOCK for size in image.shape[:2])
  for row in range(rows):
    for column in range(columns):
      square = image[row * _BLOCK :, column * _BLOCK :][:_BLOCK, :_BLOCK]
      # Steps of two a row, so that the squares of a split form no columns.
      if (column + 2 * row) % _TEST_EVERY == 0:
        test += _patches(square, SIZE)
      else:
        train += _patches(square, _STRIDE)
  return train, test


def _patches(square: np.ndarray, stride: int) -> list[np.ndarray]:
  starts = range(0, _BLOCK - SIZE + 1, stride)
  return [square[y : y + SIZE, x : x + SIZE] for y in starts for x in starts]
