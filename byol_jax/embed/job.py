"""What the command does: features first, or those that are there, then the drawings."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
from absl import logging
from matplotlib.figure import Figure

from byol_jax import atlas, commands, disk, nearest, parallel
from byol_jax.data.folder import FolderDataset
from byol_jax.data.sources import Source
from byol_jax.disk import absolute
from byol_jax.embed import drawings, files, images
from byol_jax.embed.files import Features
from byol_jax.embed.writing import write_features
from byol_jax.errors import UserError, check_positive
from byol_jax.pretrained import Encoder, load_encoder


class Options(NamedTuple):
  """The flags of the command; see `python -m byol_jax.embed --help`."""

  encoder: str | None = None
  which: str | None = None
  images: str | None = None
  data_dir: str | None = None
  split: str | None = None
  out: str | None = None
  features: str | None = None
  batch_size: int = 256
  neighbours: str | None = None
  k: int = 10
  duplicates: float | None = None
  map: str | None = None


def run(options: Options) -> None:
  """Makes features, or takes those that are there, and draws what is wanted.

  Raises:
    UserError: something is missing, of another kind, or there already.
  """
  if bool(options.out) == bool(options.features):
    raise UserError(
      "give either --out=features.npz, to make features, or --features=features.npz, to"
      " draw from those that are there"
    )
  drawn = _drawn(options)
  if options.out:
    _write(options)
  elif not drawn:
    raise UserError("say what to draw: --map, --duplicates or --neighbours=IMAGE")
  if drawn:
    _draw(options, files.read_features(_path(options)), drawn)


def _path(options: Options) -> Path:
  return absolute(options.out or options.features or "")


def _drawn(options: Options) -> dict[str, Path]:
  """The files that are to be drawn; what would stop them is found before all work."""
  wanted = (options.map, options.duplicates, options.neighbours)
  if jax.process_count() > 1 and wanted != (None, None, None):
    raise UserError("several hosts make features alone: draw on one, with --features")
  stem = _path(options).with_suffix("")
  found = {}
  if options.map is not None:
    atlas.check_method(options.map)
    found["map"] = Path(f"{stem}.map-{options.map}.png")
  if options.duplicates is not None:
    nearest.check_threshold(options.duplicates)
    found["duplicates"] = Path(f"{stem}.duplicates-{options.duplicates}.tsv")
  if options.neighbours is not None:
    check_positive("k", options.k)
    images.queries(options.neighbours)
    query = Path(os.path.abspath(options.neighbours)).stem
    found["neighbours"] = Path(f"{stem}.neighbours-{query}.png")
  for path in found.values():
    if os.path.lexists(path):
      raise UserError(f"{path} is there already: move it, or delete it")
  return found


def _write(options: Options) -> None:
  if not (options.encoder and options.images):
    raise UserError("name the encoder, --encoder=RUN, and the images, --images=FOLDER")
  path = Path(
    parallel.value_from_first_host(lambda: str(files.check_place(_path(options))))
  )
  check_positive("batch_size", options.batch_size)
  encoder = load_encoder(options.encoder, options.which or "newest")
  name, data_dir = images.find(options.images, options.data_dir)
  dataset = images.open_found(name, data_dir)
  if isinstance(dataset, FolderDataset):
    dataset.check_outside(path, "--out")
  inside = ", ".join(f"{split} {size}" for split, size in dataset.sizes.items())
  kind = "folder" if isinstance(dataset, FolderDataset) else "data set"
  logging.info("images: the %s %s (%s)", kind, dataset.name, inside)
  logging.info(
    "the encoder is that of %s at step %d (SHA-256 %s)",
    *(options.encoder, encoder.step, encoder.checksum[:12]),
  )
  about = write_features(
    encoder,
    dataset,
    path,
    split=options.split,
    batch_size=options.batch_size,
    notes={
      "run": str(absolute(options.encoder)),
      "data": {"name": name, "data_dir": data_dir and str(absolute(data_dir))},
    },
  )
  if parallel.is_first_host():
    left_out = len(about["left_out"])
    commands.say(
      f"{path}: {about['images']['count']} images, {encoder.features} features each"
      + (f"; {left_out} could not be read and are left out" if left_out else ""),
      path,
    )


def _draw(options: Options, found: Features, drawn: Mapping[str, Path]) -> None:
  if options.duplicates is not None:
    with _new(drawn["duplicates"]) as path:
      count = drawings.duplicates(found, options.duplicates, path)
    commands.say(f"{drawn['duplicates']}: {count} pairs", drawn["duplicates"])
  if options.map is not None:
    figure = drawings.draw_map(found, _source(options, found), options.map)
    _save(figure, drawn["map"])
  if options.neighbours is not None:
    encoder = _encoder(options, found)
    queries = images.queries(options.neighbours, encoder.description.image.channels)
    figure = drawings.neighbours(
      found, _source(options, found), encoder, queries, options.k
    )
    _save(figure, drawn["neighbours"])


def _source(options: Options, found: Features) -> Source:
  """The images that features are of: as the file says, or where they are now."""
  data = found.provenance.get("data")
  if options.images:
    name, data_dir = images.find(options.images, options.data_dir)
  elif data:
    name, data_dir = data["name"], data["data_dir"]
  else:
    raise UserError("the features do not say where their images are: give --images")
  about = found.provenance["images"]
  split = options.split or about["split"]
  try:
    dataset = images.open_found(name, data_dir)
    source = dataset.split(split)
  except UserError as error:
    if options.images:
      raise
    raise UserError(
      f"{error}; if the images have moved, say where by --images"
    ) from error
  # Numbers are those of images in all splits of all sets.
  has_numbers = all(map(str.isdecimal, found.path.tolist()))
  if has_numbers and (dataset.name, split) != (about.get("set"), about["split"]):
    raise UserError(
      f"the features are of {about.get('set')}, {about['split']}, whose images have"
      " numbers alone: name these by --images and --split"
    )
  return source


def _encoder(options: Options, found: Features) -> Encoder:
  """The encoder that features are of: as the file says, or where it is now."""
  path = options.encoder or found.provenance.get("run")
  if not path:
    raise UserError("the features do not say what encoder made them: give --encoder")
  about = found.provenance["encoder"]
  encoder = load_encoder(path, options.which or about["step"])
  if f"sha256:{encoder.checksum}" != about["checksum"]:
    raise UserError(
      f"{path} is not the encoder that made the features, of step {about['step']}: name"
      " that one by --encoder"
    )
  return encoder


@contextlib.contextmanager
def _new(path: Path) -> Iterator[Path]:
  """A path to write to, which takes its name at the end."""
  unfinished = disk.cleared(path.with_name(f"{path.name}.tmp"))
  try:
    yield unfinished
    unfinished.replace(path)
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror or error}") from error
  finally:
    unfinished.unlink(missing_ok=True)


def _save(figure: Figure, path: Path) -> None:
  with _new(path) as unfinished, warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Glyph")  # a letter that the font does not have
    figure.savefig(unfinished, format="png")
  commands.say(path, path)
