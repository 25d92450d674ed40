"""A folder of images as a data set."""

import collections
import dataclasses
import functools
import hashlib
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from byol_jax.data import formats, splits
from byol_jax.data.formats import Header
from byol_jax.data.scan import Scan, quoted, scan
from byol_jax.data.sources import NO_LABEL, OutOfReach, Unreadable
from byol_jax.errors import UserError

# Folders of these names on top are splits.
UNLABELLED = ("unlabelled", "unlabeled")  # whatever folders are in these
SPLITS = ("train", "val", "valid", "validation", "test", *UNLABELLED)
_LOOKS = 8  # images
_ALSO = {"training": "train", "testing": "test"}


@dataclasses.dataclass(frozen=True)
class FolderSource:
  """Images of a folder, decoded as they are read; picklable."""

  root: str
  paths: Sequence[str]
  headers: Sequence[Header]
  labels: np.ndarray
  class_names: tuple[str, ...]
  channels: int

  @property
  def num_classes(self) -> int | None:
    """Number of classes, None where there are none."""
    return len(self.class_names) or None

  def __len__(self) -> int:
    return len(self.paths)

  def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
    return self.reduced(index, lambda height, width: 1)

  def reduced(
    self, index: int, scale_for: Callable[[int, int], int]
  ) -> tuple[np.ndarray, int]:
    """An image whose sides are divided; see `Reducible`."""
    header = self.headers[index]
    path = os.path.join(self.root, self.paths[index])
    scale = scale_for(header.height, header.width)
    try:
      image = formats.decode(path, header, self.channels, scale)
    except OutOfReach as error:
      gone = isinstance(error.__cause__, FileNotFoundError | PermissionError)
      if gone and self._others_are_there(index):
        raise Unreadable(str(error)) from error
      raise
    return image, int(self.labels[index])

  def _others_are_there(self, index: int) -> bool:
    """Whether an image alone is gone, and not the disk: by some others."""
    count = len(self)
    looked = {(index + n * count // (_LOOKS + 1)) % count for n in range(_LOOKS + 1)}
    others = [os.path.join(self.root, self.paths[i]) for i in looked - {index}]
    return bool(others) and all(map(os.path.exists, others))

  def name(self, index: int) -> str:
    """The image's path in the folder."""
    return self.paths[index]


class FolderDataset:
  """The images below a folder, by split and class.

  Folders called as in `SPLITS` on top are splits, also "Train" or "Training" where
  nothing else is beside these; else all is "train". Where each image of a split lies in
  one of several folders, those are its classes; else it has none.
  The order in a split is that of a hash of the paths: a slice is a fair sample, and
  depends on nothing but the names below the folder.
  """

  def __init__(self, root: str, found: Scan, labelled: bool):
    """Takes what a scan has found.

    Raises:
      UserError: some images are in splits and some are not, or they have different
        numbers of channels.
    """
    self.name = root
    self.unreadable: Mapping[str, str] = found.unreadable
    self._found = found
    self._splits = _by_split(root, found.images)
    self._classes = _classes(self._splits) if labelled else {}
    self._channels = _channels(root, found.images)

  @property
  def class_names(self) -> tuple[str, ...]:
    """Names of the classes; a label is a place in them."""
    return tuple(sorted({name for names in self._classes.values() for name in names}))

  @property
  def sizes(self) -> dict[str, int]:
    """Name of each split -> number of its images."""
    return {split: len(paths) for split, paths in self._splits.items()}

  def check(self, spec: str) -> int:
    """Counts the images of a split; see `Dataset.check`."""
    return splits.count(self.name, spec, self.sizes)

  def split(self, spec: str) -> FolderSource:
    """Opens a split; see `Dataset.split`."""
    parts = splits.resolve(self.name, spec, self.sizes)
    labels = {name: label for label, name in enumerate(self.class_names)}
    paths: list[str] = []
    known: list[int] = []
    for split, part in parts:
      inside = self._splits[split][part]
      is_labelled = split in self._classes
      paths += inside
      known += [labels[_folder(p)] if is_labelled else NO_LABEL for p in inside]
    return FolderSource(
      root=self.name,
      paths=paths,
      headers=[self._found.images[path] for path in paths],
      labels=np.array(known, np.int32),
      class_names=self.class_names,
      channels=self._channels,
    )

  def check_outside(self, path: Path, flag: str) -> None:
    """Raises UserError if what a flag names would be written among the images."""
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.name)):
      raise UserError(
        f"{path} lies among the images of {self.name}: choose a {flag} outside of it"
      )

  def listing(self) -> list[str]:
    """Path and bytes of each image; see `Dataset.listing`."""
    return [f"{quoted(path)}\t{size}" for path, size in self._found.sizes.items()]

  def describe(self) -> str:
    """What was found, in one line."""
    inside = ", ".join(f"{split} {size}" for split, size in self.sizes.items())
    classes = f"{len(self.class_names)} classes" if self._classes else "no labels"
    text = f"{self.name}: {inside} images of {self._channels} channels, {classes}"
    profiles = sum(header.profile for header in self._found.images.values())
    counts = {
      "unreadable": len(self.unreadable),
      "other files": len(self._found.others),
      "colour profiles, which are ignored": profiles,
    }
    return text + "".join(f", {n} {what}" for what, n in counts.items() if n)


