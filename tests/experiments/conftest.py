"""An encoder of one block, which compiles in a moment, as a file."""

import pytest

from byol_jax.nets import resnet
from tests.formats import encoders


@pytest.fixture(scope="module")
def encoder():
  """An encoder with batch norm of images of 16 pixels a side, its weights at random."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(resnet.SHAPES, 4, resnet.SHAPES[10]._replace(blocks=(1,)))
    yield encoders.make("batch", depth=4, stem="patch")


@pytest.fixture(scope="module")
def encoder_file(encoder, tmp_path_factory):
  """The path of it."""
  path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
  encoder.save(path)
  return path
