"""Times the input beside what others do, on a folder of JPEGs.

  python -m benchmarks.input --images=../shared/imagenet_samples
  python -m benchmarks.input --images=FOLDER --only=crops --only=colour

  crops      decoding and two random 224 px crops with flips, on one core
  colour     colour and blur on the device, on one core of a CPU (`benchmarks.colour`)
  pipeline   the first through batches, on all cores
  fed        how long a step of ResNet-50 waits for its images (`benchmarks.fed`)

Contestants take turns (see `turns`), each core-bound one on the same core, and all
of them crop and flip by the same numbers. One whose package is not installed is
left out.
"""

import functools
import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from benchmarks import colour, jpegs, tables, turns
from byol_jax import commands

TABLES = ("crops", "colour", "pipeline", "fed")

_SIZE = 224
_BATCH = 25
_STREAM = 3000  # images a turn where some are loaded ahead: at most 4% of these
_SAMPLE = 16  # images whose crops are compared
_SEED = 0


class Item(NamedTuple):
  """An encoded image, and the two crops that are wanted of it."""

  encoded: bytes
  patches: tuple[tuple[slice, slice], ...]  # rows and columns
  flips: tuple[bool, ...]


def _items(folder: str) -> list[Item]:
  """The images and crops of our first epoch, in its order."""
  from byol_jax.data import batches, crops

  source, views = jpegs.source(folder), jpegs.views()
  count = len(source)
  uniforms = [batches.crop_uniforms(_SEED, v, 0, count) for v in range(len(views))]
  items = []
  for place, index in enumerate(batches.permutation(_SEED, 0, count)):
    image, _ = source[int(index)]
    height, width = image.shape[:2]
    pairs = [(u[place], view) for u, view in zip(uniforms, views, strict=True)]
    patches = (crops.random_patch(height, width, *pair) for pair in pairs)
    flips = (bool(u[4] < view.flip) for u, view in pairs)
    items.append(Item(source.records[index]["image"], tuple(patches), tuple(flips)))
  return items


# Decoding and cropping, image by image.


def _opencv_crops(image: np.ndarray, item: Item) -> Iterator[np.ndarray]:
  import cv2

  for patch, flip in zip(item.patches, item.flips, strict=True):
    crop = cv2.resize(image[patch], (_SIZE, _SIZE), interpolation=cv2.INTER_CUBIC)
    yield cv2.flip(crop, 1) if flip else crop


def _opencv(item: Item) -> Iterable[np.ndarray]:
  import cv2

  pixels = np.frombuffer(item.encoded, np.uint8)
  image: Any = cv2.imdecode(pixels, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
  return _opencv_crops(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), item)


def _simplejpeg(item: Item) -> Iterable[np.ndarray]:
  import simplejpeg

  return _opencv_crops(simplejpeg.decode_jpeg(item.encoded, "RGB"), item)


def _pillow(item: Item) -> Iterable[np.ndarray]:
  """As in torchvision, whose resizing antialiases."""
  import PIL.Image

  image = PIL.Image.open(io.BytesIO(item.encoded)).convert("RGB")
  for (rows, columns), flip in zip(item.patches, item.flips, strict=True):
    crop = image.crop((columns.start, rows.start, columns.stop, rows.stop))
    crop = crop.resize((_SIZE, _SIZE), PIL.Image.Resampling.BICUBIC)
    if flip:
      crop = crop.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    yield np.asarray(crop)


def _decoding(item: Item) -> Iterable[np.ndarray]:
  """All pixels and no crop: what is left to gain is in these seconds."""
  import simplejpeg

  simplejpeg.decode_jpeg(item.encoded, "RGB")
  return ()


LOADERS = {
  "opencv": _opencv,
  "simplejpeg": _simplejpeg,
  "decoding": _decoding,
  "pillow": _pillow,
}


def prepare_loader(folder: str, loader: str) -> turns.Prepared:
  """A Python function an image, into one array a batch."""
  jpegs.pin()
  import cv2

  cv2.setNumThreads(0)
  load, items = LOADERS[loader], _items(folder)

  def batch(part: Sequence[Item]) -> np.ndarray:
    crops = np.empty((2, len(part), _SIZE, _SIZE, 3), np.uint8)
    for i, item in enumerate(part):
      for v, crop in enumerate(load(item)):
        crops[v, i] = crop
    return crops

  def run() -> None:
    for start in range(0, len(items), _BATCH):
      batch(items[start : start + _BATCH])

  return {"images": len(items), "sample": batch(items[:_SAMPLE])}, run


