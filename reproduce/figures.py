"""The report's figures."""

from pathlib import Path
from typing import Any

from matplotlib import ticker
from matplotlib.figure import Figure

from reproduce.results import Results

# Arms of the figure that shows what collapse looks like, and their lines.
SHOWN = {
  "bn": "C0-",
  "gn-ws": "C2-",
  "bn-encoder": "C4-",
  "bn-init": "C6-",
  "none": "C3-",
  "gn-ws-sgd": "C2--",
  "none-sgd": "C3--",
  "bn-np": "C1--",
  "byol-prime-np": "C5--",
}
SIZES = (4, 16, 64, 128, 256)
LABELS = {
  "loss": "loss",
  "spread": "spread of projections (0: collapsed)",
  "valid_effective_rank": "effective rank of features",
  "valid_knn": "accuracy of nearest neighbours",
}


def collapse(found: Results, path: Path) -> None:
  """How healthy and collapsing arms went, with the first seed that there is."""
  figure = Figure(figsize=(10, 7), layout="constrained")
  axes = figure.subplots(2, 2)
  for axis, (key, label) in zip(axes.flat, LABELS.items(), strict=True):
    for name, line in SHOWN.items():
      if name in found:
        axis.plot(*found[name][0].curves[key], line, label=name, linewidth=1)
    _label(axis, "step", "", label)
  loss, spread, _, knn = axes.flat
  for axis in (loss, spread):  # what happens to them happens early
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(ticker.ScalarFormatter())
  loss.set_yscale("log")
  knn.yaxis.set_major_formatter(ticker.PercentFormatter(1, 0))
  if loss.lines:
    loss.legend(fontsize=8)
  _save(figure, path)


def batch_sizes(found: Results, path: Path) -> None:
  """Linear accuracy against the images of a step, the same number of them seen.

  Two more lines: group norm at the rate of the preset's batch, and steps of that
  batch of which batch norm sees microbatches.
  """
  figure = Figure(figsize=(6, 4), layout="constrained")
  axis = figure.subplots()
  for name, others, line, label in (
    ("gn-ws", "gn-ws-one-rate-", "C2s--", "gn-ws, all at the rate of 128"),
    ("bn", "bn-of-4", "C0s--", "bn, batch 128, its statistics of so many"),
    ("bn", "bn-batch-", "C0o-", "bn"),
    ("gn-ws", "gn-ws-batch-", "C2o-", "gn-ws"),
  ):
    points = {
      arm[0].images_together: arm
      for arm_name, arm in found.items()
      if arm_name == name or arm_name.startswith(others)
    }
    sizes = sorted(points)
    means = [points[size].mean(lambda result: result.linear) for size in sizes]
    bars = [points[size].deviation(lambda result: result.linear) or 0 for size in sizes]
    axis.errorbar(sizes, means, bars, fmt=line, label=label, capsize=3)
  axis.set_xscale("log", base=2)
  axis.xaxis.set_major_locator(ticker.FixedLocator(SIZES))
  axis.xaxis.set_major_formatter(ticker.ScalarFormatter())
  _label(axis, "images of a batch", "linear accuracy, %")
  axis.legend(fontsize=8)
  _save(figure, path)


def mirror(found: dict[str, Any], path: Path) -> None:
  """Losses of RAFT and BYOL' from mirrored and equal starts, and their distances."""
  figure = Figure(figsize=(10, 3.5), layout="constrained")
  left, right = figure.subplots(1, 2)
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


def _save(figure: Figure, path: Path) -> None:
  figure.savefig(path, dpi=110)
