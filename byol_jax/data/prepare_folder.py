"""A folder of images, reduced once, as a set that is read many times.

  python -m byol_jax.data.prepare --folder=PHOTOS --side=320 --data_dir=OUT

Files of a fixed number of images are written one after the other, and prepared.json
lists those that are whole: a command that was stopped goes on after the last of them.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from byol_jax import machine, progress
from byol_jax.data import crops, datasets, folder, images, record_files, tfds_files
from byol_jax.data.folder import FolderDataset, FolderSource
from byol_jax.data.scan import quoted
from byol_jax.data.sources import OutOfReach, Unreadable
from byol_jax.disk import LOCK, absolute, alone, read_json, write_json
from byol_jax.errors import UserError, check_positive
from byol_jax.progress import Bar
from byol_jax.valid import fits

VERSION = "1.0.0"
STATE = "prepared.json"
QUALITY = 95  # of JPEG

# What prepared.json is, and what it says of each file; see `_state`.
_FORM: dict[str, Any] = {"made_of": dict, "files": dict, "unreadable": dict}
_FILE: dict[str, Any] = {"images": int, "bytes": int, "size": int}
_NAME = re.compile("[a-z][a-z0-9_]*")
_IMAGES = 1024  # in a file
_FILES = 256  # of a split at most: readers keep all of them open


@dataclasses.dataclass(frozen=True)
class _Job:
  """What is to be written, and where."""

  dataset: FolderDataset
  side: int
  path: Path  # DATA_DIR/NAME/VERSION

  @property
  def name(self) -> str:
    """The set's."""
    return self.path.parent.name

  def made_of(self) -> dict[str, Any]:
    """What must be the same for a stopped command to go on."""
    listing = "\n".join(self.dataset.listing())
    images = hashlib.sha256(listing.encode()).hexdigest()
    return {"name": self.name, "side": self.side, "images": images}


def prepare(root: str, data_dir: str | None, side: int, name: str | None = None) -> str:
  """Writes the images of a folder, with their labels and paths, as a TFDS set.

  Each image is reduced until its shorter side has `side` pixels, by averaging over
  areas, and stored as a JPEG of quality 95. One that is no larger is stored without
  loss: a JPEG or PNG as it is, anything else as PNG. Unreadable images are left out.

  Args:
    root: the folder; splits and classes are those of `folder.open_dataset`.
    data_dir: folder of the prepared sets, created if need be.
    side: in pixels.
    name: of the set; by default made from the folder's and the side.

  Returns:
    What was done, and the command line that trains on it.

  Raises:
    UserError: the folder holds no images of 1 or 3 channels; there is another set of
      this name, or one made of other images; it cannot be written.
  """
  check_positive("side", side)
  if not root:
    raise UserError("name the folder of images: --folder=PHOTOS")
  if not data_dir:
    raise UserError("say where to write the set: --data_dir=OUT")
  target = absolute(data_dir)
  name = _default_name(root, side) if name is None else name
  _check_name(name)
  dataset = folder.open_dataset(root)
  _check_images(dataset, target)
  job = _Job(dataset, side, target / name / VERSION)
  try:
    with only_one(job.path):
      state = _state(job)
      if _is_complete(job, state):
        return f"{name} in {target} is ready to be read already. {_usage(job)}"
      _write(job, state)
  except OSError as error:
    raise UserError(
      f"cannot write {error.filename2 or error.filename or job.path}:"
      f" {error.strerror or error}; once it can be, the same command goes on"
    ) from error
  return f"{_summary(job, state)} {_usage(job)}"


def _default_name(root: str, side: int) -> str:
  """photos_320 for My/Photos."""
  base = absolute(root).name.lower()
  plain = re.sub("[^a-z0-9]+", "_", base).strip("_").lstrip("_0123456789")
  return f"{plain or 'images'}_{side}"


def _check_name(name: str) -> None:
  if not _NAME.fullmatch(name):
    raise UserError(
      f"{name!r} cannot be the name of a set: give small letters, digits and _, such as"
      " --name=my_photos"
    )
  registered = tfds.list_builders(with_community_datasets=False)
  if name in datasets.DATASETS or name in registered:
    raise UserError(
      f"{name} is another data set's name: give one of your own, such as"
      f" --name=my_{name}"
    )


def _check_images(dataset: FolderDataset, target: Path) -> None:
  """Raises UserError if they cannot be stored, or not there."""
  channels = dataset.split(next(iter(dataset.sizes))).channels
  if channels not in (1, 3):
    raise UserError(
      f"the images in {dataset.name} have {channels} channels, and those of 1 or 3 can"
      " be prepared: train on the folder as it is, with --config.data.name=folder"
    )
  dataset.check_outside(target, "--data_dir")


def only_one(path: Path) -> contextlib.AbstractContextManager[None]:
  """Creates a set's folder, and keeps other commands out of it."""
  return alone(path, "wait until it has ended", who="command")


def _state(job: _Job) -> dict[str, Any]:
  """What has been written so far, as prepared.json has it.

  Returns:
    "made_of": see `_Job`; "files": name -> its numbers of images, of their bytes, and
    of its own; "unreadable": path -> reason.
  """
  path, made_of = job.path / STATE, job.made_of()
  if not path.exists():
    left = (LOCK, "incomplete.", f"{STATE}.tmp")  # by a command that was killed at once
    if any(not entry.name.startswith(left) for entry in job.path.iterdir()):
      raise UserError(f"{job.path} holds another set: choose another --name")
    return {"made_of": made_of, "files": {}, "unreadable": {}}
  way_out = f"delete {path.parent}, and the same command begins anew"
  state = read_json(path, way_out)
  if not fits(state, _FORM) or not all(fits(f, _FILE) for f in state["files"].values()):
    raise UserError(f"{path} is damaged: {way_out}")
  before = state["made_of"]
  differing = [key for key, value in made_of.items() if before.get(key) != value]
  if differing:
    raise UserError(
      f"{job.path} was made of something else (it differs in {', '.join(differing)}):"
      " choose another --name, or delete that folder"
    )
  return state


