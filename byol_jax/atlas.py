"""Figures of an embedding: a map with thumbnails, and sheets of nearest images.

Images are uint8 [..., size, size, C], all of one size. Figures are saved
with `figure.savefig(path)`; a pixel of an image is then a pixel of the file.
"""

import contextlib
import functools
import importlib.util
import itertools
import math
from collections.abc import Sequence
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection

# Without pyplot, which would choose a backend and keep every figure.
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from byol_jax.data import crops, reduce
from byol_jax.data.sources import NO_LABEL, Source, Unreadable
from byol_jax.errors import UserError, no_such

_DPI = 100

# Borders of classes, told apart by lightness and dashes: without colours too.
_LIGHTNESS = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, 5))
_STYLES = [
  (colour, line)
  for line, colour in itertools.product(
    ("solid", "dashed", "dotted", "dashdot"), _LIGHTNESS
  )
]
MOST_CLASSES = len(_STYLES)

_GAP = 6  # pixels between thumbnails
_LINE, _LETTER = 16, 7  # pixels of a line of text and of a letter
_LEGEND = 160  # pixels of the width of a legend

_ROWS = 2**14  # embeddings whose covariance is summed at a time
_LEAST = 5  # images of which t-SNE and UMAP make a map


def thumbnails(
  source: Source, indices: Sequence[int] | np.ndarray, size: int = 64
) -> np.ndarray:
  """The central squares of some images, resized: uint8 [n, size, size, C].

  An image that can no longer be read is black.
  """
  scale_for = functools.partial(crops.central_scale, size=size, fraction=1.0)
  found = np.zeros((len(indices), size, size, source.channels), np.uint8)
  read = reduce.reader(source)
  for place, index in enumerate(indices):
    with contextlib.suppress(Unreadable):
      found[place] = thumbnail(read(int(index), scale_for)[0], size)
  return found


def thumbnail(image: np.ndarray, size: int) -> np.ndarray:
  """The central square of an image uint8 [H, W, C], resized: [size, size, C]."""
  square = crops.central_crop(image, min(image.shape[:2]), 1.0)
  # Means of areas where pixels become fewer, plain squares where they become more.
  how = cv2.INTER_AREA if len(square) > size else cv2.INTER_NEAREST
  resized = cv2.resize(square, (size, size), interpolation=how)
  return resized.reshape(size, size, -1)  # OpenCV drops a single channel


def project(embedding: np.ndarray, method: str = "pca") -> np.ndarray:
  """Projects an embedding [N, D] onto a plane: float32 [N, 2].

  Args:
    embedding: [N, D], finite, N above 0.
    method: "pca": the two directions of most variance. "tsne" (van der Maaten & Hinton
      2008, by scikit-learn) and "umap" (McInnes et al. 2018, by umap-learn): of
      embeddings scaled to length 1.

  Raises:
    UserError: see `check_method`; or there are too few images for it.
  """
  check_method(method)
  if method != "pca" and len(embedding) < _LEAST:
    raise UserError(
      f"{method} needs at least {_LEAST} images, and there are {len(embedding)}:"
      " choose pca"
    )
  return METHODS[method](embedding).astype(np.float32)


def check_method(method: str) -> None:
  """Raises UserError if there is no such method, or its package is not installed."""
  if method not in METHODS:
    raise no_such("map", method, METHODS)
  module, package = _PACKAGES.get(method, ("numpy", "numpy"))
  if importlib.util.find_spec(module) is None:
    raise UserError(f"{method} needs {package}: pip install {package}, or choose pca")


def _pca(embedding: np.ndarray) -> np.ndarray:
  mean = embedding.mean(0, dtype=np.float64)
  covariance = np.zeros((len(mean), len(mean)))
  for start in range(0, len(embedding), _ROWS):
    centred = embedding[start : start + _ROWS] - mean
    covariance += centred.T @ centred
  directions = np.linalg.eigh(covariance)[1][:, ::-1][:, :2]
  # A direction's sign is free: its largest part is positive.
  largest = np.abs(directions).argmax(0)
  directions = directions * np.sign(directions[largest, range(directions.shape[1])])
  points = np.zeros((len(embedding), 2))
  for start in range(0, len(embedding), _ROWS):  # a copy of all is more than memory has
    centred = embedding[start : start + _ROWS] - mean
    points[start : start + _ROWS, : directions.shape[1]] = centred @ directions
  return points


def _tsne(embedding: np.ndarray) -> np.ndarray:
  from sklearn.manifold import TSNE

  perplexity = min(30, (len(embedding) - 1) / 3)
  tsne = TSNE(perplexity=perplexity, init="pca", random_state=0)
  return tsne.fit_transform(_of_length_1(embedding))


def _umap(embedding: np.ndarray) -> np.ndarray:
  from umap import UMAP

  umap = UMAP(n_neighbors=min(15, len(embedding) - 1), random_state=0)
  return umap.fit_transform(_of_length_1(embedding))


METHODS = {"pca": _pca, "tsne": _tsne, "umap": _umap}
# Those that are not built in: what is imported, and what is installed for it.
_PACKAGES = {"tsne": ("sklearn", "scikit-learn"), "umap": ("umap", "umap-learn")}


def _of_length_1(embedding: np.ndarray) -> np.ndarray:
  lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
  return embedding / np.maximum(lengths, 1e-6)


