"""Finds the images in a folder, whatever else lies in it."""

import concurrent.futures
import gzip
import hashlib
import os
import stat
import urllib.parse
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from absl import logging

from byol_jax import cache, progress
from byol_jax.data import formats
from byol_jax.data.formats import Header
from byol_jax.data.sources import Unreadable

_THREADS = 8  # they wait for disks and networks
_BLOCK = 1000  # files that are handed to the threads at a time
# What systems and programs leave in folders of images.
_JUNK = frozenset(
  {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"}
)


class Scan(NamedTuple):
  """What a folder holds; paths are relative to it, with "/".

  Attributes:
    images: path -> header, of all images that can be read.
    sizes: path -> bytes, of the same.
    unreadable: path -> reason, of files that are meant as images, and of folders.
    others: paths of files that are no images.
  """

  images: dict[str, Header]
  sizes: dict[str, int]
  unreadable: dict[str, str]
  others: list[str]


class _File(NamedTuple):
  path: str
  size: int
  changed: int  # nanoseconds


def scan(root: str) -> Scan:
  """Finds the images below a folder, in an order that nothing but their names decides.

  Hidden files and what systems leave behind are passed over. Links are followed, each
  folder once, unless they lead up. What is known of an image is kept between commands,
  by its size and time; what is none, or could not be read, is looked at again.

  Args:
    root: the folder; it must be there.
  """
  unreadable: dict[str, str] = {}
  files = _files(root, unreadable)
  known = _read_cache(root)
  found = dict(_inspected(root, [file for file in files if file not in known]))
  result = Scan({}, {}, unreadable, [])
  images: dict[_File, Header] = {}
  for file in files:
    header = known.get(file) or found[file]
    if isinstance(header, Header):
      images[file] = header
      result.images[file.path] = header
      result.sizes[file.path] = file.size
    elif formats.is_meant_as_image(file.path):
      unreadable[file.path] = header
    else:
      result.others.append(file.path)
  if images != known:
    _write_cache(root, images)
  return result


def _files(root: str, unreadable: dict[str, str]) -> list[_File]:
  """What `_walk` finds, sorted."""
  found = []
  with progress.shown("looking for files", unit="files") as bar:
    for file in _walk(root, unreadable):
      found.append(file)
      bar.add()
  return sorted(found)


def _walk(root: str, unreadable: dict[str, str]) -> Iterator[_File]:
  """All files; folders that are links come last, lest they hide what they lead to."""
  seen: dict[tuple[int, int], str] = {}
  folders: list[str] = [""]
  links: list[str] = []
  while folders or links:
    folder = (folders or links).pop()
    try:
      place = os.stat(os.path.join(root, folder))
      first = seen.setdefault((place.st_dev, place.st_ino), folder)
      if first != folder:
        logging.warning(
          "%s leads to the same folder as %s: its images count once",
          os.path.join(root, folder),
          os.path.join(root, first),
        )
        continue
      with os.scandir(os.path.join(root, folder)) as entries:
        inside = sorted(entries, key=lambda entry: entry.name, reverse=True)
    except OSError as error:
      unreadable[folder] = f"a folder that cannot be read: {error.strerror}"
      continue
    for entry in inside:
      if entry.name.startswith(".") or entry.name.lower() in _JUNK:
        continue
      path = os.path.join(folder, entry.name)
      try:
        about = entry.stat()
      except OSError as error:
        if formats.is_meant_as_image(path):
          leads = "a link to nothing: " if entry.is_symlink() else ""
          unreadable[path] = leads + (error.strerror or "")
        continue
      if stat.S_ISDIR(about.st_mode):
        if not entry.is_symlink():
          folders.append(path)
        elif not _contains(os.path.join(root, path), root):
          links.append(path)
      elif stat.S_ISREG(about.st_mode):
        yield _File(path, about.st_size, about.st_mtime_ns)


def _contains(folder: str, root: str) -> bool:
  """Whether a link leads up, to the root or to what the root lies in."""
  target = os.path.realpath(folder)
  return os.path.commonpath([target, os.path.realpath(root)]) == target


def _inspected(root: str, files: list[_File]) -> Iterator[tuple[_File, Header | str]]:
  """Each file with its header, or with the reason why it has none."""

  def look(file: _File) -> Header | str:
    try:
      return formats.inspect(os.path.join(root, file.path))
    except Unreadable as error:
      return str(error)

  with (
    progress.shown("looking at files", len(files), "files") as bar,
    concurrent.futures.ThreadPoolExecutor(_THREADS) as pool,
  ):
    for first in range(0, len(files), _BLOCK):
      block = files[first : first + _BLOCK]
      for pair in zip(block, pool.map(look, block), strict=True):
        yield pair
        bar.add()


# The cache: a line an image, tabs between the columns, names quoted as in a URL.


def _cache_path(root: str) -> str:
  name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
  return str(cache.folder() / "folders" / f"{name}.1.gz")


def _read_cache(root: str) -> dict[_File, Header]:
  """What an earlier scan found; nothing if there was none, or its file is damaged."""
  try:
    with gzip.open(_cache_path(root), "rt", encoding="ascii") as file:
      return dict(map(_parsed, file))
  except (OSError, EOFError, ValueError, zlib.error):
    return {}


def _write_cache(root: str, images: Mapping[_File, Header]) -> None:
  path = _cache_path(root)
  temporary = f"{path}.{os.getpid()}"
  try:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with gzip.open(temporary, "wt", compresslevel=1, encoding="ascii") as file:
      for image, header in images.items():
        columns = (quoted(image.path), image.size, image.changed, *header)
        file.write("\t".join(map(str, columns)) + "\n")
    os.replace(temporary, path)
  except OSError as error:
    logging.info("what was found in %s is not kept: %s", root, error.strerror)


def _parsed(line: str) -> tuple[_File, Header]:
  path, size, changed, *found = line.rstrip("\n").split("\t")
  kind, height, width, channels, profile = found
  header = Header(kind, int(height), int(width), int(channels), profile == "True")
  return _File(unquoted(path), int(size), int(changed)), header


def quoted(name: str) -> str:
  """A file's name in ASCII without spaces, whatever bytes it has."""
  return urllib.parse.quote_from_bytes(os.fsencode(name))


def unquoted(name: str) -> str:
  """The name that was `quoted`."""
  return os.fsdecode(urllib.parse.unquote_to_bytes(name))
