"""The figures of a run: that they are drawn, of what was logged."""

import cv2
import numpy as np
import pytest

from byol_jax.run import figures
from byol_jax.run.folder import RunDir


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_contact_sheet_shows_each_image_in_its_place(tmp_path, channels):
  views = np.zeros((2, 3, 8, 8, channels))
  if channels == 4:
    views[..., 3] = 1.0
  views[1, 2] = 1.0  # the last of the second view is white
  path = tmp_path / "new" / "views.png"
  figures.contact_sheet(list(views), path)
  sheet = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
  height, width = sheet.shape
  places = [
    [
      sheet[int((row + 0.5) * height / 2), int((column + 0.5) * width / 3)]
      for column in range(3)
    ]
    for row in range(2)
  ]
  assert places == [[0, 0, 0], [0, 0, 255]]


def test_curves_are_those_of_what_was_logged(tmp_path, monkeypatch):
  with RunDir(tmp_path) as run_dir:
    run_dir.figures.mkdir()
    run_dir.rewind(-1)
    for step in (0, 1, 2):
      run_dir.log(step, {"loss": 2.0 - step, "seconds": 1.0, "valid_knn": step / 2})
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure))
    figures.curves(run_dir)
  titles = {axis.get_title(): axis.lines[0].get_xydata() for axis in drawn[0].axes}
  assert titles.keys() == {"loss", "kNN accuracy, labels held out"}
  np.testing.assert_array_equal(titles["loss"], [[0, 2], [1, 1], [2, 0]])


def test_of_nothing_there_are_no_curves(tmp_path):
  with RunDir(tmp_path) as run_dir:
    run_dir.figures.mkdir()
    figures.curves(run_dir)
  assert list(run_dir.figures.iterdir()) == []
