"""Prepared sets of tensorflow-datasets, read without TensorFlow.

They are read at random by index from their array_record files, and OpenCV decodes
the images. Their files are found and looked at by `tfds_files`.
"""

import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from byol_jax.data import images, records, splits, tfds_files
from byol_jax.data.records import Place, RecordSource, decode_all
from byol_jax.data.sources import NO_LABEL, Source
from byol_jax.errors import UserError

_MOST_CLASSES = 2**20  # classifiers have weights for each
_MEMORY_LIMIT = 2**30  # bytes of decoded pixels that are kept in memory


class RecordDataset:
  """A prepared set, by the builder that reads its files."""

  def __init__(self, name: str, builder: tfds.core.DatasetBuilder):
    """Finds the images and the labels among its features.

    Raises:
      UserError: it has no 8-bit image.
    """
    self.name = name
    self._opened: dict[str, Source] = {}
    self._builder = builder
    self._features = builder.info.features
    image_key = self._find("image", place=0, kind=tfds.features.Image)
    if image_key is None or self._features[image_key].np_dtype != np.uint8:
      raise UserError(
        f"{name} has no 8-bit image feature called image, or declared as its input: it"
        f" has {self._kinds()}; choose another set, or write it so"
      )
    channels = self._features[image_key].shape[-1]
    if channels not in (None, *images.CHANNELS):
      raise UserError(
        f"{name} declares images of {channels} channels: those of 1, 3 or 4 can be read"
      )
    self._image_key = image_key
    self._label_key = self._find("label", place=1, kind=tfds.features.ClassLabel)
    if self._label_key is None and "label" in self._features:
      logging.warning(
        "%s has %s: a label that is no ClassLabel is passed over", name, self._kinds()
      )
    self._path_key = self._find("path", place=None, kind=tfds.features.Text)
    self._classes_key = None if self._label_key else self._several_classes()
    self._check_classes()

  @functools.cached_property
  def sizes(self) -> dict[str, int]:
    """Name of each split -> number of its images."""
    return {split: sum(lengths) for split, lengths in self._shards.items()}

  @functools.cached_property
  def _shards(self) -> dict[str, list[int]]:
    infos = self._builder.info.splits.items()
    return {split: list(info.shard_lengths) for split, info in infos}

  @property
  def unreadable(self) -> dict[str, str]:
    """Nothing: a damaged set is refused; see `Dataset.unreadable`."""
    return {}

  def listing(self) -> list[str]:
    """Its splits, its version and its files; see `Dataset.listing`."""
    info = self._builder.info
    files = sorted(
      f"{split} {self._shards[split]} {info.splits[split].num_bytes}"
      for split in self._shards
    )
    digest = hashlib.sha256("\n".join(files).encode()).hexdigest()
    facts = [f"/version\t{info.version}", f"/files\t{digest[:16]}"]
    return [*splits.listing(self.sizes), *facts]

  def check(self, spec: str) -> int:
    """Counts the images of a split; see `Dataset.check`."""
    return splits.count(self.name, spec, self._shards)

  def split(self, spec: str) -> Source:
    """Opens a split; see `Dataset.split`.

    Images of one size that decode to at most 1 GiB are decoded once, into memory;
    others as they are read. A split that is opened again is the same one.
    """
    if spec not in self._opened:
      self._opened[spec] = self._open(spec)
    return self._opened[spec]

  def _open(self, spec: str) -> Source:
    label_key = self._label_key
    shape = self._features[self._image_key].shape
    source = RecordSource(
      self._records(spec),
      self._image_key,
      label_key,
      num_classes=self._features[label_key].num_classes if label_key else None,
      channels=shape[-1] or 3,
      path_key=self._path_key,
      place=self._place(spec),
    )
    if None in shape or len(source) * math.prod(shape) > _MEMORY_LIMIT:
      return source
    return decode_all(source, shape)

  def truth(self, spec: str) -> np.ndarray | None:
    """Of which classes each image of a split is; see `sources.SeveralClasses`."""
    if (key := self._classes_key) is None:
      return None
    examples_of = self._records(spec)
    found = np.zeros((len(examples_of), self._features[key].feature.num_classes), bool)
    for start in range(0, len(examples_of), records.BLOCK):
      rows = range(start, min(start + records.BLOCK, len(examples_of)))
      with self._place(spec).reading():
        examples = examples_of.__getitems__(rows)
      for row, example in zip(rows, examples, strict=True):
        labels = np.asarray(example[key], int)
        if not np.isin(labels, range(NO_LABEL, found.shape[1])).all():
          raise self._place(spec).damaged(
            f"labels are {labels.tolist()}, and there are {found.shape[1]} classes"
          )
        found[row, labels[labels != NO_LABEL]] = True  # or numpy would count from last
    return found

  def _records(self, spec: str) -> Any:
    """The examples of a split, with images as they lie in the files."""
    self.check(spec)
    decoders = {self._image_key: tfds.decode.SkipDecoding()}
    with self._place(spec).reading():
      found = self._builder.as_data_source(spec, decoders=decoders)
      tfds_files.check_shards(self._builder.info.splits[spec].file_instructions)
    return found

  def _place(self, spec: str) -> Place:
    parts = splits.resolve(self.name, spec, self._shards)
    bounds = [(s, *part.indices(self.sizes[s])[:2]) for s, part in parts]
    return Place(f"data set {self.name} in {self._builder.data_dir}", tuple(bounds))

  def _kinds(self) -> str:
    """All features with their kinds."""
    return ", ".join(f"{key}: {type(f).__name__}" for key, f in self._features.items())

  def _check_classes(self) -> None:
    """Refuses more classes than memory has room for; none at all are no labels."""
    label = self._label_key and self._features[self._label_key]
    label = self._features[self._classes_key].feature if self._classes_key else label
    if label and not 0 <= (label.num_classes or 0) <= _MOST_CLASSES:
      raise UserError(
        f"{self.name} declares {label.num_classes} classes, and {_MOST_CLASSES} are"
        f" possible: correct features.json in {self._builder.data_dir}"
      )

  def _several_classes(self) -> str | None:
    """Name of the feature that has the classes of an image, where it may be several."""
    key = self._find("labels", place=None, kind=tfds.features.Sequence)
    feature = self._features[key].feature if key else None
    is_one = isinstance(feature, tfds.features.ClassLabel) and feature.num_classes
    return key if is_one else None

  def _find(self, key: str, *, place: int | None, kind: type) -> str | None:
    """Name of a feature of this kind: `key`, or else what the set declares there."""
    features = dict(self._features.items())
    declared = self._builder.info.supervised_keys or ()
    names = (key,) if place is None else (key, *declared[place : place + 1])
    for name in names:
      if isinstance(name, str) and isinstance(features.get(name), kind):
        return name
    return None


def open_dataset(
  name: str, data_dir: str | None, known: Sequence[str] = ()
) -> RecordDataset:
  """Opens a prepared set by its name; see `datasets.open_dataset`.

  Args:
    name: with config and version where wanted.
    data_dir: folder of the prepared sets; None for TFDS's own default.
    known: names of other sets, for the hint at a misspelt one.
  """
  builder = tfds_files.find_builder(name, data_dir, known)
  if builder is None:
    there = tfds_files.prepared(name, data_dir)
    beside = f" name what is there, {', '.join(there)}; or" if there else ""
    raise UserError(
      f"{name} is not prepared in {tfds_files.where(data_dir)}:{beside} run"
      f" {tfds_files.prepare_command(name, data_dir)}"
    )
  if not tfds_files.has_array_record(builder):
    there = builder.info.file_format
    remedy = (
      f"convert it with {tfds_files.prepare_command(name, data_dir)}"
      if there == tfds.core.FileFormat.TFRECORD
      else f"prepare it as {tfds_files.ARRAY_RECORD} in another folder"
    )
    raise UserError(f"{name} in {builder.data_dir} is {there.value} only: {remedy}")
  return RecordDataset(name, builder)