def prepare_ours(folder: str) -> turns.Prepared:
  """What a thread of `train_batches` does, in a process tuned as for training."""
  jpegs.pin()
  from byol_jax.data import batches
  from byol_jax.run import host

  host.tune()
  source = jpegs.source(folder)
  count = len(source)
  load = functools.partial(
    batches.train_chunk,
    batch_size=count,
    source=source,
    views=jpegs.views(),
    size=_SIZE,
    seed=_SEED,
  )

  def run() -> None:
    for start in range(0, count, _BATCH):
      load(0, np.arange(start, min(start + _BATCH, count)))

  first = load(0, np.arange(_SAMPLE))
  sample = np.stack([first["view1"], first["view2"]])
  return {"images": count, "sample": sample}, run


def prepare_tensorflow(folder: str, once: bool) -> turns.Prepared:
  """tf.data; where not `once`, as the reference decodes: the crop of each view."""
  jpegs.pin()
  import tensorflow as tf

  items = _items(folder)
  windows = [
    [(r.start, c.start, r.stop - r.start, c.stop - c.start) for r, c in item.patches]
    for item in items
  ]

  def load(encoded: Any, windows: Any, flips: Any) -> list[Any]:
    image = tf.io.decode_jpeg(encoded, channels=3) if once else None
    crops = []
    for v in range(2):
      if image is not None:
        top, left, height, width = tf.unstack(windows[v])
        crop = image[top : top + height, left : left + width]
      else:
        crop = tf.image.decode_and_crop_jpeg(encoded, windows[v], channels=3)
      crop = tf.image.resize(crop, [_SIZE, _SIZE], tf.image.ResizeMethod.BICUBIC)
      crop = tf.clip_by_value(crop / 255, 0, 1)
      crops.append(tf.cond(flips[v], lambda c=crop: c[:, ::-1], lambda c=crop: c))
    return crops

  tensors = ([i.encoded for i in items], windows, [i.flips for i in items])
  data = tf.data.Dataset.from_tensor_slices(tensors)
  data = data.map(load, tf.data.AUTOTUNE).batch(_BATCH).prefetch(tf.data.AUTOTUNE)

  def run() -> None:
    for _ in data:
      pass

  sample = np.stack([crops.numpy()[:_SAMPLE] for crops in next(iter(data))])
  return {"images": len(items), "sample": 255 * sample}, run


def crops_table(folder: str, rounds: int) -> None:
  """Decoding and cropping on one core."""
  loaders = {
    "simplejpeg, OpenCV bicubic": ("simplejpeg", "simplejpeg"),
    "simplejpeg, no crops": ("simplejpeg", "decoding"),
    "OpenCV, bicubic": ("cv2", "opencv"),
    "Pillow, as in torchvision": ("PIL", "pillow"),
  }
  contestants = {"ours": turns.Contestant(prepare_ours, {"folder": folder})}
  for name, (package, loader) in loaders.items():
    if _installed(name, package):
      settings = {"folder": folder, "loader": loader}
      contestants[name] = turns.Contestant(prepare_loader, settings)
  quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
  for name, once in (
    ("tf.data, decode_and_crop_jpeg once a view", False),
    ("tf.data, decode_jpeg once", True),
  ):
    if _installed(name, "tensorflow"):
      choice = {"folder": folder, "once": once}
      contestants[name] = turns.Contestant(prepare_tensorflow, choice, quiet)
  found = turns.take_turns(contestants, rounds)
  sample = found["ours"].facts["sample"].astype(np.float32)
  difference = {
    name: f"{np.abs(timing.facts['sample'] - sample).mean():.2f}"
    for name, timing in found.items()
  }
  if "simplejpeg, no crops" in difference:
    difference["simplejpeg, no crops"] = ""
  print(f"Decoding, two crops of {_SIZE} px and flips, on one core:\n")
  images = {name: timing.facts["images"] for name, timing in found.items()}
  _show(found, images, "images/s", {"difference of pixels, of 255": difference})


# Batches on all cores.


def _load_for_grain(item: Item) -> dict[str, Any]:
  crops = [np.ascontiguousarray(crop) for crop in _opencv(item)]
  return {"view1": crops[0], "view2": crops[1], "label": np.int32(0)}