def open_dataset(data_dir: str | None, labelled: bool = True) -> FolderDataset:
  """Opens a folder of images.

  Args:
    data_dir: the folder.
    labelled: whether folders in it can be classes.

  Raises:
    UserError: it is no folder, or holds no image; see also `FolderDataset`.
  """
  if not data_dir:
    raise UserError("name the folder of images: --config.data.data_dir=FOLDER")
  root = os.path.abspath(os.path.expanduser(data_dir))
  if not os.path.isdir(root):
    what = "is a file" if os.path.exists(root) else "does not exist"
    raise UserError(f"{root} {what}: name a folder of images")
  found = scan(root)
  if why := found.unreadable.get(""):  # its own path in it
    raise UserError(f"{root} is {why}; change its mode, or name another folder")
  if not found.images:
    raise UserError(f"{root} holds no image that can be read: {_contents(found)}")
  dataset = FolderDataset(root, found, labelled)
  logging.info("%s", dataset.describe())
  for path, why in found.unreadable.items():
    if os.path.isdir(os.path.join(root, path)):  # of who knows how many images
      logging.warning("%s is %s; nothing in it is used", os.path.join(root, path), why)
  return dataset


open_unlabelled = functools.partial(open_dataset, labelled=False)


def _contents(found: Scan) -> str:
  """What is there in place of images."""
  if not found.unreadable and not found.others:
    return "it is empty"
  reasons = collections.Counter(found.unreadable.values())
  commonest = f"; {reasons.most_common(1)[0][0]}" if reasons else ""
  unreadable, others = len(found.unreadable), len(found.others)
  return f"{unreadable} unreadable and {others} other files{commonest}"


def _by_split(root: str, images: Mapping[str, Header]) -> dict[str, list[str]]:
  """Split -> paths, in the order of their hashes."""
  tops = {path.split("/", 1)[0] if "/" in path else "" for path in images}
  called = {top: _split(top) for top in tops}
  if not set(called.values()) <= set(SPLITS):  # they may be classes: a sport, a vehicle
    if "train" not in tops:
      return {"train": sorted(images, key=_hash)}
    called = {top: top for top in tops if top in SPLITS}
  if len(set(called.values())) < len(called):
    raise UserError(
      f"{root} has {', '.join(sorted(called))} on top, of which some are one split:"
      f" call each another ({', '.join(SPLITS)})"
    )
  names = [split for split in SPLITS if split in called.values()]
  by_split: dict[str, list[str]] = {name: [] for name in names}
  for path in sorted(images, key=_hash):
    top = path.split("/", 1)[0]
    if "/" not in path or top not in called:
      raise UserError(
        f"{root} has the split {names[0]}/, and {path} outside of it: move that, or"
        f" name the folder as a split ({', '.join(SPLITS)})"
      )
    by_split[called[top]].append(path)
  return by_split


def _split(top: str) -> str:
  """The split that a folder on top may be."""
  return _ALSO.get(top.lower(), top.lower())


def _classes(by_split: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
  """Split -> names of its classes, for those splits that have any."""
  found = {}
  for split, paths in by_split.items():
    if split in UNLABELLED:
      continue
    depths = {path.count("/") for path in paths}
    of_split = 1 if all(_split(path.split("/", 1)[0]) == split for path in paths) else 0
    if depths == {of_split + 1}:
      found[split] = {_folder(path) for path in paths}
  return found if len(set().union(*found.values())) > 1 else {}


def _folder(path: str) -> str:
  """Name of the folder that a file lies in, a class, in one form of its accents."""
  return _composed(path.rsplit("/", 2)[-2])


def _channels(root: str, images: Mapping[str, Header]) -> int:
  """Channels of all images: one number, unless grey and coloured ones are mixed."""
  first = {header.channels: path for path, header in images.items()}
  if first.keys() <= {1, 3}:
    return max(first)
  if len(first) == 1:
    return next(iter(first))
  examples = ", ".join(f"{path} {number}" for number, path in sorted(first.items()))
  raise UserError(
    f"images in {root} have different numbers of channels ({examples}): keep those of"
    " one number"
  )


def _hash(path: str) -> bytes:
  """Decides an image's place."""
  return hashlib.sha256(os.fsencode(_composed(path))).digest()


def _composed(name: str) -> str:
  """A name whose accents are part of their letters: by the system, they may not be."""
  return unicodedata.normalize("NFC", name)
