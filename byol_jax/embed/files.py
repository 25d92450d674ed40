"""Files of features, .npz or .parquet: written block by block, and read.

An .npz has `embedding` float32 [N, D], `path` str [N], `label` int32 [N] (-1 where
there is none), `class_names` str [C], and `provenance`, a text in JSON. A Parquet file
has the first three as columns, a row group a block, and the others in its metadata, in
JSON.

A path is a str as Python has it: bytes that are no UTF-8 are surrogates, as
`os.fsdecode` makes them. Parquet's column is a string, and where a single path is no
UTF-8 binary, with the bytes themselves.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from byol_jax import disk, machine
from byol_jax.data.sources import NO_LABEL
from byol_jax.disk import absolute
from byol_jax.errors import UserError
from byol_jax.valid import fits

COLUMNS = ("embedding", "path", "label")

# What a reader can rely on in `Features.provenance`, and in notes that may be there.
_PROVENANCE: dict[str, Any] = {
  "encoder": {"step": int, "checksum": str},
  "images": {"split": str},
}
_NOTES: dict[str, Any] = {
  "run": str,
  "data": {"name": str, "data_dir": (str, type(None))},
}
# What NumPy, zipfile and Arrow raise on a file that is damaged or something else.
_DAMAGE = (
  AttributeError,
  OSError,
  EOFError,
  KeyError,
  IndexError,  # of a column whose name is damaged
  MemoryError,  # for what a few bytes claim
  RuntimeError,  # too deep, packed in an unknown way, or encrypted
  TypeError,
  ValueError,
  zipfile.BadZipFile,
  zlib.error,
  pa.ArrowException,
)


class Features(NamedTuple):
  """What a file of features holds.

  Attributes:
    embedding: float32 [N, D].
    path: str [N], where each image is in its folder, or its number in another set.
    label: int32 [N], -1 where there is none.
    class_names: by label; empty where they are not known.
    provenance: encoder, images, code; see `byol_jax.write_features`.
  """

  embedding: np.ndarray
  path: np.ndarray
  label: np.ndarray
  class_names: tuple[str, ...]
  provenance: dict[str, Any]


def check_place(path: str | os.PathLike[str]) -> Path:
  """The path of a file of features, made absolute.

  Raises:
    UserError: it has another ending, or its folder is not there.
  """
  found = absolute(path)
  if found.suffix not in _WRITERS:
    raise UserError(f"{path} is to be written: name a file .npz or .parquet")
  if not found.parent.is_dir():
    there = found.parent.exists()
    what = "is no folder: give one" if there else "is not there: make it first"
    raise UserError(f"{found.parent} {what}, or choose another --out")
  return found


def check_new(path: Path) -> None:
  """Raises UserError if there is something at this path."""
  if os.path.lexists(path):
    raise UserError(
      f"{path} is there already: choose another name, or delete it; what is drawn of"
      f" it takes --features={path} in place of --out"
    )


def write(
  path: Path,
  blocks: Sequence[Path],
  class_names: Sequence[str],
  provenance: Mapping[str, Any],
) -> None:
  """Writes a file of features; no more than a block is in memory.

  Args:
    path: of the file, which is replaced if it is there.
    blocks: .npz files with `COLUMNS`, in order; at least one.
    class_names: see `Features`.
    provenance: likewise.
  """
  _WRITERS[path.suffix](path, blocks, list(class_names), json.dumps(provenance))


def read_features(path: str | os.PathLike[str]) -> Features:
  """Reads a file of features.

  >>> features = byol_jax.read_features("features.npz")
  >>> features.embedding.shape
  (N, D)

  Raises:
    UserError: it is not there, damaged, or something else; or it is more than memory
      holds.
  """
  found = absolute(path)
  if found.suffix not in _READERS:
    raise UserError(f"{path} holds no features: name a file .npz or .parquet")
  try:
    _check_memory(found, disk.check_regular(found))
    features = _READERS[found.suffix](found)
    _check_form(features)
    return features
  except FileNotFoundError as error:
    raise UserError(f"{found} is not there") from error
  except _DAMAGE as error:
    cause = " ".join(str(error).split())[:100]
    raise UserError(
      f"{found} is damaged, or holds no features ({cause}): write it anew"
    ) from error


def read_provenance(path: Path) -> dict[str, Any]:
  """What a file of features says of where it is from; {} if it is something else."""
  try:
    disk.check_regular(path)
    if path.suffix == ".npz":
      found = json.loads(read_column(path, "provenance").item())
    else:
      found = json.loads(pq.read_schema(path).metadata[b"provenance"])
    return found if fits(found, _PROVENANCE) else {}
  except (UserError, *_DAMAGE):
    return {}


def _check_memory(path: Path, size: int) -> None:
  """Raises UserError for more bytes than there can be: the system would kill us."""
  if size > (there := machine.memory()):
    raise UserError(
      f"{path} takes {size / 2**30:.1f} GiB of memory, and there are"
      f" {there / 2**30:.1f} here: read it where there is more"
    )


def _check_form(features: Features) -> None:
  """Raises ValueError for what `write` does not write."""
  embedding, path, label, class_names, provenance = features
  if embedding.ndim != 2 or not embedding.size or embedding.dtype.kind != "f":
    raise ValueError(f"its embedding is {embedding.dtype}{list(embedding.shape)}")
  if path.shape != embedding.shape[:1] or label.shape != embedding.shape[:1]:
    raise ValueError("its arrays are of different lengths")
  if path.dtype.kind != "U" or label.dtype.kind != "i":
    raise ValueError(f"its paths are {path.dtype}, and its labels {label.dtype}")
  if not all(isinstance(name, str) for name in class_names):
    raise ValueError("its names of classes are no texts")
  if label.min() < NO_LABEL or (class_names and label.max() >= len(class_names)):
    raise ValueError(f"a label is of none of its {len(class_names)} classes")
  notes = {name: form for name, form in _NOTES.items() if name in provenance}
  if not fits(provenance, _PROVENANCE | notes):
    raise ValueError("its provenance is of another form")


def read_column(block: Path, name: str) -> np.ndarray:
  """An array of a block.

  Raises:
    UserError: the block is damaged.
  """
  try:
    disk.check_regular(block)
    with np.load(block, allow_pickle=False) as arrays:
      return arrays[name]
  except _DAMAGE as error:
    raise UserError(
      f"{block} is damaged ({error}): delete it, and the same command goes on"
    ) from error


def _write_npz(
  path: Path, blocks: Sequence[Path], class_names: list[str], provenance: str
) -> None:
  with zipfile.ZipFile(path, "w") as archive:
    for name in COLUMNS:
      with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        _write_column(file, name, blocks)
    about = {
      "class_names": np.array(class_names, np.str_),
      "provenance": np.array(provenance),
    }
    for name, array in about.items():
      with archive.open(f"{name}.npy", "w") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def _write_column(file: IO[bytes], name: str, blocks: Sequence[Path]) -> None:
  """Writes one array of all blocks, as `np.save` would."""
  shapes, dtypes = [], []
  for block in blocks:
    array = read_column(block, name)
    shapes.append(array.shape)
    dtypes.append(array.dtype)
  dtype = np.result_type(*dtypes)  # of texts, the widest
  header = {
    "descr": np.lib.format.dtype_to_descr(dtype),
    "fortran_order": False,
    "shape": (sum(shape[0] for shape in shapes), *shapes[0][1:]),
  }
  np.lib.format.write_array_header_1_0(file, header)
  for block in blocks:
    file.write(read_column(block, name).astype(dtype).tobytes())


def _read_npz(path: Path) -> Features:
  with zipfile.ZipFile(path) as archive:  # of a few bytes it could make any number
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
      raise ValueError("it is compressed, as no file of features is")
  with np.load(path, allow_pickle=False) as arrays:
    return Features(
      arrays["embedding"],
      arrays["path"],
      arrays["label"],
      tuple(arrays["class_names"].tolist()),
      json.loads(arrays["provenance"].item()),
    )


def _write_parquet(
  path: Path, blocks: Sequence[Path], class_names: list[str], provenance: str
) -> None:
  are_utf8 = all(
    _is_utf8(name) for b in blocks for name in read_column(b, "path").tolist()
  )
  size = read_column(blocks[0], "embedding").shape[1]
  schema = pa.schema(
    {
      "embedding": pa.list_(pa.float32(), size),
      "path": pa.string() if are_utf8 else pa.binary(),
      "label": pa.int32(),
    },
    metadata={"class_names": json.dumps(class_names), "provenance": provenance},
  )
  with pq.ParquetWriter(path, schema) as writer:
    for block in blocks:
      paths = read_column(block, "path").tolist()
      flat = pa.array(read_column(block, "embedding").reshape(-1))
      columns = [
        pa.FixedSizeListArray.from_arrays(flat, size),
        pa.array(paths if are_utf8 else map(os.fsencode, paths), schema.types[1]),
        pa.array(read_column(block, "label"), pa.int32()),
      ]
      writer.write_table(pa.table(columns, schema))


def _is_utf8(name: str) -> bool:
  try:
    name.encode()
  except UnicodeEncodeError:
    return False
  return True


def _read_parquet(path: Path) -> Features:
  with pq.ParquetFile(path) as file:
    about = file.schema_arrow.metadata or {}
    size = file.schema_arrow.field("embedding").type.list_size
    _check_memory(path, file.metadata.num_rows * size * np.float32().nbytes)
    embedding = np.empty((file.metadata.num_rows, size), np.float32)
    rows = 0
    for batch in file.iter_batches(4096, columns=["embedding"]):
      part = batch.column(0).flatten().to_numpy()
      embedding[rows : rows + len(batch)] = part.reshape(-1, size)
      rows += len(batch)
    names = file.read(["path"]).column(0).to_pylist()
    return Features(
      embedding,
      np.array([os.fsdecode(name) for name in names]),
      file.read(["label"]).column(0).to_numpy(),
      tuple(json.loads(about[b"class_names"])),
      json.loads(about[b"provenance"]),
    )


_WRITERS: dict[str, Callable[[Path, Sequence[Path], list[str], str], None]] = {
  ".npz": _write_npz,
  ".parquet": _write_parquet,
}
_READERS: dict[str, Callable[[Path], Features]] = {
  ".npz": _read_npz,
  ".parquet": _read_parquet,
}
