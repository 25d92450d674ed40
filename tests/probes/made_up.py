"""Labels that features say little of, so that few votes are unanimous."""

import numpy as np


def noise(n=500, d=8, classes=4, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(n, d)).astype(np.float32), rng.integers(0, classes, n)
