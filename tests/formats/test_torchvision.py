"""Weights under torchvision's names: names, axes, and features in its own network."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from byol_jax import export
from byol_jax.description import ImageForm
from byol_jax.errors import UserError
from byol_jax.formats import torchvision
from tests.formats import encoders


@pytest.mark.parametrize(
  ("ours", "theirs"),
  [
    ("initial_conv:w", "conv1.weight"),
    ("initial_batchnorm:scale", "bn1.weight"),
    ("initial_layernorm:offset", "bn1.bias"),
    ("initial_batchnorm/~/mean_ema:average", "bn1.running_mean"),
    ("initial_batchnorm/~/var_ema:average", "bn1.running_var"),
    ("initial_batchnorm/~/mean_ema:counter", "bn1.num_batches_tracked"),
    ("block_group_0/~/block_0/~/conv_0:w", "layer1.0.conv1.weight"),
    ("block_group_3/~/block_35/~/conv_2:w", "layer4.35.conv3.weight"),
    ("block_group_1/~/block_2/~/groupnorm_1:scale", "layer2.2.bn2.weight"),
    ("block_group_2/~/block_0/~/shortcut_conv:w", "layer3.0.downsample.0.weight"),
    (
      "block_group_2/~/block_0/~/shortcut_affinenorm:offset",
      "layer3.0.downsample.1.bias",
    ),
    (
      "block_group_2/~/block_0/~/shortcut_batchnorm/~/var_ema:average",
      "layer3.0.downsample.1.running_var",
    ),
  ],
)
def test_names(ours, theirs):
  assert torchvision.key_of(f"res_net50/~/{ours}")[0] == theirs


def test_axes():
  encoder = encoders.make("batch", 18, "imagenet")
  weights = torchvision.weights(encoder)
  ours = encoder.params["res_net18/~/block_group_1/~/block_0/~/conv_0"]["w"]
  theirs = weights["layer2.0.conv1.weight"]
  assert theirs.shape == (16, 8, 3, 3)
  assert theirs[5, 2, 0, 1] == ours[0, 1, 2, 5]
  assert weights["bn1.num_batches_tracked"].dtype == np.int64


def test_standardisation_is_folded_in():
  encoder = encoders.make("group", 10, standardised=True)
  for key, weight in torchvision.weights(encoder).items():
    if weight.ndim == 4:
      rows = weight.reshape(len(weight), -1)
      np.testing.assert_allclose(rows.mean(1), 0, atol=1e-5, err_msg=key)
      np.testing.assert_allclose(rows.std(1), 1, rtol=1e-3, err_msg=key)


# torchvision is no dependency of the tests. This is its ResNet-18, with its padding.


class BasicBlock(nn.Module):
  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    self.bn1 = nn.BatchNorm2d(outputs)
    self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
    self.bn2 = nn.BatchNorm2d(outputs)
    self.downsample = None
    if stride > 1:
      self.downsample = nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
      )

  def forward(self, x):
    shortcut = x if self.downsample is None else self.downsample(x)
    x = F.relu(self.bn1(self.conv1(x)))
    return F.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet18(nn.Module):
  def __init__(self, width=64):
    super().__init__()
    self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
    self.bn1 = nn.BatchNorm2d(width)
    inputs = width
    for i in range(4):
      outputs = width * 2**i
      first = BasicBlock(inputs, outputs, 2 if i else 1)
      stage = nn.Sequential(first, BasicBlock(outputs, outputs, 1))
      self.add_module(f"layer{i + 1}", stage)
      inputs = outputs
    self.fc = nn.Linear(inputs, 10)

  def forward(self, x):
    x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
    return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


@pytest.fixture(scope="module")
def trained():
  """A network that has seen some images, in eval mode."""
  torch.manual_seed(0)
  network = ResNet18(width=8)
  with torch.no_grad():
    for parameter in network.parameters():
      parameter.add_(0.1 * torch.randn_like(parameter))
    for _ in range(20):
      network(torch.randn(8, 3, 65, 65))
  return network.eval()


@pytest.fixture
def small(monkeypatch):
  """The size at which weights are imported, small, and 32 n + 1 too."""
  form = ImageForm(65, 3, (0.0,), (1.0,), 1.0)
  monkeypatch.setattr(torchvision, "IMAGE", form)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_features_are_those_of_torchvisions_network(trained, tmp_path, suffix):
  import safetensors.torch

  path = tmp_path / f"resnet18{suffix}"
  save = torch.save if suffix == ".pth" else safetensors.torch.save_file
  # A name in the metadata that is ours too does not make it one of ours.
  settings = [{"encoder": "resnet18"}] if suffix == ".safetensors" else []
  save(trained.state_dict(), path, *settings)
  encoder = export.read(path)
  network = encoder.description.network
  assert network["depth"] == 18
  assert (network["width"], network["stem"], network["norm"]) == (
    0.125,
    "imagenet",
    "batch",
  )
  if suffix == ".pth":  # the other is the same
    images = encoders.images(encoder)
    with torch.inference_mode():
      expected = trained(torch.tensor(images).movedim(3, 1) / 255).numpy()
    np.testing.assert_allclose(encoder(images), expected, atol=1e-4)
    (counter,) = {int(v["counter"]) for v in encoder.stats.values()}
    assert counter == 20


def test_imported_weights_see_images_of_a_size_at_which_paddings_agree():
  assert torchvision.IMAGE.size % 32 == 1


def test_a_projection_in_stage_1_is_read_off_the_weights():
  encoder = encoders.make("batch", 18, "imagenet", projected_shortcuts="every_stage")
  weights = torchvision.weights(encoder)
  assert weights["layer1.0.downsample.0.weight"].shape == (8, 8, 1, 1)
  network = torchvision.network_of(weights, "F")
  assert network["projected_shortcuts"] == "every_stage"
  del weights["layer1.0.downsample.0.weight"]
  assert torchvision.network_of(weights, "F")["projected_shortcuts"] == "as_needed"


def states(network, **changes):
  found = {name: t.numpy() for name, t in network.state_dict().items()} | changes
  return {name: array for name, array in found.items() if array is not None}


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"conv1.weight": None},
      r"has no conv1.weight \[O, I, H, W\], as torchvision's",
    ),
    (
      {"layer3.1.bn2.bias": None},
      r"has no layer3\.1\.bn2\.bias: it is another network",
    ),
    (
      {"layer2.0.conv1.weight": np.zeros((16, 4, 3, 3))},
      r"layer2.0.conv1.weight of shape \[16, 4, 3, 3\], .* have \[16, 8, 3, 3\]",
    ),
    (
      {"layer1.0.se.weight": np.zeros(1)},
      "has layer1.0.se.weight, for which there is no",
    ),
    ({"layer4.2.conv1.weight": np.zeros(1)}, "has 2, 2, 2, 3 basic blocks"),
    ({"conv1.weight": np.zeros((8, 3, 5, 5))}, "first convolution of 5 x 5"),
    ({"bn1.running_mean": None}, "norms without running statistics"),
    ({"conv1.weight": np.zeros((8, 4, 7, 7))}, "images with 4 channels"),
    ({"bn1.bias": np.zeros(8, np.int8)}, "bn1.bias in int8: floating point can be"),
    ({"conv1.weight": np.zeros(3)}, r"has no conv1.weight \[O, I, H, W\]"),
  ],
)
def test_other_networks_are_refused(trained, changes, message, tmp_path):
  import safetensors.numpy

  path = tmp_path / "F.safetensors"
  safetensors.numpy.save_file(states(trained, **changes), path)
  with pytest.raises(UserError, match=message):
    export.read(path)
