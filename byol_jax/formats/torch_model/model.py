"""A pretrained ResNet in PyTorch alone, with its weights beside it.

  import model
  encoder = model.load(FOLDER)  # the one that this file lies in, if none is named
  features = encoder(encoder.preprocess(images))  # uint8 [N, C, H, W] -> float32 [N, D]

Written by byol_jax (Apache License 2.0). The weights have the names of torchvision's
ResNets, but the network is not torchvision's: it pads as JAX and TensorFlow do, "SAME".
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def load(folder: str | Path | None = None) -> "ResNet":
  """The encoder in a folder with config.json and model.safetensors, in eval mode."""
  folder = Path(folder) if folder else Path(__file__).parent
  config = json.loads((folder / "config.json").read_text())
  encoder = ResNet(config["architecture"], config["image"])
  encoder.load_state_dict(read_safetensors(folder / "model.safetensors"))
  return encoder.eval()


def read_safetensors(path: str | Path) -> dict[str, torch.Tensor]:
  """Tensors by name: the file is the length of a header, the header, and bytes."""
  dtypes = {"F32": torch.float32, "I64": torch.int64}
  with open(path, "rb") as file:
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    data = bytearray(file.read())
  found = {}
  for name, entry in header.items():
    if name != "__metadata__":
      begin, end = entry["data_offsets"]
      tensor = torch.frombuffer(data[begin:end], dtype=dtypes[entry["dtype"]])
      found[name] = tensor.reshape(entry["shape"])
  return found


class ResNet(nn.Module):
  """A ResNet without a classifier: images in, the pooled output of its last block out.

  Args:
    architecture: blocks of the four stages, and whether they are bottlenecks; channels
      of the first convolution, its kernel, its stride, and whether max-pooling follows;
      in which stages the first shortcut is projected although the shape stays; the kind
      of norm and its number of groups.
    image: what it sees of an image: channels, size in pixels, mean and std of the
      standardisation, and the share of the shorter side that the central crop takes.
  """

  def __init__(self, architecture: dict[str, Any], image: dict[str, Any]):
    super().__init__()
    self.image = image
    channels, stem = architecture["channels"], architecture["stem"]
    self.max_pool = stem["max_pool"]
    self.conv1 = Conv(image["channels"], channels, stem["kernel"], stem["stride"])
    self.bn1 = norm(architecture, channels)
    inputs = channels
    for i, blocks in enumerate(architecture["blocks"]):
      stage = []
      for j in range(blocks):
        stride = 2 if i and not j else 1
        project = architecture["projected"][i] and not j
        stage.append(Block(architecture, inputs, channels * 2**i, stride, project))
        inputs = stage[-1].outputs
      self.add_module(f"layer{i + 1}", nn.Sequential(*stage))

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    """Features [N, D] of images [N, C, size, size] that `preprocess` has prepared."""
    x = F.relu(self.bn1(self.conv1(images)))
    if self.max_pool:
      x = F.max_pool2d(pad_same(x, 3, 2, -torch.inf), 3, 2)
    for i in (1, 2, 3, 4):
      x = getattr(self, f"layer{i}")(x)
    return x.mean((2, 3))

  def preprocess(self, images: torch.Tensor) -> torch.Tensor:
    """Averaging, central crop, resizing and standardisation of uint8 [N, C, H, W].

    As byol_jax does it: images more than twice as large as `size` are averaged over
    squares first. Resizing is OpenCV's INTER_CUBIC, up to rounding: one value in 80 000
    or so differs, by one of 255 levels; with 2, 5 or more channels up to one in 17.
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
      raise TypeError(
        f"images are {images.dtype}{list(images.shape)}: give uint8 [N, C, H, W]"
      )
    size, share = self.image["size"], self.image["crop"]
    side = int(share * min(images.shape[2:]))
    images = averaged(images, 1 << max(side // size, 1).bit_length() - 1)
    height, width = images.shape[2:]
    side = max(int(share * min(height, width)), 1)
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    images = images[:, :, top : top + side, left : left + side]
    if side != size:
      pixels = images.cpu().double()  # which not every device has
      pixels = F.interpolate(pixels, (size, size), mode="bicubic").round().clamp(0, 255)
      images = pixels.to(images.device, torch.uint8)
    mean, std = (
      torch.tensor(self.image[name], device=images.device).reshape(-1, 1, 1)
      for name in ("mean", "std")
    )
    return (images.float() / 255 - mean) / std


class Block(nn.Module):
  """Two 3x3 convolutions, or 1x1, 3x3, 1x1 (bottleneck), and a shortcut."""

  def __init__(
    self,
    architecture: dict[str, Any],
    inputs: int,
    channels: int,
    stride: int,
    project: bool,
  ):
    super().__init__()
    bottleneck = architecture["bottleneck"]
    self.outputs = channels * (4 if bottleneck else 1)
    if bottleneck:
      shapes = [(channels, 1, 1), (channels, 3, stride), (self.outputs, 1, 1)]
    else:
      shapes = [(channels, 3, stride), (channels, 3, 1)]
    self.depth = len(shapes)
    before = inputs
    for i, (outputs, kernel, step) in enumerate(shapes, 1):
      self.add_module(f"conv{i}", Conv(before, outputs, kernel, step))
      self.add_module(f"bn{i}", norm(architecture, outputs))
      before = outputs
    self.downsample: nn.Module = nn.Identity()
    if project or stride > 1 or inputs != self.outputs:
      self.downsample = nn.Sequential(
        Conv(inputs, self.outputs, 1, stride), norm(architecture, self.outputs)
      )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """[N, inputs, H, W] -> [N, outputs, ceil(H / stride), ceil(W / stride)]."""
    out = x
    for i in range(1, self.depth + 1):
      out = out if i == 1 else F.relu(out)
      out = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(out))
    return F.relu(out + self.downsample(x))


class Conv(nn.Conv2d):
  """A square convolution without bias, "SAME" padding."""

  def __init__(self, inputs: int, outputs: int, kernel: int, stride: int):
    super().__init__(inputs, outputs, kernel, stride, bias=False)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """[N, inputs, H, W] -> [N, outputs, ceil(H / stride), ceil(W / stride)]."""
    return super().forward(pad_same(x, self.kernel_size[0], self.stride[0]))


def averaged(images: torch.Tensor, scale: int) -> torch.Tensor:
  """Means over squares of `scale` pixels a side of uint8 [N, C, H, W].

  The last ones may reach over the edge, whose pixels go on beyond it.
  """
  if scale == 1:
    return images
  below, right = -images.shape[2] % scale, -images.shape[3] % scale
  pixels = F.pad(images.float(), (0, right, 0, below), mode="replicate")
  means = F.avg_pool2d(pixels, scale)
  # OpenCV rounds halves up in squares of four pixels, else to even numbers.
  rounds_up = scale == 2 and images.shape[1] in (1, 3, 4)
  means = (means + 0.5).floor() if rounds_up else means.round()
  return means.to(torch.uint8)


def pad_same(
  x: torch.Tensor, kernel: int, stride: int, value: float = 0.0
) -> torch.Tensor:
  """Padding with which ceil(size / stride) pixels come out.

  Where the number of pixels to add is odd, the extra one is at the bottom and on the
  right; torchvision's ResNets have the same number of them on both sides.
  """
  pads = []
  for size in (x.shape[3], x.shape[2]):  # F.pad begins with the last axis
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    pads += [total // 2, total - total // 2]
  return F.pad(x, pads, value=value)


class Affine(nn.Module):
  """A scale and an offset for each channel."""

  def __init__(self, channels: int):
    super().__init__()
    self.weight = nn.Parameter(torch.ones(channels))
    self.bias = nn.Parameter(torch.zeros(channels))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """[N, channels, H, W] -> the same."""
    return x * self.weight[:, None, None] + self.bias[:, None, None]


NORMS = {
  "batch": lambda channels, groups: nn.BatchNorm2d(channels, eps=1e-5),
  "group": lambda channels, groups: nn.GroupNorm(groups, channels, eps=1e-5),
  "layer": lambda channels, groups: nn.GroupNorm(1, channels, eps=1e-5),
  "instance": lambda channels, groups: nn.GroupNorm(channels, channels, eps=1e-5),
  "affine": lambda channels, groups: Affine(channels),
  "none": lambda channels, groups: nn.Identity(),
}


def norm(architecture: dict[str, Any], channels: int) -> nn.Module:
  """The norm after a convolution."""
  return NORMS[architecture["norm"]](channels, architecture["groups"])
