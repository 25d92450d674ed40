"""What is drawn of a file of features: nearest images, near-duplicates, a map."""

import csv
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging
from matplotlib.figure import Figure

from byol_jax import atlas, nearest, parallel
from byol_jax.data.folder import FolderSource
from byol_jax.data.sources import Source
from byol_jax.embed.files import Features
from byol_jax.errors import UserError
from byol_jax.features import of_encoder
from byol_jax.pretrained import Encoder

MOST_ROWS = 50  # of a sheet


def neighbours(
  features: Features,
  source: Source,
  encoder: Encoder,
  queries: FolderSource,
  k: int,
) -> Figure:
  """Draws the k images nearest to each query, of at most `MOST_ROWS` queries.

  A query that is one of the images itself is no neighbour of itself.

  Args:
    features: of the images.
    source: the images.
    encoder: that made the features.
    queries: what is looked for.
    k: neighbours of each.

  Raises:
    UserError: there are not so many images, or an image is gone.
  """
  if len(queries) > MOST_ROWS:
    logging.info("drawn: %d of the %d images", MOST_ROWS, len(queries))
    queries = dataclasses.replace(queries, paths=queries.paths[:MOST_ROWS])
  batch_size = parallel.device_multiple(len(queries))
  found = of_encoder(encoder, queries, batch_size)
  if not len(shown := found["index"]):
    raise UserError(f"none of the images in {queries.root} can be read")
  names = [queries.name(i) for i in shown]
  itself = _places_in(features, source, [os.path.join(queries.root, n) for n in names])
  index, similarity = nearest.neighbours(
    features.embedding,
    found["embedding"],
    k,
    itself if (itself >= 0).any() else None,
  )
  images = thumbnails(features, source, index.ravel())
  return atlas.draw_neighbours(
    atlas.thumbnails(queries, shown),
    images.reshape(*index.shape, *images.shape[1:]),
    similarity,
    names,
    f"{k} nearest of {len(features.path)} images, by cosine",
  )


def _places_in(features: Features, source: Source, paths: Sequence[str]) -> np.ndarray:
  """Where files, or those that they are links to, are among the images; or -1."""
  if not isinstance(source, FolderSource):
    return np.full(len(paths), -1)
  rows = {name: row for row, name in enumerate(features.path.tolist())}
  root, real_root = source.root, os.path.realpath(source.root)

  def place(path: str) -> int:
    real = os.path.relpath(os.path.realpath(path), real_root)
    return rows.get(os.path.relpath(path, root), rows.get(real, -1))

  return np.array([place(path) for path in paths])


def duplicates(features: Features, threshold: float, path: Path) -> int:
  """Writes pairs of similar images, a line each, most similar first.

  The columns are similarity, path and path, with tabs between them. A name with a tab,
  a quote or a line's end in it is in quotes, as in CSV. Names that are no UTF-8 are
  written byte by byte.

  Returns:
    How many there are.
  """
  pairs, similarities = nearest.duplicates(features.embedding, threshold)
  with path.open("w", newline="", errors="surrogateescape") as file:
    lines = csv.writer(file, "excel-tab", lineterminator="\n")
    lines.writerow(["similarity", "first", "second"])
    for (one, other), similarity in zip(pairs, similarities, strict=True):
      names = features.path[one], features.path[other]
      lines.writerow([f"{similarity:.6f}", *names])
  return len(pairs)


def draw_map(features: Features, source: Source, method: str) -> Figure:
  """Draws a map of the embedding; see `atlas.project` for the methods."""
  nearest.check(features.embedding)
  logging.info("mapping %d images by %s", len(features.path), method)
  cells = atlas.layout(atlas.project(features.embedding, method))
  shown = cells[cells >= 0]
  labels = features.label[shown] if (features.label >= 0).any() else None
  return atlas.draw_map(
    cells,
    thumbnails(features, source, shown),
    labels,
    features.class_names,
    f"{len(shown)} of {len(features.path)} images, {method}",
  )


def thumbnails(features: Features, source: Source, rows: np.ndarray) -> np.ndarray:
  """Thumbnails of some rows of a file of features.

  Raises:
    UserError: an image is not among those of the source.
  """
  places = {source.name(i): i for i in range(len(source))}
  names = features.path[rows].tolist()
  if gone := [name for name in names if name not in places]:
    raise UserError(
      f"{gone[0]} of the features is not among these images: name the folder that they"
      " were made of by --images"
    )
  return atlas.thumbnails(source, [places[name] for name in names])
