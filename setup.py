"""Installs byol_jax; see README.md."""

from pathlib import Path

import setuptools

HERE = Path(__file__).parent

setuptools.setup(
  name="byol_jax",
  version="0.1.0",
  description="BYOL, with and without batch statistics, in JAX and Haiku",
  long_description=(HERE / "README.md").read_text(),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11",
  # experiments/ and configs/ are run from a clone; nothing of so general a name
  # is installed.
  packages=setuptools.find_packages(include=["byol_jax", "byol_jax.*"]),
  install_requires=(HERE / "requirements.txt").read_text().split(),
  extras_require={
    "test": [
      "mypy>=1.10",
      "pytest>=8",
      "pytest-xdist>=3.5",
      "ruff>=0.6",
      "scikit-learn>=1.5",
    ],
    # What benchmarks/ measures byol_jax beside.
    "benchmark": ["pillow>=10", "simplejpeg>=1.8", "tensorflow", "torch>=2.4"],
    # Preparing (not reading) most tensorflow-datasets needs TensorFlow.
    "prepare": ["tensorflow", "importlib_resources"],
    "cuda": ["jax[cuda12]"],
    "tpu": ["jax[tpu]"],
  },
)
