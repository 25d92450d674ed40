"""The folder for torch: PyTorch computes from it what the encoder computes."""

import dataclasses
import json
import re
import runpy
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import torch

from byol_jax.data import crops, reduce
from byol_jax.errors import UserError
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
  scale = np.abs(expected).max()
  np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-4)


SLOW = pytest.mark.slow  # to compile; group norm of one group or of one channel each
CASES = [
  ("batch", 18, {"stem": "imagenet", "size": 48}),
  ("batch", 50, {"stem": "cifar", "size": 17}),
  ("group", 18, {"stem": "patch", "size": 34, "standardised": True}),
  ("group", 50, {"stem": "imagenet", "size": 50, "standardised": True}),
  ("layer", 18, {"stem": "cifar", "channels": 1, "standardised": True}),
  pytest.param("layer", 50, {"stem": "patch", "size": 40}, marks=SLOW),
  ("instance", 18, {"stem": "imagenet", "size": 63, "width": 0.2}),
  pytest.param("instance", 50, {"stem": "cifar", "size": 18}, marks=SLOW),
  ("affine", 18, {"stem": "patch", "size": 35, "projected_shortcuts": "every_stage"}),
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


@pytest.fixture(scope="module")
def encoder():
  return encoders.make("group", 10, "patch", standardised=True, size=32)


@pytest.fixture(scope="module")
def folder(encoder, tmp_path_factory):
  folder = tmp_path_factory.mktemp("torch") / "out"
  torch_folder.write(encoder, folder)
  return folder


def test_the_folder_holds_what_hubs_take(encoder, folder):
  names = {file.name for file in folder.iterdir()}
  assert names == {"model.safetensors", "config.json", "model.py", "README.md"}
  config = json.loads((folder / "config.json").read_text())
  assert config["features"] == 64
  assert config["step"] == 1234
  assert config["architecture"]["blocks"] == [1, 1, 1, 1]
  assert config["network"] == encoder.description.network | {"standardised": False}
  card = (folder / "README.md").read_text()
  assert card.startswith("---\nlibrary_name: pytorch\n")
  assert "ResNet-10, width 0.125" in card
  assert "weight standardisation is folded in" in card
  assert "| trained for | 1234 updates, " in card


def test_the_card_says_nothing_of_how_it_was_trained(encoder, tmp_path):
  # By SimCLR, by fine-tuning, or by someone else with labels.
  torch_folder.write(dataclasses.replace(encoder, step=0), tmp_path / "out")
  card = (tmp_path / "out" / "README.md").read_text()
  assert "| trained for | updates of unknown number, " in card
  assert "BYOL" not in card
  assert "self-supervised" not in card
  assert "pretrained" not in card


def test_its_card_and_its_weights_need_torch_alone(encoder, folder):
  # The card's own example, where nothing else can be imported.
  (code,) = re.findall("```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
  images = encoders.images(encoder, count=2)
  setup = f"""
import sys
for name in ("byol_jax", "jax", "haiku", "safetensors", "cv2", "torchvision"):
  sys.modules[name] = None
import torch
images = torch.tensor({images.tolist()}, dtype=torch.uint8).movedim(3, 1)
"""
  done = subprocess.run(
    [sys.executable, "-c", f"{setup}\n{code}\nprint(features.tolist())"],
    cwd=folder,
    capture_output=True,
    text=True,
    check=True,
  )
  assert_same(np.array(json.loads(done.stdout)), encoder(images))


def test_it_can_be_read_back(encoder, folder):
  found = torch_folder.read(folder)
  assert found.step == 1234
  assert found.description.image == encoder.description.image
  images = encoders.images(encoder)
  assert_same(found(images), encoder(images))


def test_running_statistics_come_back_bit_by_bit(tmp_path):
  encoder = encoders.make("batch", 10)
  torch_folder.write(encoder, tmp_path / "out")
  found = torch_folder.read(tmp_path / "out")
  jax.tree.map(np.testing.assert_array_equal, found.params, encoder.params)
  for module, values in encoder.stats.items():
    for name in ("average", "counter"):
      np.testing.assert_array_equal(found.stats[module][name], values[name])
    # Haiku's average without its bias, which is gone after many updates.
    np.testing.assert_array_equal(found.stats[module]["hidden"], values["average"])


@pytest.mark.parametrize("height", [20, 32, 37, 100, 131, 600])
def test_images_are_prepared_as_by_the_encoder(encoder, folder, height):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, height, max(height - 7, 45), 3), dtype=np.uint8)
  scale = crops.central_scale(*images.shape[1:3], 32, 1.0)
  assert scale == {100: 2, 131: 2, 600: 16}.get(height, 1)
  smaller = [reduce.averaged(image, scale) for image in images]
  expected = np.stack([crops.central_crop(image, 32, 1.0) for image in smaller])
  prepared = in_torch(folder).preprocess(torch.tensor(images).movedim(3, 1))
  mean, std = (0.4, 0.5, 0.6), 0.25
  found = (prepared.movedim(1, 3).numpy() * std + mean) * 255
  difference = np.abs(np.rint(found) - expected)
  assert difference.max() <= 1
  assert (
    difference.mean() < 0.1
  )  # 0 in OpenCV 5, as good as; its weights are coarse in 4
  np.testing.assert_allclose(found, np.rint(found), atol=1e-3)


@pytest.mark.parametrize(
  "images", [torch.zeros(1, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)]
)
def test_images_of_another_form_are_refused(folder, images):
  with pytest.raises(TypeError, match=r"give uint8 \[N, C, H, W\]"):
    in_torch(folder).preprocess(images)


def test_a_norm_that_the_network_lacks(tmp_path, encoder):
  network = encoder.description.network | {"norm": "rms"}
  other = type(encoder)(
    {}, {}, encoder.description._replace(network=network), encoder.step
  )
  with pytest.raises(UserError, match=r"norm 'rms' is not in the network for torch"):
    torch_folder.write(other, tmp_path / "out")
  assert not list(tmp_path.iterdir())


def test_a_config_without_its_step(folder, tmp_path):
  shutil.copytree(folder, tmp_path / "copy")
  config = tmp_path / "copy" / "config.json"
  config.write_text(json.dumps(json.loads(config.read_text()) | {"step": None}))
  with pytest.raises(
    UserError, match=r"config\.json is damaged \(step is None\): rest"
  ):
    torch_folder.read(tmp_path / "copy")


def test_a_folder_without_its_config(folder, tmp_path):
  (tmp_path / "model.safetensors").write_bytes(
    (folder / "model.safetensors").read_bytes()
  )
  with pytest.raises(UserError, match=r"config\.json does not exist"):
    torch_folder.read(tmp_path)