def layout(points: np.ndarray, cells: int = 24) -> np.ndarray:
  """Which images a map shows: in each cell of a grid, the one nearest to its centre.

  Args:
    points: [N, 2], x to the right and y upwards; N above 0.
    cells: a side; fewer where there are few images.

  Returns:
    int [cells, cells], the first row on top: indices of images, -1 for an empty cell.
  """
  cells = min(cells, math.ceil(1.5 * math.sqrt(len(points))))
  low, span = points.min(0), np.ptp(points, axis=0)
  place = (points - low) / np.where(span > 0, span, 1) * cells
  place[:, span == 0] = cells / 2
  inside = np.minimum(place.astype(int), cells - 1)
  distance = np.square(place - (inside + 0.5)).sum(1)
  column, row = inside.T
  cell = (cells - 1 - row) * cells + column
  order = np.lexsort((distance, cell))
  filled, first = np.unique(cell[order], return_index=True)
  grid = np.full(cells * cells, -1)
  grid[filled] = order[first]
  return grid.reshape(cells, cells)


def draw_map(
  cells: np.ndarray,
  images: np.ndarray,
  labels: np.ndarray | None = None,
  class_names: Sequence[str] = (),
  title: str = "",
) -> Figure:
  """Draws a map of thumbnails, with the classes as borders.

  Args:
    cells: int [rows, columns] of `layout`.
    images: uint8 [M, s, s, C], those of the cells that are filled, row by row.
    labels: int [M], likewise, -1 for none. Borders are left out where there are more
      than `MOST_CLASSES` classes.
    class_names: by label; numbers are shown where there are none.
    title: above the map.
  """
  places = np.argwhere(cells >= 0)
  pitch = images.shape[1] + _GAP
  corners = places * pitch + _GAP
  height, width = np.array(cells.shape) * pitch + _GAP
  present = np.unique([] if labels is None else labels).astype(int)
  classes = present[present != NO_LABEL]
  if len(classes) > MOST_CLASSES:
    title += f" ({len(classes)} classes: too many for borders)"
    classes = classes[:0]
  canvas = _canvas(height, width, images, corners)
  figure, axis = _sheet(canvas, title, right=_LEGEND if len(classes) else 0)
  handles = []
  for label, (colour, style) in zip(classes, _STYLES, strict=False):
    line = {"edgecolor": colour, "linestyle": style, "linewidth": 2.5}
    boxes = [
      Rectangle((x - 1.5, y - 1.5), pitch - _GAP + 2, pitch - _GAP + 2)
      for y, x in corners[labels == label]
    ]
    axis.add_collection(PatchCollection(boxes, facecolor="none", **line))
    name = class_names[label] if label < len(class_names) else str(label)
    handles.append(Patch(facecolor="none", label=_shown(name, 16), **line))
  if handles:
    legend = axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1))
    for text in legend.get_texts():
      text.set_parse_math(False)
  return figure


def draw_neighbours(
  queries: np.ndarray,
  found: np.ndarray,
  similarities: np.ndarray,
  names: Sequence[str] = (),
  title: str = "",
) -> Figure:
  """Draws a sheet of nearest images: in each row a query, and what is nearest to it.

  Args:
    queries: uint8 [Q, s, s, C].
    found: uint8 [Q, k, s, s, C], the nearest first.
    similarities: [Q, k], shown above each.
    names: of the queries, shown above each row.
    title: above the sheet.
  """
  count, k, size = found.shape[:3]
  row, column = np.indices((count, k + 1))
  # The query stands a little apart.
  left = _GAP + column * (size + _GAP) + (column > 0) * 2 * _GAP
  top = row * (size + 2 * _LINE + _GAP) + 2 * _LINE
  images = np.concatenate([queries[:, None], found], axis=1)
  corners = np.stack([top, left], axis=-1)
  height, width = top.max() + size + _GAP, left.max() + size + _GAP
  canvas = _canvas(
    height, width, images.reshape(-1, *images.shape[2:]), corners.reshape(-1, 2)
  )
  figure, axis = _sheet(canvas, title)
  for i in range(count):
    for j in range(k):
      _write(axis, left[i, j + 1], top[i, 0] - 4, f"{similarities[i, j]:.3f}")
  for i, name in enumerate(names):
    letters = width // _LETTER
    _write(axis, left[i, 0], top[i, 0] - _LINE - 2, _shown(name, letters))
  return figure


def _canvas(
  height: int, width: int, images: np.ndarray, corners: np.ndarray
) -> np.ndarray:
  """White paper, uint8 [height, width, 3], with images at (top, left) corners."""
  canvas = np.full((height, width, 3), 255, np.uint8)
  size = images.shape[1]
  for image, (top, left) in zip(images, corners, strict=True):
    canvas[top : top + size, left : left + size] = _rgb(image)
  return canvas


def _rgb(image: np.ndarray) -> np.ndarray:
  """Grey is repeated; of more than three channels the first three are shown."""
  shown = image[..., :3] if image.shape[-1] >= 3 else image[..., :1]
  return np.broadcast_to(shown, (*image.shape[:2], 3))


def _sheet(canvas: np.ndarray, title: str, right: int = 0) -> tuple[Figure, Axes]:
  """A figure in which each pixel of a canvas is one, and its axis, in pixels."""
  height, width = canvas.shape[:2]
  above = 2 * _LINE if title else 0
  size = (width + right, height + above)
  figure = Figure(figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI)
  axis = figure.add_axes((0, 0, width / size[0], height / size[1]))
  axis.imshow(canvas, interpolation="none", aspect="auto")
  axis.axis("off")
  if title:
    letters = size[0] // _LETTER
    _write(axis, _GAP, -_LINE // 2, _shown(title, letters), fontweight="bold")
  return figure, axis


def _write(axis: Axes, x: float, y: float, text: str, **style: Any) -> None:
  axis.text(x, y, text, fontsize=8, va="bottom", parse_math=False, **style)


def _shown(text: str, letters: int) -> str:
  """A name that can be drawn, its end if it is long."""
  text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
  return (
    text if len(text) <= letters else f"\N{HORIZONTAL ELLIPSIS}{text[1 - letters :]}"
  )
