"""Splits and slices of them, in the notation of tensorflow-datasets."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds

from byol_jax.errors import UserError


def resolve(
  name: str, spec: str, sizes: Mapping[str, int | Sequence[int]]
) -> list[tuple[str, slice]]:
  """The named splits and slices that a split string adds up.

  Args:
    name: the data set's, for the error.
    spec: such as "train", "train[10000:]", "train[:10%]", "train+test" or "all".
    sizes: name of each split -> number of its images, or of those in each of its
      files, for specs such as "train[:2shard]".

  Returns:
    Names and the positions in each; none of them is empty.

  Raises:
    UserError: there is no such split, or nothing in it.
  """
  shards = {split: _files(size) for split, size in sizes.items()}
  totals = {split: sum(lengths) for split, lengths in shards.items()}
  infos = tfds.core.SplitDict(
    tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=0)
    for split, lengths in shards.items()
  )
  try:
    instructions = tfds.core.ReadInstruction.from_spec(spec).to_absolute(infos)
  except (ValueError, NotImplementedError):  # the latter of slices of "all"
    instructions = []
  parts = [(part.splitname, slice(part.from_, part.to)) for part in instructions]
  if not parts or not all(range(totals[split])[part] for split, part in parts):
    known = ", ".join(f"{split} ({size} images)" for split, size in totals.items())
    raise UserError(
      f"{name} has nothing for the split {spec!r}: it has {known}, and slices"
      " such as 'train[:10%]' or 'train[100:]'"
    )
  return parts


def count(name: str, spec: str, sizes: Mapping[str, int | Sequence[int]]) -> int:
  """The number of images of a split; see `resolve`."""
  parts = resolve(name, spec, sizes)
  return sum(len(range(sum(_files(sizes[split])))[part]) for split, part in parts)


def shared(name: str, one: str, other: str, sizes: Mapping[str, int]) -> int:
  """The number of images that two splits have in common.

  Args:
    name: as for `resolve`.
    one, other: the splits; of one in shards, whose sizes are not known here, 0.
    sizes: as for `resolve`.
  """
  if "shard" in one + other:
    return 0
  first, second = (_places(name, spec, sizes) for spec in (one, other))
  return sum(len(np.intersect1d(first[s], second[s])) for s in first.keys() & second)


def _places(name: str, spec: str, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
  """Named split -> places in it."""
  found: dict[str, list[np.ndarray]] = {}
  for split, part in resolve(name, spec, sizes):
    found.setdefault(split, []).append(np.arange(sizes[split])[part])
  return {split: np.concatenate(parts) for split, parts in found.items()}


def listing(sizes: Mapping[str, int]) -> list[str]:
  """A line for each split, with its size."""
  return [f"{split}\t{size}" for split, size in sizes.items()]


def _files(size: int | Sequence[int]) -> list[int]:
  """The number of images in each file of a split."""
  return [size] if isinstance(size, int) else list(size)
