"""The report's figures."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from byol_jax import disk
from reproduce.arms import BATCHES
from reproduce.results import Results
from reproduce.stages import Records

# Arms of the figure that shows what collapse looks like, and their lines.
SHOWN = {
  "bn": "C0-",
  "gn-ws": "C2-",
  "none": "C3-",
  "none-depth-50": "C4-",
  "gn-ws-sgd": "C2--",
  "none-sgd": "C3--",
  "none-sgd-direct-pred": "C6--",
  "bn-np": "C1--",
  "bn-tau-0": "C5--",
}
# Those of the figure that shows what a moving target does.
RENEWED = {
  "bn": "C0-",
  "bn-tau-996": "C0--",
  "bn-tau-1": "C0-",
  "gn-ws": "C2-",
  "gn-ws-tau-1": "C2-",
  "gn-ws-at-once": "C2--",
  "none": "C3-",
  "none-tau-1": "C3-",
}
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


def bootstrap(found: Results, path: Path) -> None:
  """Held-out accuracy of nearest neighbours against the renewals of the target so far.

  The mean of all seeds. An arm whose target never moves is a level line: its last.
  """
  figure = Figure(figsize=(6, 4), layout="constrained")
  axis = figure.subplots()
  for name, line in RENEWED.items():
    if name not in found:
      continue
    arm = found[name]
    steps = arm[0].curves["valid_knn"][0]
    accuracies = np.mean([run.curves["valid_knn"][1] for run in arm], axis=0)
    renewals = arm[0].renewals[list(steps)]
    if renewals[-1] > 0:
      axis.plot(renewals, accuracies, f"{line}o", label=name, linewidth=1, markersize=3)
    else:
      axis.axhline(accuracies[-1], color=line[:2], linestyle=":", label=name)
  axis.yaxis.set_major_formatter(ticker.PercentFormatter(1))
  _label(axis, "renewals of the target so far", "accuracy of nearest neighbours")
  if axis.lines:
    axis.legend(fontsize=8)
  _save(figure, path)


def batch_sizes(found: Results, path: Path) -> None:
  """Linear accuracy against the images of a step, the same number of them seen."""
  figure = Figure(figsize=(6, 4), layout="constrained")
  axis = figure.subplots()
  for name, line in (("bn", "C0o-"), ("gn-ws", "C2o-")):
    batches = (f"{name}-batch-{batch}" for batch in BATCHES)
    arms = [found[arm] for arm in (name, *batches) if arm in found]
    arms.sort(key=lambda arm: arm[0].batch_size)
    means = [arm.mean(lambda r: r.accuracy("linear")) for arm in arms]
    bars = [arm.deviation(lambda r: r.accuracy("linear")) or 0 for arm in arms]
    sizes = [arm[0].batch_size for arm in arms]
    axis.errorbar(sizes, means, bars, fmt=line, label=name, capsize=3)
  axis.set_xscale("log", base=2)
  axis.xaxis.set_major_locator(ticker.FixedLocator((64, 128, 256, 512)))
  axis.xaxis.set_major_formatter(ticker.ScalarFormatter())
  _label(axis, "images of a batch", "linear accuracy, %")
  axis.legend(fontsize=8)
  _save(figure, path)


# On an accelerator: stage -> what it is called, and its line.
COURSE = {
  "bn": ("BYOL, batch norm", "C0-"),
  "gn-ws": ("BYOL, GN + WS", "C2-"),
  "none": ("BYOL, no norm", "C3-"),
  "gn-ws-tau-1": ("GN + WS, target never moves", "C2--"),
  "bn-tau-1": ("batch norm, target never moves", "C0--"),
}


def course(records: Records, path: Path) -> None:
  """Held-out accuracy of nearest neighbours over training, of the stages there are."""
  figure = Figure(figsize=(7, 3.6), layout="constrained")
  axis = figure.subplots()
  for stage, (name, line) in COURSE.items():
    if stage in records and "valid_knn" in records[stage].curves:
      steps, accuracies = records[stage].curves["valid_knn"]
      axis.plot(steps, accuracies, f"{line}o", linewidth=1.5, markersize=3)
      place = (steps[-1], accuracies[-1])
      axis.annotate(f"  {name}", place, color=line[:2], va="center", fontsize=9)
  axis.yaxis.set_major_formatter(ticker.PercentFormatter(1, 0))
  left, right = axis.get_xlim()
  axis.set_xticks([step for step in axis.get_xticks() if 0 <= step <= right])
  axis.set_xlim(left, right + 0.36 * (right - left))  # room for the names
  axis.spines[["top", "right"]].set_visible(False)
  title = "Accuracy of nearest neighbours on held-out images"
  _label(axis, "step", "", title)
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
  picture = io.BytesIO()
  figure.savefig(picture, dpi=110, format="png")
  disk.replace(path, picture.getvalue(), alone=False)  # as several may share a report
