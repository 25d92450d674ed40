"""Where images come from: embedded sets, and tensorflow-datasets by name.

A source is read at random by index and hands out whole decoded images. Nothing
here imports TensorFlow: prepared data sets are read from their array_record
files, and OpenCV decodes the images.
"""

import concurrent.futures
import dataclasses
import difflib
import functools
import os
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.read_only_builder import builder_from_files

from byol_jax.data import photos
from byol_jax.errors import UserError

NO_LABEL = -1
_MEMORY_LIMIT = 2**30  # bytes of decoded pixels that are kept in memory
_BLOCK = 512  # records read and decoded together on the way to memory

# Channels -> how OpenCV reads them. The EXIF orientation is ignored, as in
# TensorFlow's and Pillow's decoders.
_DECODE: dict[int, int] = {
  1: cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
  3: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION,
  4: cv2.IMREAD_UNCHANGED,
}


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
    """Returns (uint8[H, W, C], label); the label is -1 where there is none."""


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


@dataclasses.dataclass(frozen=True)
class RecordSource:
  """Encoded images in record files, decoded as they are read; picklable."""

  records: Any  # tfds data source: [i] and __getitems__ give dicts of features
  image_key: str
  label_key: str | None
  num_classes: int | None
  channels: int

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
    return self.decode(self.records[index])

  def decode(self, example: dict[str, Any]) -> tuple[np.ndarray, int]:
    """Decodes one example as the records give it."""
    label = int(example[self.label_key]) if self.label_key else NO_LABEL
    return decode_image(example[self.image_key], self.channels), label


def decode_image(encoded: bytes, channels: int) -> np.ndarray:
  """Decodes a JPEG, PNG or other file that OpenCV knows.

  Args:
    encoded: content of the file.
    channels: 1 (grey), 3 (RGB: grey is repeated, alpha is dropped) or 4 (RGBA).

  Returns:
    uint8[H, W, channels].

  Raises:
    UserError: the bytes are no image, or not one of these channels and 8 bits.
  """
  pixels = np.frombuffer(encoded, np.uint8)
  image = cv2.imdecode(pixels, _DECODE[channels]) if encoded else None
  if image is None:
    raise UserError(
      f"An image of {len(encoded)} bytes cannot be decoded: prepare the data set again."
    )
  image = image.reshape(*image.shape[:2], -1)  # OpenCV drops a single channel
  if image.shape[-1] != channels or image.dtype != np.uint8:
    raise UserError(
      f"An image has {image.shape[-1]} channels of {image.dtype}, not {channels}"
      " of uint8 as its data set declares: prepare the data set again."
    )
  return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA) if channels == 4 else image


def open_source(name: str, split: str, data_dir: str | None) -> Source:
  """Opens a split of an embedded set or of a prepared TFDS data set.

  Sets of one image size that decode to at most 1 GiB are decoded once, into
  memory; larger ones are decoded image by image as they are read.

  Args:
    name: an embedded set's name, or a tensorflow-datasets name, with config and
      version where wanted, such as 'imagenet_resized/64x64' or 'cifar10:3.0.2'.
    split: a split in TFDS notation, such as 'train', 'train[10000:]',
      'train[:10%]' or 'train+test'.
    data_dir: folder of the prepared data sets; None for TFDS's own default.

  Raises:
    UserError: no such data set, split or folder; the set is not prepared, or
      prepared as tfrecord alone; it holds no 8-bit image or nothing at all.
  """
  if name in EMBEDDED:
    return _open_embedded(name, split)
  builder = _find_readable(name, data_dir)
  source, shape = _open_records(name, split, builder)
  if None in shape or len(source) * int(np.prod(shape)) > _MEMORY_LIMIT:
    return source
  return _decode_all(source, shape)


def check_split(name: str, split: str, data_dir: str | None) -> None:
  """Raises UserError where `open_source` would for the same arguments."""
  if name in EMBEDDED:
    infos = _embedded_infos(name)
  else:
    infos = _find_readable(name, data_dir).info.splits
  _resolve_split(name, split, infos)


