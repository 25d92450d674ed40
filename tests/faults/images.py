"""Mutated image files: each is pixels of the size that it says, or named unreadable.

Each is read in both ways: as a file of a user's folder, and as an image of a
TFDS set.
"""

import functools
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from byol_jax.data import formats, images
from byol_jax.data.folder import FolderSource
from byol_jax.data.sources import Unreadable
from byol_jax.errors import UserError
from tests.faults import mutate, samples
from tests.faults.child import Child
from tests.faults.trial import Trial

SECONDS = 10.0
# Of a file of a few thousand bytes: its pixels, with four bytes each, and their copy in
# another form.
MIB = 2 * 4 * images.MAX_PIXELS / 2**20


def trials(count: int, seed: int, folder: Path) -> Iterator[Trial]:
  """Mutates one file after another."""
  originals = samples.image_files()
  rng = random.Random(seed)
  with Child(read, SECONDS, MIB) as child:
    for number in range(count):
      name = rng.choice(sorted(originals))
      fields = samples.HEIGHT, samples.WIDTH
      content = mutate.mutated(rng, originals[name], fields)
      is_summed = name.endswith(".png")
      if is_summed and rng.random() < 0.7:
        content, is_summed = mutate.with_png_sums(content), False
      path = folder / name
      path.write_bytes(content)
      yield child.ask(f"{number} {name}", str(path), is_summed)


def read(path: str, is_summed: bool) -> str:
  """Reads a file in both ways.

  Args:
    path: of the file; its name is that of a sample.
    is_summed: whether it has checksums that are the sample's.

  Returns:
    What is wrong with the answers.
  """
  for reader in (_of_folder, _of_record):
    for channels in (1, 3, 4):
      wrong = ""
      try:
        image = reader(path, channels)
      except (Unreadable, UserError) as error:
        if not str(error) or "\n" in str(error):
          wrong = f"no reason of one line: {str(error)!r}"
      else:
        wrong = _implausible(image)
        if is_summed and not np.array_equal(image, _original(reader, path, channels)):
          wrong = "other pixels, in spite of checksums"
      if wrong:
        return f"{reader.__name__}, {channels} channels: {wrong}"
  return ""


def _of_folder(path: str, channels: int) -> np.ndarray:
  """As training on a folder does: the header first, then the pixels, also reduced."""
  header = formats.inspect(path)
  if header.channels not in (1, 3):
    channels = header.channels
  labels = np.zeros(1, np.int32)
  source = FolderSource("/", [path], [header], labels, (), channels)
  small, _ = source.reduced(0, lambda height, width: 4)
  image, _ = source[0]
  said = header.height, header.width, channels
  assert image.shape == said, f"{image.shape} where the header says {said}"
  assert small.shape <= said, f"{small.shape} is reduced from {said}"
  return image


def _of_record(path: str, channels: int) -> np.ndarray:
  """As an image of a TFDS set."""
  return images.decode(Path(path).read_bytes(), channels)


def _implausible(image: np.ndarray) -> str:
  if image.dtype != np.uint8 or image.ndim != 3 or not image.size:
    return f"{image.dtype}{list(image.shape)}"
  if image.shape[0] * image.shape[1] > images.MAX_PIXELS:
    return f"{image.shape} is more than is read"
  return ""


Reader = Callable[[str, int], np.ndarray]


def _original(reader: Reader, path: str, channels: int) -> np.ndarray:
  return _read_sample(reader, Path(path).name, channels)


@functools.cache
def _read_sample(reader: Reader, name: str, channels: int) -> np.ndarray:
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, name)
    path.write_bytes(samples.image_files()[name])
    return reader(str(path), channels)
