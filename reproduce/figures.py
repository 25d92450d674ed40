"""The report's figures."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from reproduce.results import Results

# Arms of the figure that shows what collapse looks like, and their lines.
SHOWN = {
  "bn": "C0-",
  "gn-ws": "C2-",
  "bn-encoder": "C4-",
  "none": "C3-",
  "bn-np": "C1--",
  "byol-prime-np": "C5--",
}
LABELS = {
  "loss": "loss",
  "spread": "spread of projections (0: collapsed)",
  "valid_effective_rank": "effective rank of features",
  "valid_knn": "kNN accuracy",
}


def collapse(found: Results, path: Path) -> None:
  """How healthy and collapsing arms went, with the first seed that there is."""
  figure, axes = plt.subplots(2, 2, figsize=(10, 6), layout="constrained")
  for axis, (key, label) in zip(axes.flat, LABELS.items(), strict=True):
    for name, line in SHOWN.items():
      if name in found:
        axis.plot(*found[name][0].curves[key], line, label=name, linewidth=1)
    _label(axis, "step", "", label)
  if axes.flat[0].lines:
    axes.flat[0].legend(fontsize=8)
  _save(figure, path)


def batch_sizes(found: Results, path: Path) -> None:
  """Linear accuracy against the images of a step, the same number of them seen.

  Two more lines: group norm at the rate of the preset's batch, and steps of that
  batch of which batch norm sees pieces.
  """
  figure, axis = plt.subplots(figsize=(5, 3.5), layout="constrained")
  for name, others, line, label in (
    ("bn", "bn-batch-", "C0o-", "bn"),
    ("gn-ws", "gn-ws-batch-", "C2o-", "gn-ws"),
    ("gn-ws", "gn-ws-one-rate-", "C2s--", "gn-ws, one rate for all"),
    ("bn", "bn-of-", "C0s--", "bn, its statistics of so many, batch 128"),
  ):
    points = {
      arm[0].images_together: arm.mean(lambda result: result.linear)
      for arm_name, arm in found.items()
      if arm_name == name or arm_name.startswith(others)
    }
    sizes = sorted(points)
    axis.plot(sizes, [points[size] for size in sizes], line, label=label)
  axis.set_xscale("log", base=2)
  _label(axis, "images", "linear accuracy, %")
  axis.legend(fontsize=8)
  _save(figure, path)


def mirror(found: dict[str, Any], path: Path) -> None:
  """Losses of RAFT and BYOL' from mirrored and equal starts, and their distances."""
  figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
  losses = found["float64"]["losses"]
  left.plot(losses["byol-prime"], "C0-", label="BYOL'", linewidth=3, alpha=0.4)
  for name, line in (("mirrored", "C1-"), ("as it is", "C3-")):
    shifted = [loss + 4 for loss in losses[name]]
    left.plot(shifted, line, label=f"RAFT + 4, W {name}", linewidth=1)
    for precision, style in (("float64", "-"), ("float32", "--")):
      distances = found[precision]["distances"][name]
      label = f"RAFT, W {name}, {precision}"
      right.plot(distances, line[:2] + style, label=label, linewidth=1)
  right.set_yscale("log")
  _label(left, "step", "loss")
  _label(right, "step", "distance from BYOL', relative")
  for axis in (left, right):
    axis.legend(fontsize=8)
  _save(figure, path)


def _label(axis: Any, x: str, y: str, title: str = "") -> None:
  axis.set_xlabel(x, fontsize=8)
  axis.set_ylabel(y, fontsize=8)
  axis.set_title(title, fontsize=9)
  axis.grid(alpha=0.3)


def _save(figure: Any, path: Path) -> None:
  figure.savefig(path, dpi=110)
  plt.close(figure)