def _mark_flags_as_parsed() -> None:
  """Grain reads absl's flags, which only the first process parses."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


def _stream(iterator: Iterator[Any]) -> turns.Prepared:
  next(iterator)

  def run() -> None:
    for _ in range(_STREAM // _BATCH):
      next(iterator)

  return {}, run


def prepare_grain(folder: str) -> turns.Prepared:
  """Grain with a worker process a core, as one would write it with OpenCV."""
  import cv2
  import grain

  _mark_flags_as_parsed()
  cv2.setNumThreads(0)
  data = grain.MapDataset.source(_items(folder)).shuffle(_SEED).repeat()
  data = data.map(_load_for_grain).to_iter_dataset(grain.ReadOptions(1, _BATCH))
  data = data.batch(_BATCH)
  workers = grain.MultiprocessingOptions(os.cpu_count() or 1)
  return _stream(iter(data.mp_prefetch(workers)))


def prepare_batches(folder: str, workers: int) -> turns.Prepared:
  """Ours: `train_batches`."""
  from byol_jax.data import batches

  endless = 1_000_000
  return _stream(
    batches.train_batches(
      jpegs.source(folder),
      jpegs.views(),
      size=_SIZE,
      batch_size=_BATCH,
      seed=_SEED,
      steps=range(endless),
      workers=workers,
    )
  )


def pipeline_table(folder: str, rounds: int) -> None:
  """Batches on all cores, and what that says about the hosts of a pod."""
  cores = os.cpu_count() or 1
  contestants = {
    name: turns.Contestant(prepare_batches, {"folder": folder, "workers": workers})
    for name, workers in (("ours", 0), (f"ours, {cores} worker processes", cores))
  }
  name = f"Grain, OpenCV, {cores} worker processes"
  contestants[name] = turns.Contestant(prepare_grain, {"folder": folder})
  found = turns.take_turns(contestants, rounds)
  images = dict.fromkeys(found, _STREAM)
  a_core = {n: f"{_STREAM / t.median / cores:.0f}" for n, t in found.items()}
  print(f"Batches of two crops of {_SIZE} px, on {cores} cores:\n")
  _show(found, images, "images/s", {"images/s a core": a_core})


# A step that is fed.


def fed_table(folder: str) -> None:
  """ResNet-50's step on these images, in a process that is set up as for training."""
  print("ResNet-50, 224 px, batch 8, on all cores:\n", flush=True)
  command = [sys.executable, "-m", "benchmarks.fed", f"--images={folder}"]
  if failed := subprocess.run(command).returncode:  # and has said why
    sys.exit(failed)


# What is printed.


def _installed(name: str, package: str) -> bool:
  found = importlib.util.find_spec(package) is not None
  if not found:
    print(f"{name}: left out, {package} is not installed.\n")
  return found


def _show(
  found: Mapping[str, turns.Timing],
  images: Mapping[str, int],
  unit: str,
  further: Mapping[str, Mapping[str, str]],
) -> None:
  """A table of speeds, and how many times as fast as each the first is."""
  tables.head(("", unit, "ours is faster by", *further))
  for name, timing in found.items():
    speed = tables.with_spread(f"{images[name] / timing.median:.0f}", timing.spread)
    ratio = f"{timing.ratio(found['ours']):.2f}"
    tables.row((name, speed, ratio, *(column[name] for column in further.values())))
  print()


def main(folder: str, only: Sequence[str], rounds: int) -> None:
  """Prints the tables that are asked for.

  Args:
    folder: with the JPEGs.
    only: names of tables, of `TABLES`.
    rounds: how many times each contestant is timed.

  Raises:
    UserError: see `jpegs.files`.
  """
  jpegs.files(folder)
  printers = {
    "crops": lambda: crops_table(folder, rounds),
    "colour": lambda: colour.table(folder, rounds),
    "pipeline": lambda: pipeline_table(folder, rounds),
    "fed": lambda: fed_table(folder),
  }
  for name in TABLES:
    if name in only:
      printers[name]()


if __name__ == "__main__":
  IMAGES = flags.DEFINE_string("images", None, "Folder of JPEGs.", required=True)
  ONLY = flags.DEFINE_multi_enum("only", TABLES, TABLES, "Tables to print.")
  ROUNDS = flags.DEFINE_integer(
    "rounds", 10, "Times that each is timed.", lower_bound=2
  )
  commands.run(lambda: main(IMAGES.value, ONLY.value, ROUNDS.value), sys.argv)
