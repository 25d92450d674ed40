"""What labels lack, and who has seen them, is said."""

import numpy as np
import pytest

from byol_jax.data.sources import ArrayDataset
from experiments.labels import warn_if_shared, warn_of_unseen


def test_images_of_classes_that_were_not_trained_on_are_said(caplog):
  warn_of_unseen("test", np.array([0, 1, -1]), np.array([0, 1, 2]))
  assert not caplog.records
  warn_of_unseen("test", np.array([0, 1, 2, 2, 3, -1]), np.array([0, 1]))
  assert "test: 3 of 5 images are of 2 classes that no image" in caplog.text


@pytest.mark.parametrize(
  ("test", "other", "count"),
  [
    ("train[80:]", "train[:80]", 0),
    ("train[75:]", "train[:80]", 5),
    ("train[-10%:]", "train", 10),
    ("train[:30]+train[90:]", "train[20:95]", 15),
    ("train[:2shard]", "train", 0),  # it cannot tell
  ],
)
def test_images_to_test_on_that_were_fitted_to(test, other, count, caplog):
  pixels, labels = np.zeros((100, 1, 1, 1), np.uint8), np.zeros(100, int)
  dataset = ArrayDataset("made", {"train": (pixels, labels)})
  if count:
    warn_if_shared(dataset, test, other)
    assert f"{count} of the {dataset.check(test)} images of '{test}'" in caplog.text
  else:
    warn_if_shared(dataset, test, other)
    assert not caplog.records
