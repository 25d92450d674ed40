"""Times what a folder of images costs, beside plain OpenCV and the set prepared of it.

  python -m benchmarks.folders --images=../shared/imagenet_samples

Two folders: the JPEGs as they are, and photographs of 12 megapixels made of some of
them, in a temporary folder: enlarged to 4032 x 3024 (bicubic), Gaussian noise of
standard deviation 5 added to each channel of each pixel, as JPEG of quality 95.

  OpenCV     the whole image is decoded and converted to RGB, then cropped
  folder     byol_jax.data.folder, which decodes at the size that the crops need
  prepared   the set of `byol_jax.data.prepare --folder --side=320`

All three crop and flip by the same numbers, both views of BYOL, and take turns on one
core, in one process that is tuned as for training. What counts is the time that this
process computes, so that others on the machine matter less; files are in memory.
"""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import jpegs, tables

SIZES = (64, 128, 224)
SIDE = 320  # of the prepared set

_LARGE = 40  # photographs
_WIDTH, _HEIGHT = 4032, 3024
_NOISE = 5
_QUALITY = 95
_BATCH = 20
_SEED = 0


def make_photographs(folder: str, target: str) -> None:
  """Writes photographs as a camera might, from images spread over a folder."""
  import cv2

  paths = sorted(Path(folder).iterdir())
  draws = np.random.default_rng(_SEED)
  for place in np.linspace(0, len(paths) - 1, _LARGE).astype(int).tolist():
    image: Any = cv2.imread(str(paths[place]))
    image = cv2.resize(image, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
    image = image + _NOISE * draws.standard_normal(image.shape, np.float32)
    pixels = np.round(image).clip(0, 255).astype(np.uint8)
    file = str(Path(target, f"{paths[place].stem}.jpg"))
    cv2.imwrite(file, pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


def _plain(source: Any, size: int, positions: np.ndarray) -> None:
  """OpenCV and nothing else: the crops of `train_chunk`, in its order."""
  import cv2

  from byol_jax.data import batches, crops

  first, count = int(positions[0]), len(positions)
  views = jpegs.views()
  uniforms = [batches.crop_uniforms(_SEED, v, first, count) for v in range(len(views))]
  order = batches.permutation(_SEED, 0, len(source))
  cropped = np.empty((len(views), count, size, size, 3), np.uint8)
  for i, index in enumerate(order[positions].tolist()):
    path = str(Path(source.root, source.paths[index]))
    image: Any = cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    for v, view in enumerate(views):
      cropped[v, i] = crops.random_crop_flip(image, uniforms[v][i], size, view)


def _ours(source: Any, size: int, positions: np.ndarray) -> None:
  """What a thread of `train_batches` does."""
  from byol_jax.data import batches

  batches.train_chunk(
    0,
    positions,
    batch_size=len(source),
    source=source,
    views=jpegs.views(),
    size=size,
    seed=_SEED,
  )


Contestant = Callable[[np.ndarray], None]


def _contestants(folder: str, prepared: str, size: int) -> tuple[int, list[Contestant]]:
  """The number of images, and the three."""
  from byol_jax.data import datasets
  from byol_jax.data import folder as folders

  source = folders.open_dataset(folder).split("train")
  records = datasets.open_dataset("prepared", prepared).split("train")
  return len(source), [
    functools.partial(_plain, source, size),
    functools.partial(_ours, source, size),
    functools.partial(_ours, records, size),
  ]


def _seconds(contestants: list[Contestant], count: int) -> Iterator[list[float]]:
  """What each takes for each batch, its first ones left out."""
  starts = range(0, count, _BATCH)
  for start in (starts[0], *starts):
    positions = np.arange(start, min(start + _BATCH, count))
    taken = []
    for contestant in contestants:
      before = time.process_time()
      contestant(positions)
      taken.append((time.process_time() - before) / len(positions))
    yield taken


def _row(name: str, folder: str, prepared: str, size: int, rounds: int) -> None:
  count, contestants = _contestants(folder, prepared, size)
  taken = [
    [statistics.mean(one) for one in zip(*_seconds(contestants, count), strict=True)]
    for _ in range(1 + rounds)
  ][1:]
  plain, *ours = (list(one) for one in zip(*taken, strict=True))
  cells = [name, size, f"{1 / statistics.median(plain):.1f}"]
  for seconds in ours:
    ratio = statistics.median(a / b for a, b in zip(plain, seconds, strict=True))
    cells += [f"{1 / statistics.median(seconds):.1f}", f"{ratio:.2f}"]
  tables.row(cells)


def main(images: str, rounds: int) -> None:
  """Prints the table.

  Args:
    images: folder of JPEGs.
    rounds: how many times each is timed.
  """
  jpegs.pin()
  from byol_jax.run import host

  host.tune()
  from byol_jax.data import prepare_folder

  with tempfile.TemporaryDirectory() as temporary:
    large = Path(temporary, "large")
    large.mkdir()
    make_photographs(images, str(large))
    bytes_ = [path.stat().st_size for path in large.iterdir()]
    mean, low, high = (f(bytes_) / 1e6 for f in (statistics.mean, min, max))
    print(f"Photographs: {len(bytes_)}, {mean:.1f} MB ({low:.1f} to {high:.1f})\n")
    tables.head(
      ("images", "crop, px", "OpenCV", "folder", "faster by", "prepared", "faster by")
    )
    for name, folder in ((Path(images).name, images), ("12 megapixels", str(large))):
      prepared = str(Path(temporary, f"{Path(folder).name}_prepared"))
      prepare_folder.prepare(folder, prepared, SIDE, "prepared")
      for size in SIZES:
        _row(name, folder, prepared, size, rounds)


if __name__ == "__main__":
  IMAGES = flags.DEFINE_string("images", None, "Folder of JPEGs.", required=True)
  ROUNDS = flags.DEFINE_integer("rounds", 5, "Times that each is timed.", lower_bound=2)
  app.run(lambda _: main(IMAGES.value, ROUNDS.value))
