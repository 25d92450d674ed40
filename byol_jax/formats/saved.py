"""An encoder as one file, in the format of safetensors.

Its arrays are float32 (counters int32), named as in a checkpoint by their path:
"res_net18/~/initial_conv:w". Its metadata are texts:

encoder   the description, as in encoder.json
step      updates that it was trained for
crc32     of the arrays' bytes, in the order of their names
byol_jax  the version that wrote it
"""

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import numpy as np
import safetensors
import safetensors.numpy

import byol_jax
from byol_jax import description as describe
from byol_jax import parallel
from byol_jax.description import Description
from byol_jax.disk import absolute
from byol_jax.errors import UserError
from byol_jax.formats import output
from byol_jax.run import stored

SUFFIX = ".safetensors"
ENCODER = "encoder"  # the key of the description


def is_file(path: Any) -> bool:
  """Whether a path is, or was meant to be, that of a file rather than of a run."""
  if not isinstance(path, str | os.PathLike):
    return False
  path = absolute(path)
  return path.is_file() or (path.suffix == SUFFIX and not path.is_dir())


def write(
  path: str | os.PathLike[str],
  params: hk.Params,
  stats: hk.State,
  description: Description,
  step: int,
) -> None:
  """Writes an encoder; see `pretrained.Encoder.save`."""
  leaves = stored.named(jax.device_get({**params, **stats}))
  # The writer takes bytes as they lie in memory: not those of a transposed view.
  arrays = {name: np.array(leaf, order="C") for name, leaf in leaves.items()}
  metadata = {
    ENCODER: json.dumps(describe.to_json(description)),
    "step": str(step),
    "crc32": str(_checksum(arrays)),
    "byol_jax": byol_jax.__version__,
  }
  with output.new(path) as file:
    file.write_bytes(safetensors.numpy.save(arrays, metadata))


def is_ours(path: Path) -> bool:
  """Whether a file says that `save` wrote it."""
  return {ENCODER, "crc32"} <= read_metadata(path).keys()


def description(path: Path) -> dict[str, Any]:
  """The description in a file, as `description.to_json` makes it.

  Raises:
    UserError: there is none, or it is damaged or by a newer version.
  """
  metadata = read_metadata(path)
  if ENCODER not in metadata:
    raise UserError(
      f"{path} is no encoder that byol_jax has saved: weights under torchvision's names"
      f" become one by python -m byol_jax.export --encoder={path} --to=safetensors"
    )
  try:
    found = json.loads(metadata[ENCODER])
    if not isinstance(found, dict):
      raise ValueError(f"its description is {found!r:.40}")
    return describe.checked(found, path)
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path} is damaged ({error}): restore it") from error


def load(path: Path, template: Any) -> tuple[int, Any]:
  """Reads an encoder that fits, on every host.

  Args:
    path: of the file.
    template: parameters and statistics, as shapes.

  Returns:
    The step, and numpy arrays in the structure of `template`.

  Raises:
    UserError: it is damaged, or does not fit its own description.
  """
  return parallel.from_first_host(lambda: _load(path, template))


def _load(path: Path, template: Any) -> tuple[int, Any]:
  arrays, metadata = read(path), read_metadata(path)
  step = metadata.get("step", "")
  if metadata.get("crc32") != str(_checksum(arrays)) or not step.isdecimal():
    raise UserError(f"{path} is damaged (its bytes have changed): restore it")
  return int(step), in_structure(template, arrays, path)


def in_structure(template: Any, arrays: Mapping[str, np.ndarray], path: Path) -> Any:
  """Parameters and statistics of a network from arrays by name.

  Args:
    template: both, as shapes.
    arrays: named as in a checkpoint.
    path: where they are from.

  Raises:
    UserError: one is missing, has another shape, or has no place.
  """
  _check_fit(path, arrays, stored.named({**template[0], **template[1]}))
  return tuple(
    jax.tree.unflatten(jax.tree.structure(tree), map(arrays.get, stored.named(tree)))
    for tree in template
  )


def read(path: Path) -> dict[str, np.ndarray]:
  """The arrays of a file in the format of safetensors, whoever wrote it.

  Raises:
    UserError: it is none.
  """
  with _opened(path) as file:
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read_metadata(path: Path) -> dict[str, str]:
  """The metadata of such a file, {} where it has none; raises as `read`."""
  with _opened(path) as file:
    return file.metadata() or {}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      yield file
  except FileNotFoundError as error:
    raise UserError(f"{path} does not exist") from error
  # The latter for a kind of number that numpy lacks.
  except (OSError, safetensors.SafetensorError, TypeError) as error:
    raise UserError(
      f"{path} is no whole file in the format of safetensors ({error})"
    ) from error


def _check_fit(
  path: Path, arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Any]
) -> None:
  """Raises UserError, with the name of an array that is missing or does not fit."""
  for name, leaf in wanted.items():
    if name not in arrays:
      raise UserError(f"{path} has no {name}")
    have, want = (f"{a.dtype.name}{list(a.shape)}" for a in (arrays[name], leaf))
    if have != want:
      raise UserError(f"{path} has {name} as {have}, and its network takes {want}")
  for name in sorted(arrays.keys() - wanted.keys()):
    raise UserError(f"{path} has {name}, for which its network has no place")


def _checksum(arrays: Mapping[str, np.ndarray]) -> int:
  total = 0
  for name in sorted(arrays):
    array = np.ascontiguousarray(arrays[name])
    total = zlib.crc32(array.reshape(-1).view(np.uint8).data, total)
  return total
