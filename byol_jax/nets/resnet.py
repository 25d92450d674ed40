"""ResNet v1 encoders (He et al., 1512.03385) of any depth, width, stem, norm."""

import functools
from typing import NamedTuple

import haiku as hk
import jax

from byol_jax.errors import UserError, no_such
from byol_jax.nets.convolve import max_pool
from byol_jax.nets.layers import Layers
from byol_jax.nets.normalise import MOMENTS
from byol_jax.valid import Valid


class _Shape(NamedTuple):
  blocks: tuple[int, int, int, int]
  bottleneck: bool


# Times the channels, of which one is to be left of 64.
WIDTHS = Valid(lambda width: 1 / 128 < width <= 64, "more than 1/128, at most 64")

# Depth 10 is not in the paper; one block a stage, it serves small images and
# small machines.
SHAPES = {
  10: _Shape((1, 1, 1, 1), False),
  18: _Shape((2, 2, 2, 2), False),
  34: _Shape((3, 4, 6, 3), False),
  50: _Shape((3, 4, 6, 3), True),
  101: _Shape((3, 4, 23, 3), True),
  152: _Shape((3, 8, 36, 3), True),
  200: _Shape((3, 24, 36, 3), True),
}


class _Stem(NamedTuple):
  kernel: int
  stride: int
  max_pool: bool


STEMS = {
  "imagenet": _Stem(7, 2, True),
  "cifar": _Stem(3, 1, False),  # SimCLR, App. B.9
  "patch": _Stem(4, 4, False),  # non-overlapping patches: the cheap one
}


# Whether the first block of each stage projects its shortcut where it need not.
PROJECTED_SHORTCUTS = {
  "as_needed": (False, False, False, False),  # He et al., option B; torchvision
  "every_stage": (True, True, True, True),  # BYOL's code, byol/utils/networks.py
}


class _Block(hk.Module):
  """Two 3x3 convolutions, or 1x1, 3x3, 1x1 (bottleneck), and a shortcut.

  The stride is in the 3x3 convolution of a bottleneck.
  """

  def __init__(
    self,
    layers: Layers,
    channels: int,
    *,
    stride: int,
    project: bool,
    bottleneck: bool,
    zero_last_scale: bool,
    name: str,
  ):
    super().__init__(name)
    if bottleneck:
      inner = channels // 4
      shapes = [(inner, 1, 1), (inner, 3, stride), (channels, 1, 1)]
    else:
      shapes = [(channels, 3, stride), (channels, 3, 1)]
    last = len(shapes) - 1
    self.convs = [
      layers.conv(*shape, name=f"conv_{i}") for i, shape in enumerate(shapes)
    ]
    self.norms = [
      layers.norm(name=f"norm_{i}", zero_scale=zero_last_scale and i == last)
      for i in range(len(shapes))
    ]
    self.project = project
    if project:
      self.shortcut_conv = layers.conv(channels, 1, stride, name="shortcut_conv")
      self.shortcut_norm = layers.norm(name="shortcut_norm")

  def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
    out = x
    for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
      out = norm(conv(jax.nn.relu(out) if i else out), is_training)
    if self.project:
      x = self.shortcut_norm(self.shortcut_conv(x), is_training)
    return jax.nn.relu(out + x)


def _rematerialised(block: _Block, x: jax.Array, is_training: bool) -> jax.Array:
  """Runs a block of which a backward pass finds the input and the moments alone.

  It recomputes the rest. The moments are kept so that no device waits for the
  others once more.
  """
  if hk.running_init():  # draws parameters, which is not to happen twice
    return block(x, is_training)
  keep = jax.checkpoint_policies.save_only_these_names(MOMENTS)
  return hk.remat(lambda x: block(x, is_training), policy=keep)(x)


class _BlockGroup(hk.Module):
  """The blocks of one stage; the first one may change the shape."""

  def __init__(
    self,
    blocks: int,
    layers: Layers,
    channels: int,
    *,
    stride: int,
    project: bool,
    bottleneck: bool,
    zero_last_scale: bool,
    remat: bool,
    name: str,
  ):
    super().__init__(name)
    self.remat = remat
    self.blocks = [
      _Block(
        layers,
        channels,
        stride=1 if i else stride,
        project=project and not i,
        bottleneck=bottleneck,
        zero_last_scale=zero_last_scale,
        name=f"block_{i}",
      )
      for i in range(blocks)
    ]

  def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
    for block in self.blocks:
      run = functools.partial(_rematerialised, block) if self.remat else block
      x = run(x, is_training)
    return x


class ResNet(hk.Module):
  """ResNet v1 without its classifier.

  Modules bear the names of Haiku's own ResNets in their batch-norm form, so
  that parameters trained with those can be read in.
  """

  def __init__(
    self,
    layers: Layers,
    depth: int = 50,
    width: float = 1,
    *,
    stem: str = "imagenet",
    zero_last_scale: bool = False,
    projected_shortcuts: str = "as_needed",
    remat: bool = False,
  ):
    """Builds the network.

    Args:
      layers: its convolutions and norms.
      depth: a key of `SHAPES`.
      width: multiplies the channels everywhere.
      stem: a key of `STEMS`.
      zero_last_scale: whether the last norm's scale of each block starts at 0
        (Goyal et al., 1706.02677). BYOL's numbers were obtained without it.
      projected_shortcuts: a key of `PROJECTED_SHORTCUTS`. It matters to depths
        without bottlenecks alone, whose first stage keeps the shape.
      remat: whether blocks are recomputed in the backward pass, which takes
        less memory and more time.

    Raises:
      UserError: for a depth, a stem or projections that are in no table.
    """
    if depth not in SHAPES:
      raise no_such("ResNet of depth", depth, SHAPES)
    if stem not in STEMS:
      raise no_such("stem", stem, STEMS)
    if projected_shortcuts not in PROJECTED_SHORTCUTS:
      raise no_such(
        "value of encoder.projected_shortcuts", projected_shortcuts, PROJECTED_SHORTCUTS
      )
    if width not in WIDTHS:
      raise UserError(f"encoder.width is {width}: give {WIDTHS.words}")
    super().__init__(f"res_net{depth}")
    blocks, bottleneck = SHAPES[depth]
    kernel, stride, self.max_pool = STEMS[stem]
    channels = round(64 * width)
    self.initial_conv = layers.conv(channels, kernel, stride, name="initial_conv")
    self.initial_norm = layers.norm(name="initial_norm")
    expansion = 4 if bottleneck else 1
    projected = PROJECTED_SHORTCUTS[projected_shortcuts]
    self.groups = [
      _BlockGroup(
        count,
        layers,
        expansion * channels * 2**i,
        stride=2 if i else 1,
        project=bool(i) or bottleneck or projected[i],
        bottleneck=bottleneck,
        zero_last_scale=zero_last_scale,
        remat=remat,
        name=f"block_group_{i}",
      )
      for i, count in enumerate(blocks)
    ]

  def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
    """Maps images [N, H, W, C] to representations [N, D], the pooled output."""
    x = self.initial_norm(self.initial_conv(x), is_training)
    x = jax.nn.relu(x)
    if self.max_pool:
      x = max_pool(x)
    for group in self.groups:
      x = group(x, is_training)
    return x.mean((1, 2))
