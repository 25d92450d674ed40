"""The images that a command names: a folder, a data set, or a single file."""

import dataclasses
import os

import numpy as np

from byol_jax.data import datasets, formats
from byol_jax.data.folder import FolderSource
from byol_jax.data.sources import NO_LABEL, Dataset, Source, Unreadable
from byol_jax.errors import UserError


def find(images: str, data_dir: str | None) -> tuple[str, str | None]:
  """What `datasets.open_dataset` takes for what the user named.

  Args:
    images: a folder, or the name of a data set; a folder wins.
    data_dir: where the data set lies; then `images` is its name.

  Raises:
    UserError: it is a file, or looks like a folder and is none.
  """
  path = os.path.abspath(os.path.expanduser(images))
  if data_dir is None and os.path.isdir(path):
    return "folder", path
  if os.path.exists(path) and data_dir is None:
    raise UserError(f"{path} is a file: name the folder that it is in")
  if images.startswith(("/", ".", "~")) or images.endswith("/"):
    raise UserError(f"the folder {path} does not exist")
  return images, data_dir


def open_found(name: str, data_dir: str | None) -> Dataset:
  """Opens what was found; see `datasets.open_dataset`."""
  try:
    return datasets.open_dataset(name, data_dir)
  except UserError as error:
    if data_dir or name in datasets.DATASETS:
      raise
    raise UserError(f"there is no folder {name}; as a data set: {error}") from error


def queries(path: str, channels: int | None = None) -> FolderSource:
  """A single image file, or all images of a folder.

  Args:
    path: of either.
    channels: wanted: grey becomes coloured, and the other way round.

  Raises:
    UserError: it is not there or no image, or has other channels.
  """
  if not path:
    raise UserError("name an image or a folder of images, whose neighbours are wanted")
  path = os.path.abspath(os.path.expanduser(path))
  if os.path.isdir(path):
    dataset = datasets.open_dataset("folder", path)
    source = dataset.split("+".join(dataset.sizes))
    assert isinstance(source, FolderSource)
  elif os.path.isfile(path):
    source = _single(path)
  elif os.path.exists(path):  # a pipe would be waited for without end
    raise UserError(f"{path} is no file: name an image or a folder of images")
  else:
    raise UserError(f"{path} does not exist: name an image or a folder of images")
  if channels is None or {source.channels, channels} <= {1, 3}:
    return dataclasses.replace(source, channels=channels or source.channels)
  if source.channels != channels:
    raise UserError(
      f"{path} has {source.channels} channels, and the encoder was trained on"
      f" {channels}"
    )
  return source


def coloured(source: Source, channels: int) -> Source:
  """Grey images of a folder as coloured ones, where these are wanted.

  As in a folder with images of both kinds. All other sources stay as they are.
  """
  if isinstance(source, FolderSource) and (source.channels, channels) == (1, 3):
    return dataclasses.replace(source, channels=channels)
  return source


def _single(path: str) -> FolderSource:
  try:
    header = formats.inspect(path)
  except Unreadable as error:
    raise UserError(f"{path} is no image that can be read: {error}") from error
  folder, name = os.path.split(path)
  label = np.array([NO_LABEL], np.int32)
  return FolderSource(folder, [name], [header], label, (), header.channels)
