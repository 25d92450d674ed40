"""DeepMind's published checkpoints of BYOL: pickles, of which nothing is run.

A checkpoint is a dict of `experiment_state`, `step` and `rng`; the state is a named
tuple with `online_params` and `online_state`, Haiku's two-level mappings module -> name
-> array (google-deepmind/deepmind-research, byol/utils/checkpointing.py and
byol_experiment.py). It was written by dill, which may note the fields of named tuples
with them.

A pickle is a program that may call anything it names. The unpickler here knows the
names in `_admitted` and stops at any other; what it gives for them makes containers and
arrays of numbers, and imports nothing.
"""

import collections
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from byol_jax.description import Description
from byol_jax.errors import UserError
from byol_jax.formats import saved, torchvision
from byol_jax.pretrained import Encoder, shapes
from byol_jax.run import stored

IMAGE = torchvision.IMAGE._replace(size=224)  # byol/utils/dataset.py

# The fields of the code's own named tuples, where a pickle has them by name alone.
_STATES = {
  "_ByolExperimentState": (
    "online_params",
    "target_params",
    "online_state",
    "target_state",
    "opt_state",
  ),
  "ScaleByLarsState": ("mu",),
  "AddWeightDecayState": (),
  "ScaleState": (),
  "EmptyState": (),
}


def read(path: Path) -> Encoder:
  """Reads the online encoder of a checkpoint.

  Raises:
    UserError: it is none; it names something that has no place in one; or its network
      is none of ours.
  """
  checkpoint = _unpickled(path)
  try:
    state, step = checkpoint["experiment_state"], int(checkpoint["step"])
    arrays = _encoder_arrays(state.online_params) | _encoder_arrays(state.online_state)
  except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
    raise UserError(
      f"{path} is no checkpoint of DeepMind's BYOL ({error!r})"
    ) from error
  description = Description(_network(arrays, path), "float32", IMAGE)
  template = shapes(description)
  wanted = stored.named({**template[0], **template[1]})
  prefix = f"res_net{description.network['depth']}/~/"
  found = {prefix + name: array for name, array in arrays.items()}
  for name, leaf in wanted.items():
    array = found.get(name)
    # Haiku's batch norm has [1, 1, 1, C].
    if array is not None and array.size == np.prod(leaf.shape):
      found[name] = array.reshape(leaf.shape)
  params, stats = saved.in_structure(template, found, path)
  return Encoder(params, stats, description, step)


def _encoder_arrays(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
  """The encoder's arrays by their path below it: "initial_conv:w".

  Its first convolution may be called "initial_conv_1", as where a class that is derived
  from Haiku's ResNet makes that layer anew.
  """
  found: dict[str, np.ndarray] = {}
  for module, values in tree.items():
    match = re.fullmatch(r"(?:.*/)?res_net\d+/~/(.*)", module)
    if match:
      module = match[1].replace("initial_conv_1", "initial_conv")
      found |= {f"{module}:{name}": np.asarray(value) for name, value in values.items()}
  return found


def _network(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, Any]:
  if "initial_conv:w" not in arrays:
    raise UserError(f"{path} has no initial_conv of a ResNet")
  blocks = [
    len({name.split("/")[2] for name in arrays if name.startswith(f"block_group_{i}/")})
    for i in range(4)
  ]
  bottleneck = "block_group_0/~/block_0/~/conv_2:w" in arrays
  return {
    "depth": torchvision.depth(blocks, bottleneck, path),
    "width": arrays["initial_conv:w"].shape[-1] / 64,
    "stem": "imagenet",
    "projected_shortcuts": torchvision.projected_shortcuts(
      bottleneck, "block_group_0/~/block_0/~/shortcut_conv:w" in arrays
    ),
    "norm": "batch",
    "groups": 1,
    "standardised": False,
  }


def _unpickled(path: Path) -> Any:
  try:
    with path.open("rb") as file:
      return _Unpickler(file).load()
  except _Refused as error:
    raise UserError(
      f"{path} names {error}, which has no place in a checkpoint: nothing of it was run"
    ) from error
  except Exception as error:  # Damaged pickles fail in many ways.
    raise UserError(f"{path} is no whole pickle of a checkpoint ({error})") from error


class _Refused(Exception):
  """A pickle names something that is not admitted."""


class _Unpickler(pickle.Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    """What stands for a name in the pickle; it is never imported."""
    admitted = _admitted()
    if (module, name) in admitted:
      return admitted[module, name]
    if name in _STATES and module.split(".")[0] in ("byol", "optax", "__main__"):
      return collections.namedtuple(name, _STATES[name])
    raise _Refused(f"{module}.{name}")


def _admitted() -> dict[tuple[str, str], Callable[..., Any]]:
  """New values each time, as a pickle may set attributes of those written in Python."""
  reconstruct: Any = np.zeros(0).__reduce__()[0]
  scalar: Any = np.float32(0).__reduce__()[0]

  def encode(text: str, encoding: str) -> bytes:  # bytes, in protocol 2
    if encoding != "latin1":
      raise ValueError(f"bytes as {encoding}")
    return text.encode("latin1")

  def named_tuple(name: str, fields: Sequence[str], module: str) -> type:
    del name, module
    return collections.namedtuple("State", fields)

  def device_array(
    make: Callable[..., np.ndarray], arguments: tuple, state: Any, kind: Any
  ) -> np.ndarray:
    del kind
    array = make(*arguments)
    array.__setstate__(state)
    return array

  found: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): encode,
    ("__builtin__", "bytes"): bytes,
    ("builtins", "bytes"): bytes,
    ("collections", "OrderedDict"): dict,
    ("haiku._src.data_structures", "FlatMapping"): dict,
    ("haiku._src.data_structures", "frozendict"): dict,
    ("dill._dill", "_create_namedtuple"): named_tuple,
    ("jax._src.device_array", "reconstruct_device_array"): device_array,
    ("jax._src.array", "_reconstruct_array"): device_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
  }
  for numpy in ("numpy.core.multiarray", "numpy._core.multiarray"):
    found |= {(numpy, "_reconstruct"): reconstruct, (numpy, "scalar"): scalar}
  return found
