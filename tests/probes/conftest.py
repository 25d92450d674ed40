"""Features and labels for the tests of probes."""

import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="package")
def digits():
  x, y = load_digits(return_X_y=True)
  return x[:1200].astype(np.float32), y[:1200], x[1200:].astype(np.float32), y[1200:]
