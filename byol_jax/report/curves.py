"""Curves as SVG that lies in the page: its colours are the page's, light or dark."""

import io
import re
from collections.abc import Sequence

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from byol_jax.report.runs import Points, Run
from byol_jax.run import figures

# A run's line by its number: told apart without colour by dashes, then by markers.
_DASHES = ("solid", (0, (5, 2)), (0, (1.2, 1.5)), (0, (6, 1.5, 1.2, 1.5)))
_MARKERS = ("", "o", "s", "^")
_COLOURS = 6  # --line-0 and so on of style.css

_MOST = 400  # points of a line; more would be under a pixel each


def draw(name: str, runs: Sequence[Points]) -> Markup:
  """The curves of a scalar, a line for each run that has it; text stays text.

  Args:
    name: a key of `figures.CURVES`.
    runs: what each run logged of it; [] for nothing.
  """
  figure = Figure(figsize=(4, 2.7), layout="constrained")
  axis = figure.subplots()
  for number, points in enumerate(runs):
    if points:
      thin = _thinned(points)
      axis.plot(*zip(*thin, strict=True), **_style(number, len(thin)))
  figures.label_axes(axis, name)
  axis.spines[["top", "right"]].set_visible(False)
  return _svg(figure, name)


def sample(number: int) -> Markup:
  """A piece of a run's line, for the legend."""
  figure = Figure(figsize=(0.6, 0.16))
  axis = figure.add_axes((0, 0, 1, 1))
  axis.plot([0, 1, 2], [0, 0, 0], **_style(number, 3) | {"markevery": [1]})
  axis.set_axis_off()
  return _svg(figure, f"sample {number}")


def in_words(points: Points) -> str:
  """What a line shows, for who does not see it."""
  (first, start), (last, end) = points[0], points[-1]
  if first == last:
    return f"{start:.4g} at step {first} alone"
  at_low, low = min(points, key=lambda point: point[1])
  at_high, high = max(points, key=lambda point: point[1])
  return (
    f"{start:.4g} at step {first}, {end:.4g} at step {last}; lowest {low:.4g} at step"
    f" {at_low}, highest {high:.4g} at step {at_high}"
  )


def names(runs: Sequence[Run]) -> list[str]:
  """The scalars that any of the runs has points of, in reading order."""
  return [name for name in figures.CURVES if any(run.points(name) for run in runs)]


def _style(number: int, points: int) -> dict:
  marker = _MARKERS[number // len(_DASHES) % len(_MARKERS)]
  if not marker and points < 30:
    marker = "."
  return {
    "color": _line_colour(number % _COLOURS),
    "linestyle": _DASHES[number % len(_DASHES)],
    "linewidth": 1.5,
    "marker": marker,
    "markersize": 4,
    "markevery": max(points // 15, 1),
  }


def _line_colour(number: int) -> str:
  """A colour that nothing else has, in whose place the page's own is put."""
  return f"#00000{number + 1}"


def _thinned(points: Points) -> Points:
  """At most `_MOST` points: of each stretch the lowest and the highest."""
  if len(points) <= _MOST:
    return points
  stretch = -(-2 * len(points) // _MOST)
  kept = {points[0], points[-1]}
  for start in range(0, len(points), stretch):
    part = points[start : start + stretch]
    kept |= {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
  return sorted(kept)


def _svg(figure: Figure, salt: str) -> Markup:
  """The <svg> element; `salt` keeps its names apart from those of the page's others."""
  file = io.StringIO()
  with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
  svg = "<svg" + file.getvalue().partition("<svg")[2]
  # Its fonts and joins are the page's, and nobody asks for a group by its name.
  svg = re.sub(r'<style.*?</style>| font-family: [^;"]*;?|(?<=<g) id="[^"]*"', "", svg)
  for number in range(_COLOURS):
    svg = svg.replace(_line_colour(number), f"var(--line-{number})")
  for black_or_grey in ("#000000", "#b0b0b0"):
    svg = svg.replace(black_or_grey, "currentColor")
  return Markup(svg.replace("<svg", '<svg aria-hidden="true"', 1))
