"""One file that says itself what it is; read by us, by torch and by numpy."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch

import byol_jax
from byol_jax import description as describe
from byol_jax.errors import UserError
from byol_jax.formats import saved
from tests.formats import encoders


@pytest.fixture(scope="module")
def encoder():
  return encoders.make("batch", 10, "patch")


@pytest.fixture
def file(encoder, tmp_path):
  path = tmp_path / "encoder.safetensors"
  encoder.save(path)
  return path


def test_it_comes_back_bit_by_bit(encoder, file):
  found = byol_jax.load_encoder(file)
  assert found.description == encoder.description
  assert found.step == 1234
  jax.tree.map(np.testing.assert_array_equal, found.params, encoder.params)
  jax.tree.map(np.testing.assert_array_equal, found.stats, encoder.stats)
  images = encoders.images(encoder)
  np.testing.assert_array_equal(found(images), encoder(images))


def test_an_encoder_from_a_file_may_compute_in_another_precision(file):
  found = byol_jax.load_encoder(str(file), precision="bfloat16")
  assert found.description.precision == "bfloat16"


def test_torch_and_numpy_read_it(encoder, file):
  by_numpy = safetensors.numpy.load_file(file)
  by_torch = safetensors.torch.load_file(file)
  assert by_numpy.keys() == by_torch.keys()
  for name, array in by_numpy.items():
    module, _, leaf = name.partition(":")
    expected = (encoder.params | encoder.stats)[module][leaf]
    np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(by_torch[name].numpy(), expected)


def test_its_description_is_that_of_encoder_json(encoder, file):
  found = json.loads(saved.read_metadata(file)["encoder"])
  assert describe.from_json(found) == encoder.description


def test_arrays_may_lie_in_memory_in_any_order(encoder, tmp_path):
  turned = jax.tree.map(lambda a: np.array(a, order="F"), encoder.params)
  assert not turned["res_net10/~/initial_conv"]["w"].flags.c_contiguous
  dataclasses.replace(encoder, params=turned).save(tmp_path / "turned.safetensors")
  found = byol_jax.load_encoder(tmp_path / "turned.safetensors")
  jax.tree.map(np.testing.assert_array_equal, found.params, encoder.params)


def test_nothing_is_overwritten(encoder, file):
  before = file.read_bytes()
  with pytest.raises(UserError, match="is there already: choose another name"):
    encoder.save(file)
  assert file.read_bytes() == before
  assert list(file.parent.iterdir()) == [file]


def test_a_file_has_one_encoder(file):
  for which in (7, "best"):
    with pytest.raises(
      UserError, match=r"has one encoder, of step 1234, and not .*: leav"
    ):
      byol_jax.load_encoder(file, which)
  for which in (1234, "1234", "newest"):
    assert byol_jax.load_encoder(file, which).step == 1234


# What can be wrong with a file.


def changed(file, arrays=None, **metadata):
  """The same file with other arrays or metadata."""
  found = saved.read(file) | (arrays or {})
  found = {name: array for name, array in found.items() if array is not None}
  metadata = saved.read_metadata(file) | metadata
  if arrays:
    metadata["crc32"] = str(saved._checksum(found))
  file.write_bytes(safetensors.numpy.save(found, metadata))


@pytest.mark.parametrize("length", [0, 5, 300, -1])
def test_a_truncated_file(file, length):
  file.write_bytes(file.read_bytes()[:length])
  with pytest.raises(UserError, match="is no whole file in the format of safetensors"):
    byol_jax.load_encoder(file)


def test_a_file_of_something_else(tmp_path):
  (tmp_path / "weights.bin").write_bytes(b"something else " * 100)
  with pytest.raises(UserError, match="is no whole file in the format of safetensors"):
    byol_jax.load_encoder(tmp_path / "weights.bin")


def test_a_file_that_is_not_there(tmp_path):
  with pytest.raises(UserError, match=r"none\.safetensors does not exist"):
    byol_jax.load_encoder(tmp_path / "none.safetensors")


def test_a_folder_in_place_of_a_file(tmp_path):
  (tmp_path / "encoder.safetensors").mkdir()
  with pytest.raises(UserError, match="no checkpoint at"):
    byol_jax.load_encoder(tmp_path / "encoder.safetensors")


def test_a_bit_that_has_changed(file):
  data = bytearray(file.read_bytes())
  data[-1] ^= 1
  file.write_bytes(data)
  with pytest.raises(UserError, match=r"damaged \(its bytes have changed\): restore"):
    byol_jax.load_encoder(file)


def test_safetensors_of_someone_else(tmp_path):
  path = tmp_path / "other.safetensors"
  safetensors.numpy.save_file({"conv1.weight": np.zeros((1, 1))}, path)
  with pytest.raises(
    UserError, match=r"is no encoder that byol_jax has saved: .*export"
  ):
    byol_jax.load_encoder(path)


@pytest.mark.parametrize(
  ("metadata", "message"),
  [
    ({"encoder": "{"}, "is damaged"),
    ({"encoder": "{}"}, "is damaged"),
    ({"encoder": "10"}, "is damaged"),
    ({"encoder": "[]"}, "is damaged"),
    ({"encoder": "[" * 100_000}, "is damaged"),
    ({"encoder": '{"format": 3}'}, "is of format 3, and this byol_jax reads up to 2"),
    ({"step": "many"}, "is damaged"),
  ],
)
def test_metadata_that_cannot_be(file, metadata, message):
  changed(file, **metadata)
  with pytest.raises(UserError, match=message):
    byol_jax.load_encoder(file)


W = "res_net10/~/initial_conv:w"


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    ({W: None}, f"has no {W}"),
    ({W: np.zeros((4, 4, 3, 9), np.float32)}, r"w as float32\[4, 4, 3, 9\], and its"),
    ({W: np.zeros((4, 4, 3, 8), np.float16)}, r"w as float16\[4, 4, 3, 8\], and its"),
    ({"more": np.zeros(1)}, "has more, for which its network has no place"),
  ],
)
def test_arrays_that_do_not_fit(file, arrays, message):
  changed(file, arrays)
  with pytest.raises(UserError, match=message):
    byol_jax.load_encoder(file)
