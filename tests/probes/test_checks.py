import numpy as np
import pytest

from byol_jax import probes
from byol_jax.errors import UserError


@pytest.mark.parametrize("probe", [probes.knn_accuracy, probes.linear_accuracy])
@pytest.mark.parametrize(
  ("train_y", "test_y", "expected"),
  [
    ([4, 4, 4, 4], [4, 4], 1.0),  # One class.
    ([0, 0, 9, 9], [0, 5], 0.5),  # Class 5 is not in the train set.
    ([0, 0, 0, 9], [0, 8], 0.5),  # Class 9 has one image.
  ],
)
def test_few_and_missing_classes(probe, train_y, test_y, expected):
  train_x = np.array([[0, 1], [0, 2], [0.1, 1], [1, 0]], np.float32)
  test_x = np.array([[0, 1], [1, 0]], np.float32)
  assert probe(train_x, np.array(train_y), test_x, np.array(test_y)) == expected


@pytest.mark.parametrize("probe", [probes.knn_accuracy, probes.linear_accuracy])
@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"train_x": np.zeros((0, 2)), "train_y": np.zeros(0, int)}, "at least two"),
    ({"train_y": np.zeros(3, int)}, "at least two"),
    ({"test_x": np.zeros((4, 2, 1))}, "at least two"),
    ({"test_x": np.full((4, 2), np.nan)}, "test features hold NaN"),
    ({"train_x": np.full((4, 2), np.inf)}, "train features hold NaN"),
    ({"test_x": np.zeros((4, 3))}, "2 dimensions and test features 3"),
  ],
)
def test_bad_input(probe, change, message):
  arrays = {
    "train_x": np.eye(4, 2), "train_y": np.arange(4),
    "test_x": np.eye(4, 2), "test_y": np.arange(4),
  } | change  # fmt: skip
  with pytest.raises(UserError, match=message):
    probe(**arrays)


@pytest.mark.parametrize("probe", [probes.knn_accuracy, probes.linear_accuracy])
def test_images_without_a_label_have_no_part(probe):
  rng = np.random.default_rng(0)
  y = np.arange(60) % 3
  x = np.float32(rng.normal(size=(60, 4)) + 1.5 * np.eye(3, 4)[y])
  # Each on top of a labelled one: as a class of their own they would be right.
  many_x, many_y = np.repeat(x, 2, axis=0), np.repeat(y, 2)
  many_y[::2] = -1
  expected = probe(x[:40], y[:40], x[40:], y[40:])
  assert 0.5 < expected < 1
  assert probe(many_x[:80], many_y[:80], many_x[80:], many_y[80:]) == expected
  none = np.full(40, -1)
  with pytest.raises(UserError, match="0 of 40 images of the train set have a label"):
    probe(x[:40], none, x[40:], y[40:])
  with pytest.raises(UserError, match="0 of 20 images of the test set have a label"):
    probe(x[:40], y[:40], x[40:], none[:20])
