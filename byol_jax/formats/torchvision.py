"""Weights under the names of torchvision's ResNets, of any depth, width, stem and norm.

Group norm and the others lie where torchvision has batch norm, as with its own
`norm_layer`. There is no `fc`. Where a network projects a shortcut that torchvision's
does not (`projected_shortcuts`), it bears the name of those that torchvision projects.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from byol_jax.description import ImageForm
from byol_jax.errors import UserError
from byol_jax.formats import saved
from byol_jax.nets import layers
from byol_jax.nets.resnet import SHAPES, STEMS
from byol_jax.pretrained import Encoder
from byol_jax.run import stored

# One table, in two parts, for both directions. Modules: ours, below the network, and
# torchvision's; the numbers are those of stage, block and layer, from 0 here and, but
# for the block, from 1 there.
_BLOCK = r"block_group_(\d)/~/block_(\d+)/~/"
_MODULES = (
  (r"initial_conv", "conv1"),
  (r"initial_[a-z]+norm", "bn1"),
  (_BLOCK + r"conv_(\d)", "layer{}.{}.conv{}"),
  (_BLOCK + r"[a-z]+norm_(\d)", "layer{}.{}.bn{}"),
  (_BLOCK + r"shortcut_conv", "layer{}.{}.downsample.0"),
  (_BLOCK + r"shortcut_[a-z]+norm", "layer{}.{}.downsample.1"),
)
# Arrays: ours, below the module; torchvision's; our axes in torchvision's order.
_ARRAYS = {
  ":w": ("weight", (3, 2, 0, 1)),
  ":scale": ("weight", (0,)),
  ":offset": ("bias", (0,)),
  "/~/mean_ema:average": ("running_mean", (0,)),
  "/~/var_ema:average": ("running_var", (0,)),
  "/~/mean_ema:counter": ("num_batches_tracked", ()),
}
# What Haiku's averages hold twice: after many updates these are equal.
_TWINS = {
  "/~/mean_ema:hidden": "/~/mean_ema:average",
  "/~/var_ema:hidden": "/~/var_ema:average",
  "/~/var_ema:counter": "/~/mean_ema:counter",
}
_MANY = 1_000_000  # updates of averages whose number is not known
_PATH = re.compile(r"res_net\d+/~/(.*?)((?:/~/(?:mean|var)_ema)?:[a-z]+)")

# What torchvision's networks are trained on, but for 224 pixels. At 32 n + 1 pixels a
# side "SAME" padding is torchvision's, as every stride meets an odd number of pixels.
IMAGE = ImageForm(225, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), crop=0.875)


def key_of(path: str) -> tuple[str, tuple[int, ...]]:
  """Where torchvision has one of our arrays, and our axes in the order there.

  >>> key_of("res_net50/~/block_group_0/~/block_2/~/conv_1:w")
  ("layer1.2.conv2.weight", (3, 2, 0, 1))
  """
  match = _PATH.fullmatch(path)
  assert match, path
  module, array = match.groups()
  leaf, axes = _ARRAYS[_TWINS.get(array, array)]
  for pattern, key in _MODULES:
    if found := re.fullmatch(pattern, module):
      numbers = [int(n) + (i != 1) for i, n in enumerate(found.groups())]
      return f"{key.format(*numbers)}.{leaf}", axes
  raise AssertionError(path)


def weights(encoder: Encoder) -> dict[str, np.ndarray]:
  """An encoder's weights by torchvision's names; float32, counters int64.

  Weight standardisation is folded in: the network that takes them has none.
  """
  standardised = encoder.description.network["standardised"]
  found = {}
  for path, leaf in stored.named({**encoder.params, **encoder.stats}).items():
    if path.endswith(tuple(_TWINS)):
      continue
    key, axes = key_of(path)
    array = layers.standardise(leaf) if standardised and path.endswith(":w") else leaf
    dtype = np.float32 if axes else np.int64
    found[key] = np.array(np.transpose(array, axes), dtype, order="C")
  return found


def fit(arrays: Mapping[str, np.ndarray], template: Any, path: Path) -> Any:
  """Parameters and statistics of a network from weights by torchvision's names.

  Args:
    arrays: the weights; a classifier among them, `fc`, is left out.
    template: parameters and statistics, as shapes.
    path: where they are from.

  Raises:
    UserError: one is missing, has another shape, or has no place.
  """
  found, left = {}, arrays.keys() - {"fc.weight", "fc.bias"}
  for name, leaf in stored.named({**template[0], **template[1]}).items():
    key, axes = key_of(name)
    array = _fitting(arrays, key, tuple(leaf.shape[axis] for axis in axes), path)
    found[name] = np.transpose(array, np.argsort(axes)).astype(leaf.dtype)
    left.discard(key)
  for key in sorted(left):
    raise UserError(f"{path} has {key}, for which there is no place")
  return saved.in_structure(template, found, path)


def _fitting(
  arrays: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...], path: Path
) -> np.ndarray:
  """The array of that name and shape."""
  if key not in arrays and not shape:  # the older files have no counters
    return np.array(_MANY)
  if key not in arrays:
    raise UserError(f"{path} has no {key}: it is another network, or a part of one")
  array = arrays[key]
  if array.shape != shape:
    raise UserError(
      f"{path} has {key} of shape {list(array.shape)}, and ResNets that can be read"
      f" have {list(shape)}"
    )
  if shape and not jnp.issubdtype(array.dtype, jnp.floating):
    raise UserError(f"{path} has {key} in {array.dtype}: floating point can be read")
  return array


def network_of(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, Any]:
  """The network that weights by torchvision's names are of.

  Raises:
    UserError: it cannot be told, or is none of ours.
  """
  first = arrays.get("conv1.weight", np.zeros(0))
  if first.ndim != 4:
    some = ", ".join(sorted(arrays)[:3])
    raise UserError(
      f"{path} has no conv1.weight [O, I, H, W], as torchvision's ResNets have; it has"
      f" {some}"
    )
  channels, _, kernel, _ = first.shape
  stems = {stem.kernel: name for name, stem in STEMS.items()}
  if kernel not in stems:
    raise UserError(f"{path} has a first convolution of {kernel} x {kernel} pixels")
  blocks = [
    len({key.split(".")[1] for key in arrays if key.startswith(f"layer{stage}.")})
    for stage in (1, 2, 3, 4)
  ]
  bottleneck = "layer1.0.conv3.weight" in arrays
  return {
    "depth": depth(blocks, bottleneck, path),
    "width": channels / 64,
    "stem": stems[kernel],
    "projected_shortcuts": projected_shortcuts(
      bottleneck, "layer1.0.downsample.0.weight" in arrays
    ),
    "norm": _norm(arrays, path),
    "groups": 1,
    "standardised": False,
  }


def depth(blocks: Sequence[int], bottleneck: bool, path: Path) -> int:
  """The depth of a ResNet with these numbers of blocks in its four stages.

  Raises:
    UserError: there is none.
  """
  for known, shape in SHAPES.items():
    if (tuple(blocks), bottleneck) == shape:
      return known
  kind = "bottleneck" if bottleneck else "basic"
  raise UserError(
    f"{path} has {', '.join(map(str, blocks))} {kind} blocks in its four stages: no"
    f" ResNet of depth {', '.join(map(str, SHAPES))} has"
  )


def projected_shortcuts(bottleneck: bool, in_first_stage: bool) -> str:
  """The setting of a ResNet whose first stage has a projection or not."""
  return "every_stage" if in_first_stage and not bottleneck else "as_needed"


def _norm(arrays: Mapping[str, np.ndarray], path: Path) -> str:
  if "bn1.running_mean" in arrays:
    return "batch"
  if "bn1.weight" not in arrays:
    return "none"
  raise UserError(
    f"{path} has norms without running statistics, and does not say which: give the"
    " folder with its config.json, if python -m byol_jax.export has written it"
  )