def _is_complete(job: _Job, state: Mapping[str, Any]) -> bool:
  info = job.path / tfds_files.INFO
  return info.is_file() and all(_is_whole(job, state, file) for file in state["files"])


def _is_whole(job: _Job, state: Mapping[str, Any], file: str) -> bool:
  path, noted = job.path / file, state["files"].get(file)
  return bool(noted) and path.is_file() and path.stat().st_size == noted["size"]


def _write(job: _Job, state: dict[str, Any]) -> None:
  """Writes what is not there yet, dataset_info.json at the end."""
  state["unreadable"] |= job.dataset.unreadable
  # Without it, files that a killed command has not listed would be another set's.
  write_json(job.path / STATE, state)
  features: dict[str, Any] = {"path": tfds.features.Text()}
  lengths: dict[str, list[int]] = {}
  sizes: dict[str, int] = {}
  for split in job.dataset.sizes:
    source = job.dataset.split(split)
    features["image"] = tfds.features.Image(shape=(None, None, source.channels))
    if source.num_classes:
      names = _class_names(source.class_names)
      features["label"] = tfds.features.ClassLabel(names=names)
    files = _files(job.name, split, len(source))
    missing = [each for each in files if not _is_whole(job, state, each[0])]
    done = len(source) - sum(len(indices) for _, indices in missing)
    with progress.shown(f"reducing {split}", len(source), done=done) as bar:
      for file, indices in missing:
        _write_file(job, state, source, file, indices, bar)
    lengths[split] = [state["files"][file]["images"] for file, _ in files]
    sizes[split] = sum(state["files"][file]["bytes"] for file, _ in files)
  if not any(map(sum, lengths.values())):
    raise UserError(f"no image of {job.dataset.name} could be read")
  record_files.write_info(job.path, features, lengths, sizes)


def _files(name: str, split: str, count: int) -> list[tuple[str, range]]:
  """Each file of a split, and the places of its images in the split."""
  images = max(_IMAGES, -(-count // _FILES))
  starts = range(0, count, images)
  return [
    (
      record_files.shard_name(name, split, index, len(starts)),
      range(start, min(start + images, count)),
    )
    for index, start in enumerate(starts)
  ]


def _write_file(
  job: _Job,
  state: dict[str, Any],
  source: FolderSource,
  file: str,
  indices: range,
  bar: Bar,
) -> None:
  """Writes a file of records, and notes it."""
  lengths: list[int] = []

  def records(found: Iterable[bytes | Unreadable]) -> Iterator[bytes]:
    for index, record in zip(indices, found, strict=True):
      bar.add()
      if isinstance(record, Unreadable):
        state["unreadable"][source.name(index)] = str(record)
        continue
      lengths.append(len(record))
      yield record

  path = job.path / file
  threads = concurrent.futures.ThreadPoolExecutor(machine.cores())
  try:
    found = threads.map(functools.partial(_record, source, job.side), indices)
    record_files.write_shard(path, records(found))
  finally:
    threads.shutdown(cancel_futures=True)  # Ctrl-C waits for no more images
  state["files"][file] = {
    "images": len(lengths),
    "bytes": sum(lengths),
    "size": path.stat().st_size,
  }
  write_json(job.path / STATE, state)


def _record(source: FolderSource, side: int, index: int) -> bytes | Unreadable:
  """An image with its label and path, ready to be written."""
  scale_for = functools.partial(crops.central_scale, size=2 * side, fraction=1.0)
  try:
    image, label = source.reduced(index, scale_for)
  except OutOfReach as error:
    raise UserError(
      f"cannot read {source.name(index)} of {source.root}: {error}; once it can be, the"
      " same command goes on"
    ) from error
  except Unreadable as error:
    return error
  example: dict[str, bytes | int] = {"path": os.fsencode(source.name(index))}
  if min(image.shape[:2]) > side:
    example["image"] = images.encode(images.shrunk(image, side), QUALITY)
  else:
    example["image"] = _own_bytes(source, index, image) or images.encode(image)
  if source.num_classes:
    example["label"] = label
  return record_files.serialise(example)


def _own_bytes(source: FolderSource, index: int, image: np.ndarray) -> bytes | None:
  """The image's file, if the readers of prepared sets find the same pixels in it."""
  if source.headers[index].format not in ("JPEG", "PNG"):
    return None
  content = Path(source.root, source.paths[index]).read_bytes()
  with contextlib.suppress(Unreadable):  # 16 bits, for one
    if np.array_equal(images.decode(content, source.channels), image):
      return content
  return None


def _class_names(names: Sequence[str]) -> list[str]:
  """Names that survive in a text file with a line for each."""
  plain = all(name.isprintable() and name == name.strip() for name in names)
  return [name if plain else quoted(name) for name in names]


def _summary(job: _Job, state: Mapping[str, Any]) -> str:
  count = sum(file["images"] for file in state["files"].values())
  skipped = len(state["unreadable"])
  left_out = f" ({skipped} unreadable: see {job.path / STATE})" if skipped else ""
  return f"Prepared {count} images of {job.dataset.name} in {job.path}{left_out}."


def _usage(job: _Job) -> str:
  """How to train on it."""
  data_dir = shlex.quote(str(job.path.parents[1]))
  return (
    "Train on it with:\npython -m byol_jax.main --config=configs/byol_gn_ws.py:folder"
    f" --config.data.name={job.name} --config.data.data_dir={data_dir}"
  )
