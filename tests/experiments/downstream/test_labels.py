"""What labels lack is said."""

import numpy as np
import pytest

from byol_jax.errors import UserError
from experiments.downstream.labels import check_seen


def test_images_of_classes_that_were_not_trained_on_are_said(caplog):
  check_seen("test", np.array([0, 1, -1]), np.array([0, 1, 2]))
  assert not caplog.records
  check_seen("test", np.array([0, 1, 2, 2, 3, -1]), np.array([0, 1]))
  assert "test: 3 of 5 images are of 2 classes that no image" in caplog.text
  with pytest.raises(UserError, match="all images to train on are of one class"):
    check_seen("test", np.array([0, 1]), np.array([1, 1]))
