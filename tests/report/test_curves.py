"""Curves in the page: what is drawn, in the page's colours, and in words."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from byol_jax.report import curves

POINTS = [(0, 1.0), (10, 3.0), (20, 2.0)]


def lines(svg):
  """Of each line of runs its style, and its points on the page [N, 2]."""
  paths = re.findall(r'<path d="([^"]*)"[^>]*style="([^"]*var\(--line[^"]*)"', svg)
  return [
    (style, np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", path), float))
    for path, style in paths
    if "L" in path
  ]


def test_a_line_is_its_points():
  ((_, drawn),) = lines(curves.draw("loss", [POINTS]))
  x, y = drawn.T
  np.testing.assert_allclose((x - x[0]) / (x[-1] - x[0]), [0, 0.5, 1], atol=1e-4)
  # Downwards on the page: 1 is the lowest, 3 the highest, 2 between them.
  np.testing.assert_allclose((y[0] - y) / (y[0] - y[1]), [0, 1, 0.5], atol=1e-4)


def test_runs_are_told_apart_without_colour():
  several = [[(x, y + number) for x, y in POINTS] for number in range(4)]
  styles = [style for style, _ in lines(curves.draw("loss", several))]
  dashes = {re.sub(r"stroke: var[^;]*", "", style) for style in styles}
  assert len(styles) == len(dashes) == 4


def test_a_run_without_points_keeps_the_others_colours():
  first, second = lines(curves.draw("loss", [POINTS, [], POINTS]))
  assert ["--line-0" in first[0], "--line-2" in second[0]] == [True, True]


def test_text_is_text_and_colours_are_the_pages():
  svg = curves.draw("images_per_second", [POINTS])
  root = ET.fromstring(svg)
  texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
  assert {"step", "images / s", "0", "3.00"} <= texts
  assert root.get("aria-hidden") == "true"
  assert not re.search(r"#[0-9a-f]{6}\b(?!;? *\))", re.sub(r'"[^"]*#\w+"', "", svg))
  assert "<style" not in svg
  assert "font-family" not in svg


def test_names_inside_are_its_own():
  found = [set(re.findall(r'id="([^"]+)"', curves.draw(n, [POINTS]))) for n in NAMES]
  assert found[0]
  assert not found[0] & found[1]
  assert curves.draw("loss", [POINTS]) == curves.draw("loss", [POINTS])


NAMES = ("loss", "spread")


def test_long_runs_stay_small_and_keep_their_peaks():
  rng = np.random.default_rng(0)
  values = rng.normal(size=20_000)
  values[12_345], values[6_789] = 50.0, -40.0
  points = [(step, float(value)) for step, value in enumerate(values)]
  svg = curves.draw("loss", [points])
  ((_, drawn),) = lines(svg)
  assert 300 <= len(drawn) <= 402
  assert len(svg) < 40_000
  at_peak, at_low = drawn[drawn[:, 1].argmin()], drawn[drawn[:, 1].argmax()]
  width = drawn[-1, 0] - drawn[0, 0]
  assert (at_peak[0] - drawn[0, 0]) / width == pytest.approx(12_345 / 19_999, abs=1e-3)
  assert (at_low[0] - drawn[0, 0]) / width == pytest.approx(6_789 / 19_999, abs=1e-3)


def test_in_words():
  assert curves.in_words(POINTS) == (
    "1 at step 0, 2 at step 20; lowest 1 at step 0, highest 3 at step 10"
  )
  assert curves.in_words([(3, 0.5)]) == "0.5 at step 3 alone"


def test_a_legend_has_the_line_of_each_run():
  styles = {
    re.sub(r'id="[^"]*"|#\w+', "", curves.sample(number)) for number in range(8)
  }
  assert len(styles) == 8
