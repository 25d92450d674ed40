"""What the tests of embedding share: encoders and folders of images."""

import numpy as np
from PIL import Image

from tests.test_features import fake_encoder

__all__ = ["fake_encoder", "images", "write_images"]


def images(count, channels=3, seed=0):
  """Noise of several sizes, each brighter than the one before."""
  rng = np.random.default_rng(seed)
  sizes = rng.integers(9, 20, (count, 2))
  return [
    rng.integers(4 * i, 4 * i + 60, (*size, channels), dtype=np.uint8)
    for i, size in enumerate(sizes)
  ]


def write_images(folder, names, channels=3, seed=0):
  """Such images as PNG files."""
  for name, image in zip(names, images(len(names), channels, seed), strict=True):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image if channels == 3 else image[..., 0]).save(path, "PNG")
