"""Figures of a run: its curves, and what its augmentations look like."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

# Without pyplot, which would choose a backend and keep every figure.
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from byol_jax import disk
from byol_jax.run.folder import RunDir


class Curve(NamedTuple):
  """How a scalar is drawn: what it is called, and in what it is measured."""

  title: str
  unit: str


_SHARE = "share of images"

# The scalars that are worth a curve, in reading order.
CURVES = {
  "loss": Curve("loss", "no unit"),
  "learning_rate": Curve("learning rate", "no unit"),
  "spread": Curve("spread (1 healthy, 0 collapsed)", "no unit"),
  "valid_effective_rank": Curve("effective rank of embeddings", "directions"),
  "valid_lidar": Curve("LiDAR of embeddings", "directions"),
  "valid_rankme": Curve("RankMe of embeddings", "directions"),
  "valid_invariance": Curve("invariance of embeddings to views", "no unit"),
  "alignment": Curve("alignment", "no unit"),
  "uniformity": Curve("uniformity", "no unit"),
  "train_linear_online": Curve("online linear accuracy, train", _SHARE),
  "valid_knn": Curve("kNN accuracy, labels held out", _SHARE),
  "train_linear": Curve("linear accuracy, train", _SHARE),
  "valid_linear": Curve("linear accuracy, held out, best rate", _SHARE),
  "test_linear": Curve("linear accuracy, test", _SHARE),
  "gradient_norm": Curve("gradient norm", "no unit"),
  "images_per_second": Curve("speed", "images / s"),
  "mfu": Curve("MFU", "share of the devices' peak"),
  "input_wait": Curve("wait for images", "share of time"),
}


def curves(run_dir: RunDir) -> None:
  """Draws figures/curves.png from metrics.jsonl."""
  records = run_dir.records()
  names = [name for name in CURVES if any(name in record for record in records)]
  if not names:  # metrics.jsonl is gone, and nothing was logged since
    return
  columns = 3
  rows = -(-len(names) // columns)
  figure = Figure(figsize=(4 * columns, 2.6 * rows), layout="constrained")
  axes = figure.subplots(rows, columns, squeeze=False)
  for axis, name in zip(axes.flat, names, strict=False):
    points = [(record["step"], record[name]) for record in records if name in record]
    axis.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None)
    axis.set_title(CURVES[name].title, fontsize=9)
    label_axes(axis, name)
  for axis in axes.flat[len(names) :]:
    axis.remove()
  _save(figure, run_dir.figures / "curves.png")


def label_axes(axis: Axes, name: str) -> None:
  """Says what the axes of a scalar's curve are, and in what units."""
  axis.set_xlabel("step", fontsize=8)
  axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
  axis.set_ylabel(CURVES[name].unit, fontsize=8)
  axis.tick_params(labelsize=8)
  axis.grid(alpha=0.3)


def contact_sheet(views: list[np.ndarray], path: Path) -> None:
  """Draws the views of some images side by side, a row a view.

  Args:
    views: [N, H, W, C] in [0, 1], one array a view, of the same images.
    path: the PNG to write.
  """
  rows, columns = len(views), len(views[0])
  figure = Figure(figsize=(columns, rows))
  axes = figure.subplots(rows, columns, squeeze=False)
  for row, images in zip(axes, views, strict=True):
    for axis, image in zip(row, images, strict=True):
      axis.axis("off")
      channels = image.shape[-1]
      shown = image if channels == 3 else image[..., 0]
      axis.imshow(shown, cmap="gray", vmin=0, vmax=1)
  figure.subplots_adjust(0, 0, 1, 1, 0.03, 0.03)
  _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(disk.cleared(path), dpi=100)
