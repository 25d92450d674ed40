"""Figures of a run: its curves, and what its augmentations look like."""

from pathlib import Path

import numpy as np

# Without pyplot, which would choose a backend and keep every figure.
from matplotlib.figure import Figure

from byol_jax.run.folder import RunDir

# The scalars that are worth a curve, in reading order, with their axes' labels.
CURVES = {
  "loss": "loss",
  "learning_rate": "learning rate",
  "spread": "spread (1 healthy, 0 collapsed)",
  "valid_effective_rank": "effective rank of embeddings",
  "alignment": "alignment",
  "uniformity": "uniformity",
  "train_linear_online": "online linear accuracy, train",
  "valid_invariance": "invariance of embeddings to views",
  "valid_knn": "kNN accuracy, labels held out",
  "train_linear": "linear accuracy, train",
  "test_linear": "linear accuracy, test",
  "gradient_norm": "gradient norm",
}


def curves(run_dir: RunDir) -> None:
  """Draws figures/curves.png from metrics.jsonl."""
  records = run_dir.records()
  names = [name for name in CURVES if any(name in record for record in records)]
  columns = 3
  rows = -(-len(names) // columns)
  figure = Figure(figsize=(4 * columns, 2.6 * rows), layout="constrained")
  axes = figure.subplots(rows, columns, squeeze=False)
  for axis, name in zip(axes.flat, names, strict=False):
    points = [(record["step"], record[name]) for record in records if name in record]
    axis.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None)
    axis.set_title(CURVES[name], fontsize=9)
    axis.set_xlabel("step", fontsize=8)
    axis.grid(alpha=0.3)
  for axis in axes.flat[len(names) :]:
    axis.remove()
  _save(figure, run_dir.figures / "curves.png")


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
  figure.savefig(path, dpi=100)
