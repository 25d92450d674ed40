"""What a data set is: named splits, and for each a source of decoded images."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from byol_jax.data import splits
from byol_jax.errors import UserError

NO_LABEL = -1


class Unreadable(Exception):
  """One image of a source cannot be read, and says why; the others can."""


class OutOfReach(Unreadable):
  """Its file is gone, or cannot be read from the disk: that says nothing of it."""


class Source(Protocol):
  """Images with labels, read at random; threads may read at the same time."""

  @property
  def num_classes(self) -> int | None:
    """Number of classes, None where the set has no class labels."""

  @property
  def channels(self) -> int:
    """Channels of every image: 1 (grey), 3 (RGB) or 4 (RGBA)."""

  def __len__(self) -> int: ...
  def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
    """Returns (uint8[H, W, C], label); the label is -1 where there is none.

    Raises:
      Unreadable: it is damaged, and can be left out.
    """

  def name(self, index: int) -> str:
    """What the image is called: its path in a folder of images, else its number."""
    ...


def reason(source: Source, index: int) -> str:
  """Why an image could not be read."""
  try:
    source[index]
  except Unreadable as error:
    return str(error)
  return "it could not be read at one time, and could at another"


@runtime_checkable
class Reducible(Source, Protocol):
  """A source that decodes large images faster at a part of their size.

  `reduce.reader` reads of any source.
  """

  def reduced(
    self, index: int, scale_for: Callable[[int, int], int]
  ) -> tuple[np.ndarray, int]:
    """An image as `__getitem__` has it, its sides divided, rounded up.

    Args:
      index: of the image.
      scale_for: (height, width) of the image -> by what they are divided: a power of 2.
    """
    ...


class Dataset(Protocol):
  """A set of images by its splits."""

  @property
  def name(self) -> str:
    """What the user calls it."""

  @property
  def sizes(self) -> Mapping[str, int]:
    """Name of each split -> number of its images; asking opens no image."""

  @property
  def unreadable(self) -> Mapping[str, str]:
    """Name -> reason, of images that were found to be unreadable and left out."""
    ...

  def listing(self) -> list[str]:
    """A line for each of its parts; a run goes on with a set of the same lines alone.

    The parts are images, and where these cannot change one by one, splits. A line that
    begins with a slash is about the whole set, such as its version.
    """
    ...

  def check(self, spec: str) -> int:
    """The number of images of a split; opens none, and raises UserError as `split`."""
    ...

  def split(self, spec: str) -> Source:
    """Opens a split.

    Args:
      spec: in TFDS's notation, such as "train", "train[10000:]", "train[:10%]" or
        "train+test".

    Raises:
      UserError: there is no such split, or nothing in it; its files are damaged.
    """
    ...


@runtime_checkable
class SeveralClasses(Dataset, Protocol):
  """A set whose images may be of several classes each, or of none."""

  def truth(self, spec: str) -> np.ndarray | None:
    """Of which classes each image of a split is.

    Returns:
      bool [images, classes]; None where the set has one label an image, or none.

    Raises:
      UserError: as `split`.
    """
    ...


@dataclasses.dataclass(frozen=True)
class ArraySource:
  """Decoded images of one size in memory: uint8[N, H, W, C], int[N]."""

  images: np.ndarray
  labels: np.ndarray
  num_classes: int | None

  @property
  def channels(self) -> int:
    """Channels of every image."""
    return self.images.shape[-1]

  def __len__(self) -> int:
    return len(self.images)

  def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
    return self.images[index], int(self.labels[index])

  def name(self, index: int) -> str:
    """The image's number."""
    return str(index)


@dataclasses.dataclass(frozen=True)
class ArrayDataset:
  """Splits in memory: {split: (uint8[N, H, W, C], int[N])}.

  Labels count from 0; -1 is none.

  Raises:
    UserError: an array has another form.
  """

  name: str
  arrays: Mapping[str, tuple[np.ndarray, np.ndarray]]

  def __post_init__(self) -> None:
    for split, (images, labels) in self.arrays.items():
      if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape[1:]:
        raise UserError(
          f"the images of {self.name}, {split}, are {images.dtype}{list(images.shape)}:"
          " give uint8 [N, H, W, C], pixels from 0 to 255"
        )
      whole = np.issubdtype(labels.dtype, np.integer)
      if not whole or labels.shape != images.shape[:1] or labels.min(initial=0) < -1:
        raise UserError(
          f"the labels of {self.name}, {split}, are {labels.dtype}{list(labels.shape)}:"
          f" give {len(images)} whole numbers, -1 for no label"
        )

  @property
  def sizes(self) -> dict[str, int]:
    """Name of each split -> number of its images."""
    return {split: len(labels) for split, (_, labels) in self.arrays.items()}

  @property
  def unreadable(self) -> dict[str, str]:
    """Nothing; see `Dataset.unreadable`."""
    return {}

  def listing(self) -> list[str]:
    """Its splits; see `Dataset.listing`."""
    return splits.listing(self.sizes)

  def check(self, spec: str) -> int:
    """Counts the images of a split; see `Dataset.check`."""
    return splits.count(self.name, spec, self.sizes)

  def split(self, spec: str) -> ArraySource:
    """Opens a split; see `Dataset.split`."""
    parts = splits.resolve(self.name, spec, self.sizes)
    images = np.concatenate([self.arrays[split][0][part] for split, part in parts])
    labels = np.concatenate([self.arrays[split][1][part] for split, part in parts])
    known = np.concatenate([labels for _, labels in self.arrays.values()])
    return ArraySource(images, labels, int(known.max()) + 1 or None)