def _find_readable(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
  builder = find_builder(name, data_dir)
  if builder is None:
    raise UserError(
      f"{name} is not prepared in {data_dir or 'the default data_dir'}: run"
      f" {prepare_command(name, data_dir)}"
    )
  if not has_random_access(builder):
    raise UserError(
      f"{name} in {builder.data_dir} is there as"
      f" {builder.info.file_format.value} only: convert it with"
      f" {prepare_command(name, data_dir)}"
    )
  return builder


def find_builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder | None:
  """Finds a prepared TFDS data set by its files, whether registered or not.

  Returns:
    A builder that reads, or None if `name` is registered but not prepared.

  Raises:
    UserError: there is no such folder, or no such data set.
  """
  data_dir = data_dir and os.path.expanduser(data_dir)
  if data_dir and not os.path.isdir(data_dir):
    raise UserError(f"data_dir {data_dir} does not exist: create it first.")
  try:
    return builder_from_files(name, data_dir=data_dir)
  except (tfds.core.DatasetNotFoundError, FileNotFoundError):
    registered = tfds.list_builders(with_community_datasets=False)
  except ValueError as error:
    raise UserError(
      f"{name!r} is no data set's name: write name[/config][:version]."
    ) from error
  base_name = name.split("/")[0].split(":")[0]
  if base_name in registered:
    return None
  close = difflib.get_close_matches(base_name, [*EMBEDDED, *registered])
  advice = f"did you mean {' or '.join(close)}?" if close else "check its name."
  raise UserError(f"There is no data set {name}: {advice}")


def has_random_access(builder: tfds.core.DatasetBuilder) -> bool:
  """Whether the prepared files can be read by index, without TensorFlow."""
  formats = builder.info.available_file_formats()
  return bool(formats & tfds.core.FileFormat.with_random_access())


def prepare_command(name: str, data_dir: str | None) -> str:
  """The command line that prepares or converts a data set."""
  where = f" --data_dir={data_dir}" if data_dir else ""
  return f"python -m byol_jax.data.prepare --name={name}{where}"


def _open_records(
  name: str, split: str, builder: tfds.core.DatasetBuilder
) -> tuple[RecordSource, tuple[Any, ...]]:
  """Returns the source and the static shape of its images."""
  info = builder.info
  image_key = _feature_key(info, "image", 0, tfds.features.Image)
  label_key = _feature_key(info, "label", 1, tfds.features.ClassLabel)
  if image_key is None or info.features[image_key].np_dtype != np.uint8:
    raise UserError(f"{name} has no 8-bit image feature: choose another set.")
  _resolve_split(name, split, info.splits)
  records = builder.as_data_source(
    split, decoders={image_key: tfds.decode.SkipDecoding()}
  )
  num_classes = info.features[label_key].num_classes if label_key else None
  shape = info.features[image_key].shape
  channels = shape[-1] or 3
  return RecordSource(records, image_key, label_key, num_classes, channels), shape


def _feature_key(
  info: tfds.core.DatasetInfo, key: str, place: int, kind: type
) -> str | None:
  """Name of a feature of this kind: `key`, or else what the set declares."""
  features = dict(info.features.items())
  declared = (info.supervised_keys or ())[place : place + 1]
  for name in (key, *declared):
    if isinstance(name, str) and isinstance(features.get(name), kind):
      return name
  return None


def _decode_all(source: RecordSource, shape: tuple[Any, ...]) -> ArraySource:
  """Decodes every image, in threads: OpenCV releases the interpreter's lock."""
  images = np.empty((len(source), *shape), np.uint8)
  labels = np.empty(len(source), np.int32)

  def decode_block(start: int) -> None:
    indices = range(start, min(start + _BLOCK, len(source)))
    examples = source.records.__getitems__(indices)
    for i, example in zip(indices, examples, strict=True):
      images[i], labels[i] = source.decode(example)

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    list(threads.map(decode_block, range(0, len(source), _BLOCK)))
  return ArraySource(images, labels, source.num_classes)


def _open_embedded(name: str, split: str) -> ArraySource:
  splits = EMBEDDED[name]()
  parts = _resolve_split(name, split, _embedded_infos(name))
  images = np.concatenate([splits[key][0][part] for key, part in parts])
  labels = np.concatenate([splits[key][1][part] for key, part in parts])
  num_classes = max(int(labels.max()) for _, labels in splits.values()) + 1
  return ArraySource(images, labels, num_classes)


def _embedded_infos(name: str) -> tfds.core.SplitDict:
  return tfds.core.SplitDict(
    tfds.core.SplitInfo(name=key, shard_lengths=[len(labels)], num_bytes=0)
    for key, (_, labels) in EMBEDDED[name]().items()
  )


def _resolve_split(
  name: str, split: str, infos: tfds.core.SplitDict
) -> list[tuple[str, slice]]:
  """Returns the named splits and slices that a split string adds up."""
  sizes = {key: info.num_examples for key, info in infos.items()}
  try:
    instructions = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
  except ValueError:
    instructions = []
  parts = [(part.splitname, slice(part.from_, part.to)) for part in instructions]
  if not parts or not all(range(sizes[key])[part] for key, part in parts):
    known = ", ".join(f"{key} ({size} images)" for key, size in sizes.items())
    raise UserError(
      f"{name} has nothing for the split {split!r}: it has {known}, and slices"
      " such as 'train[:10%]' or 'train[100:]'."
    )
  return parts


# Name -> loader of {split: (uint8[N, H, W, C], int[N])}; needs no download.
EMBEDDED: dict[str, Callable[[], dict[str, tuple[np.ndarray, np.ndarray]]]] = {
  "photos": functools.cache(photos.load),
}
