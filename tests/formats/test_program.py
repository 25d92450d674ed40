"""The program of jax.export runs without this package."""

import subprocess
import sys

import numpy as np

from byol_jax.formats import program
from tests.formats import encoders

_RUN = """
import sys
for name in ("byol_jax", "haiku", "chex", "optax", "cv2"):
  sys.modules[name] = None
import jax, numpy as np
program = jax.export.deserialize(bytearray(open("encoder.jax", "rb").read()))
assert set(program.platforms) == {"cpu", "cuda", "tpu"}, program.platforms
crops = np.load("crops.npy")
np.save("features.npy", program.call(crops))
np.save("first.npy", program.call(crops[:1]))
"""


def test_it_runs_without_this_package(tmp_path):
  encoder = encoders.make("group", 10, "patch", standardised=True)
  program.write(encoder, tmp_path / "encoder.jax")
  images = encoders.images(encoder, count=5)
  np.save(tmp_path / "crops.npy", images)
  subprocess.run([sys.executable, "-c", _RUN], cwd=tmp_path, check=True)
  features = np.load(tmp_path / "features.npy")
  np.testing.assert_allclose(features, encoder(images), atol=1e-5)
  np.testing.assert_allclose(np.load(tmp_path / "first.npy"), features[:1], atol=1e-5)
