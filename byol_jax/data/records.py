"""Images in the record files of a prepared set: read by index, decoded by OpenCV."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from byol_jax import machine, progress
from byol_jax.data import images
from byol_jax.data.sources import NO_LABEL, ArraySource, Unreadable
from byol_jax.errors import UserError

BLOCK = 512  # records read and decoded together on the way to memory


@dataclasses.dataclass(frozen=True)
class Place:
  """Where records lie, for messages; picklable.

  Attributes:
    dataset: name and folder of the set.
    parts: (split, first, last + 1) of each of its slices that are read.
  """

  dataset: str
  parts: tuple[tuple[str, int, int], ...]

  def broken(self, index: int, why: object) -> UserError:
    """Says which image is broken, and how to do without it."""
    for split, first, end in self.parts:
      if index < end - first:
        number = first + index
        return UserError(
          f"image {number} of {split!r} of {self.dataset} is broken ({why}): leave it"
          f" out, as {split}[:{number}]+{split}[{number + 1}:], or fetch the set again"
        )
      index -= end - first
    return self.damaged(why)

  def damaged(self, why: object) -> UserError:
    """Says that files are."""
    cause = textwrap.shorten(str(why), 200)
    return UserError(
      f"the {self.dataset} is damaged or incomplete ({cause}): move it away, and fetch"
      " or prepare it again"
    )

  @contextlib.contextmanager
  def reading(self) -> Iterator[None]:
    """Turns what readers say of files that are damaged or gone into one line."""
    try:
      yield
    except Exception as error:  # damaged files fail in many ways
      raise self.damaged(str(error) or type(error).__name__) from error


@dataclasses.dataclass(frozen=True)
class RecordSource:
  """Encoded images in record files, decoded as they are read; picklable."""

  records: Any  # tfds data source: [i] and __getitems__ give dicts of features
  image_key: str
  label_key: str | None
  num_classes: int | None
  channels: int
  path_key: str | None = None
  place: Place = Place("data set", ())

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
    with self.place.reading():
      example = self.records[index]
    return self._decode(index, example)

  def name(self, index: int) -> str:
    """The path of the file that the image was made of, or its number in the split."""
    if self.path_key is None:
      return str(index)
    with self.place.reading():
      return os.fsdecode(self.records[index][self.path_key])

  @functools.cached_property
  def labels(self) -> np.ndarray:
    """Of all images, int32[N], -1 where there is none; reads all, and decodes none."""
    found = np.full(len(self), NO_LABEL, np.int32)

    def read_block(indices: range) -> None:
      with self.place.reading():
        examples = self.records.__getitems__(indices)
      found[indices] = [self._label(example) for example in examples]

    if self.label_key:
      with progress.shown("reading labels", len(self)) as bar:
        _in_threads(read_block, len(self), bar.add)
    return found

  def read(self, indices: range) -> Iterator[tuple[np.ndarray, int]]:
    """Several images, read together."""
    with self.place.reading():
      examples = self.records.__getitems__(indices)
    return map(self._decode, indices, examples)

  def _decode(self, index: int, example: dict[str, Any]) -> tuple[np.ndarray, int]:
    encoded = example[self.image_key]
    if encoded is None:  # What TFDS makes of a file that has become too short.
      raise self.place.damaged("an image is missing")
    try:
      pixels = images.decode(encoded, self.channels)
    except Unreadable as error:
      raise self.place.broken(index, error) from error
    return pixels, self._label(example)

  def _label(self, example: dict[str, Any]) -> int:
    if not self.label_key:
      return NO_LABEL
    if example[self.label_key] is None:  # as in `_decode`
      raise self.place.damaged("a label is missing")
    label = int(example[self.label_key])
    if self.num_classes and not NO_LABEL <= label < self.num_classes:
      why = f"a label is {label}, and there are {self.num_classes} classes"
      raise self.place.damaged(why)
    return label


def decode_all(source: RecordSource, shape: tuple[int, ...]) -> ArraySource:
  """Decodes every image, in threads: OpenCV releases the interpreter's lock."""
  pixels = np.empty((len(source), *shape), np.uint8)
  labels = np.empty(len(source), np.int32)

  def decode_block(indices: range) -> None:
    for i, (image, label) in zip(indices, source.read(indices), strict=True):
      if image.shape != shape:  # numpy would spread a row or a pixel over all
        why = f"it is {image.shape}, and all are to be {shape}"
        raise source.place.broken(i, why)
      pixels[i], labels[i] = image, label

  _in_threads(decode_block, len(source))
  return ArraySource(pixels, labels, source.num_classes)


def _in_threads(
  read: Callable[[range], None],
  count: int,
  done: Callable[[int], None] = lambda images: None,
) -> None:
  """Calls it for blocks of 0..count - 1, and tells of how many each was."""
  blocks = [range(i, min(i + BLOCK, count)) for i in range(0, count, BLOCK)]
  with concurrent.futures.ThreadPoolExecutor(machine.cores()) as threads:
    for block, _ in zip(blocks, threads.map(read, blocks), strict=True):
      done(len(block))
