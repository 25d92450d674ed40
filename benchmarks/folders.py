"""Times what a folder of images costs, beside plain OpenCV and the set prepared of it.

  python -m benchmarks.folders --images=../shared/imagenet_samples

Two folders: the JPEGs as they are, and photographs of 12 megapixels made of some of
them, in a temporary folder: enlarged to 4032 x 3024 (bicubic), with Gaussian noise of
standard deviation 5 added to each channel of each pixel, as JPEG of quality 95.

  OpenCV     the whole image is decoded and converted to RGB, then cropped
  tuned      the same, where malloc keeps memory as it does in training
  folder     byol_jax.data.folder, which decodes at the size that the crops need
  prepared   the set of `byol_jax.data.prepare --folder=FOLDER --side=320`

All crop and flip by the same numbers, both views of BYOL, and take turns (see `turns`),
each in a process of one thread. What counts are the seconds that a process computes:
others on the machine matter less. The files are in the memory of the system.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks import jpegs, tables, turns
from byol_jax import commands

SIZES = (64, 128, 224)
SIDE = 320  # of the prepared set

_LARGE = 40  # photographs
_WIDTH, _HEIGHT = 4032, 3024
_NOISE = 5
_QUALITY = 95
_BATCH = 20
_SEED = 0


def make_photographs(folder: str, target: str) -> None:
  """Writes photographs as a camera might, from JPEGs spread over a folder."""
  import cv2

  paths = jpegs.files(folder)
  draws = np.random.default_rng(_SEED)
  for place in np.linspace(0, len(paths) - 1, _LARGE).astype(int).tolist():
    image: Any = cv2.imread(str(paths[place]))
    image = cv2.resize(image, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
    image = image + _NOISE * draws.standard_normal(image.shape, np.float32)
    pixels = np.round(image).clip(0, 255).astype(np.uint8)
    file = str(Path(target, f"{paths[place].stem}.jpg"))
    cv2.imwrite(file, pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


def prepare_plain(folder: str, size: int, tuned: bool) -> turns.Prepared:
  """OpenCV and nothing else: the crops of `train_chunk`, in its order."""
  import cv2

  from byol_jax.data import batches, crops, datasets
  from byol_jax.run import host

  if tuned:
    host.tune()
  cv2.setNumThreads(0)
  source: Any = datasets.open_dataset("folder", folder).split("train")
  views, count = jpegs.views(), len(source)
  uniforms = [batches.crop_uniforms(_SEED, v, 0, count) for v in range(len(views))]
  order = batches.permutation(_SEED, 0, count).tolist()

  def load(places: Sequence[int]) -> np.ndarray:
    cropped = np.empty((len(views), len(places), size, size, 3), np.uint8)
    for i, place in enumerate(places):
      path = str(Path(folder, source.name(order[place])))
      image: Any = cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
      image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
      for v, view in enumerate(views):
        draw = uniforms[v][place]
        cropped[v, i] = crops.random_crop_flip(image, draw, size, view)
    return cropped

  def run() -> None:
    for start in range(0, count, _BATCH):
      load(range(start, min(start + _BATCH, count)))

  return {"images": count}, run


def prepare_ours(name: str, data_dir: str, size: int) -> turns.Prepared:
  """What a thread of `train_batches` does."""
  from byol_jax.data import batches, datasets
  from byol_jax.run import host

  host.tune()
  source = datasets.open_dataset(name, data_dir).split("train")
  count, views = len(source), jpegs.views()
  settings: dict[str, Any] = {"batch_size": count, "size": size, "seed": _SEED}

  def run() -> None:
    for start in range(0, count, _BATCH):
      places = np.arange(start, min(start + _BATCH, count))
      batches.train_chunk(0, places, source=source, views=views, **settings)

  return {"images": count}, run


def _row(folder: str, prepared: str, size: int, rounds: int) -> list[str]:
  """Images a second of each, and how many times as fast as plain OpenCV ours are."""
  plain = {"folder": folder, "size": size}
  settings: dict[str, tuple[Any, dict[str, Any]]] = {
    "OpenCV": (prepare_plain, plain | {"tuned": False}),
    "tuned": (prepare_plain, plain | {"tuned": True}),
    "folder": (prepare_ours, {"name": "folder", "data_dir": folder, "size": size}),
    "prepared": (prepare_ours, {"name": "of", "data_dir": prepared, "size": size}),
  }
  contestants = {
    name: turns.Contestant(prepare, given, clock=time.process_time)
    for name, (prepare, given) in settings.items()
  }
  found = turns.take_turns(contestants, rounds, warm_up=1)
  cells = []
  for name, timing in found.items():
    speed = f"{timing.facts['images'] / timing.median:.1f}"
    cells.append(tables.with_spread(speed, timing.spread))
    if name in ("folder", "prepared"):
      cells.append(f"{found['OpenCV'].ratio(timing):.2f}")
  return cells


def main(images: str, rounds: int) -> None:
  """Prints the table.

  Args:
    images: folder of JPEGs.
    rounds: how many times each is timed.
  """
  from byol_jax.data import prepare_folder

  with tempfile.TemporaryDirectory() as temporary:
    large = Path(temporary, "large")
    large.mkdir()
    make_photographs(images, str(large))
    sizes = [path.stat().st_size / 1e6 for path in large.iterdir()]
    print(
      f"{len(sizes)} photographs of {statistics.mean(sizes):.1f} MB in the mean"
      f" ({min(sizes):.1f} to {max(sizes):.1f}); images a second and core:\n"
    )
    times = "times OpenCV"
    tables.head(("images", "px", "OpenCV", "tuned", "folder", times, "prepared", times))
    for name, folder in (("as they are", images), ("12 megapixels", str(large))):
      prepared = str(Path(temporary, f"{Path(folder).name}_prepared"))
      prepare_folder.prepare(folder, prepared, SIDE, "of")
      for size in SIZES:
        tables.row((name, size, *_row(folder, prepared, size, rounds)))


if __name__ == "__main__":
  IMAGES = flags.DEFINE_string("images", None, "Folder of JPEGs.", required=True)
  ROUNDS = flags.DEFINE_integer("rounds", 5, "Times that each is timed.", lower_bound=2)
  commands.run(lambda: main(IMAGES.value, ROUNDS.value), sys.argv)
