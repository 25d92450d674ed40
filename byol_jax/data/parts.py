"""Splits seen otherwise: some of their images, or all in another form."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from byol_jax.data import reduce
from byol_jax.data.sources import Dataset, SeveralClasses, Source
from byol_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class _Seen:
  """A source seen in another way: `place` and `look` say how."""

  source: Source

  @property
  def num_classes(self) -> int | None:
    """That of the source: a part may lack a class."""
    return self.source.num_classes

  @property
  def channels(self) -> int:
    """Channels of every image."""
    return self.source.channels

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
    return self.look(*self.source[self.place(index)], index)

  def reduced(
    self, index: int, scale_for: Callable[[int, int], int]
  ) -> tuple[np.ndarray, int]:
    """See `Reducible.reduced`."""
    read = reduce.reader(self.source)
    return self.look(*read(self.place(index), scale_for), index)

  def name(self, index: int) -> str:
    """What the image is called in the source."""
    return self.source.name(self.place(index))

  def place(self, index: int) -> int:
    """Where in the source an image is."""
    return index

  def look(self, image: np.ndarray, label: int, index: int) -> tuple[np.ndarray, int]:
    """What becomes of an image and its label."""
    del index
    return image, label


@dataclasses.dataclass(frozen=True)
class Part(_Seen):
  """Some images of a source, in the order of `indices`, int [N]."""

  indices: np.ndarray

  def __len__(self) -> int:
    return len(self.indices)

  def place(self, index: int) -> int:
    """See `_Seen`."""
    return int(self.indices[index])


@dataclasses.dataclass(frozen=True)
class InColour(_Seen):
  """Grey images as RGB, each value three times."""

  @property
  def channels(self) -> int:
    """Channels of every image."""
    return 3

  def look(self, image: np.ndarray, label: int, index: int) -> tuple[np.ndarray, int]:
    """See `_Seen`."""
    return image.repeat(3, axis=2), label


@dataclasses.dataclass(frozen=True)
class Numbered(_Seen):
  """Images whose label is their place, by which their classes can be looked up."""

  @property
  def num_classes(self) -> None:
    """None: a place is no class."""
    return None

  def look(self, image: np.ndarray, label: int, index: int) -> tuple[np.ndarray, int]:
    """See `_Seen`."""
    return image, index


@dataclasses.dataclass(frozen=True)
class WithParts:
  """A data set with further splits, each of some images of one that it has.

  Attributes:
    dataset: the set.
    parts: name -> the split that it is a part of, and which of its images, int [N].
    channels: in how many all images are shown, where grey ones are wanted in colour.
    numbered: whether labels are places in a split or part; see `truth`.
  """

  dataset: Dataset
  parts: Mapping[str, tuple[str, np.ndarray]] = dataclasses.field(default_factory=dict)
  channels: int | None = None
  numbered: bool = False
  _opened: dict[str, Source] = dataclasses.field(
    default_factory=dict, init=False, repr=False, compare=False
  )

  @property
  def name(self) -> str:
    """The set's."""
    return self.dataset.name

  @property
  def sizes(self) -> Mapping[str, int]:
    """Those of the set; parts are no further images."""
    return self.dataset.sizes

  @property
  def unreadable(self) -> Mapping[str, str]:
    """See `Dataset.unreadable`."""
    return self.dataset.unreadable

  def listing(self) -> list[str]:
    """See `Dataset.listing`."""
    return self.dataset.listing()

  def check(self, spec: str) -> int:
    """Counts the images of a split or a part; see `Dataset.check`."""
    if spec in self.parts:
      return len(self.parts[spec][1])
    return self.dataset.check(spec)

  def as_it_is(self, spec: str) -> Source:
    """Opens a split of the set, as the set has it. What is open is kept."""
    if spec not in self._opened:
      self._opened[spec] = self.dataset.split(spec)
    return self._opened[spec]

  def split(self, spec: str) -> Source:
    """Opens a split, or a part; see `Dataset.split`."""
    whole, indices = self.parts.get(spec, (spec, None))
    source = self.as_it_is(whole)
    if indices is not None:
      source = Part(source, indices)
    if (source.channels, self.channels) == (1, 3):
      source = InColour(source)
    return Numbered(source) if self.numbered else source

  def truth(self, spec: str) -> np.ndarray | None:
    """Of a split or a part, of which classes each image is; see `SeveralClasses`."""
    if not isinstance(self.dataset, SeveralClasses):
      return None
    whole, indices = self.parts.get(spec, (spec, np.s_[:]))
    found = self.dataset.truth(whole)
    return None if found is None else found[indices]


def fit_and_held_out(
  images: int, held_out: int | None
) -> tuple[np.ndarray, np.ndarray]:
  """Places of the images to fit to, and of those to choose settings by: the last ones.

  Args:
    images: of the split.
    held_out: how many are held out; None for a tenth.

  Raises:
    UserError: it leaves fewer than two images to fit to, or to choose by.
  """
  if images < 4:
    raise UserError(
      f"{images} images to train on are too few to hold some out: give 4 or more"
    )
  count = max(2, images // 10) if held_out is None else held_out
  if not 2 <= count <= images - 2:
    raise UserError(
      f"data.held_out is {count} of {images} images to train on: give 2 to {images - 2}"
    )
  return np.arange(images - count), np.arange(images - count, images)
