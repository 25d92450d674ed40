"""The folder for torch: PyTorch computes from it what the encoder computes."""

import runpy

import numpy as np
import pytest
import torch

from byol_jax.formats import torch_folder
from tests.formats import encoders


def in_torch(folder):
  return runpy.run_path(str(folder / "model.py"))["load"](folder)


def features_in_torch(folder, images):
  """uint8 [N, H, W, C] -> float32 [N, D], by the folder's own network."""
  encoder = in_torch(folder)
  with torch.inference_mode():
    return encoder(encoder.preprocess(torch.tensor(images).movedim(3, 1))).numpy()


def assert_same(found, expected):
  assert found.shape == expected.shape
  np.testing.assert_allclose(
    found, expected, rtol=0, atol=1e-4 * np.abs(expected).max()
  )


CASES = [
  ("batch", 18, {"stem": "imagenet", "size": 48}),
  ("batch", 50, {"stem": "cifar", "size": 17}),
  ("group", 18, {"stem": "patch", "size": 34, "standardised": True}),
  ("group", 50, {"stem": "imagenet", "size": 50, "standardised": True}),
  ("layer", 18, {"stem": "cifar", "channels": 1, "standardised": True}),
  ("layer", 50, {"stem": "patch", "size": 40}),
  ("instance", 18, {"stem": "imagenet", "size": 63, "width": 0.2}),
  ("instance", 50, {"stem": "cifar", "size": 18}),
  ("affine", 18, {"stem": "patch", "size": 35}),
  ("affine", 50, {"stem": "imagenet", "size": 33}),
  ("none", 18, {"stem": "cifar", "size": 19}),
  ("none", 50, {"stem": "patch", "size": 33, "width": 0.25}),
]


@pytest.mark.parametrize(("norm", "depth", "more"), CASES)
def test_torch_gives_the_same_features(norm, depth, more, tmp_path):
  encoder = encoders.make(norm, depth, **more)
  torch_folder.write(encoder, tmp_path / "out")
  images = encoders.images(encoder)
  assert_same(features_in_torch(tmp_path / "out", images), encoder(images))
