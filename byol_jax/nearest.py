"""Nearest images and near-duplicates by cosine: exact, in tiles, on a host's devices.

Embeddings stay in the host's memory; a device holds two tiles of them at a time, and
the similarities of one with the other.
"""

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from byol_jax import parallel, progress
from byol_jax.errors import UserError
from byol_jax.sphere import l2_normalise

MOST_PAIRS = 1_000_000  # near-duplicates; a threshold that gives more says nothing

_KEYS = 2**16  # embeddings that queries are compared with at a time
_SIMILARITIES = 2**26  # at a time, 256 MB
_ROUNDING = 1e-6  # of a similarity, in float32
_TILE = 2**12  # embeddings a side, where all are compared with all


def neighbours(
  embedding: np.ndarray,
  queries: np.ndarray,
  k: int,
  leave_out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """The k nearest of an embedding to each query, by cosine.

  Of equally similar ones those that come first in `embedding` are the nearest.

  Args:
    embedding: [N, D].
    queries: [Q, D].
    k: how many are wanted, in 1..N; up to N - 1 with `leave_out`.
    leave_out: int [Q], the one that a query is itself and does not count, or -1.

  Returns:
    Indices int32 [Q, k], nearest first, and their similarities float32 [Q, k] in
    [-1, 1].

  Raises:
    UserError: k is out of range, D differs, or something is not finite.
  """
  check(embedding)
  check(queries)
  if queries.shape[1] != embedding.shape[1]:
    raise UserError(
      f"queries have {queries.shape[1]} features, and the embedding"
      f" {embedding.shape[1]}: take both from one encoder"
    )
  others = len(embedding) - (leave_out is not None)
  if not 1 <= k <= others:
    raise UserError(f"{k} neighbours are wanted of {others} images: give 1 to {others}")
  itself = np.full(len(queries), -1) if leave_out is None else leave_out
  similarity = np.full((len(queries), k), -np.inf, np.float32)
  index = np.full((len(queries), k), -1, np.int32)
  tiles = range(0, len(embedding), _KEYS)
  with progress.shown("neighbours", len(tiles) * len(queries), "comparisons") as bar:
    for first in tiles:
      keys = parallel.replicate(embedding[first : first + _KEYS])
      rows = jax.local_device_count() * max(1, _SIMILARITIES // len(keys))
      for start in range(0, len(queries), rows):
        chunk = slice(start, start + rows)
        rest = queries[chunk], itself[chunk], similarity[chunk], index[chunk]
        found = jax.device_get(_by_rows()((keys, first), parallel.spread(rest)))
        similarity[chunk], index[chunk] = (x[: len(rest[0])] for x in found)
        bar.add(len(rest[0]))
  return index, similarity


@functools.cache
def _by_rows() -> Callable[..., tuple[jax.Array, jax.Array]]:
  return parallel.by_rows(_nearer)


def _nearer(
  tile: tuple[jax.Array, jax.Array],
  rows: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array]:
  """The nearest so far [n, k] after another tile of keys, which begins at `first`."""
  (keys, first), (queries, itself, similarity, index) = tile, rows
  k = similarity.shape[1]
  places = first + jnp.arange(len(keys), dtype=jnp.int32)
  found = jnp.where(places == itself[:, None], -jnp.inf, _cosine(queries, keys))
  # The earlier come first, and win ties.
  similarity = jnp.concatenate([similarity, found], axis=1)
  index = jnp.concatenate([index, jnp.broadcast_to(places, found.shape)], axis=1)
  similarity, order = jax.lax.top_k(similarity, k)
  return similarity, jnp.take_along_axis(index, order, axis=1)


def duplicates(
  embedding: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
  """All pairs of an embedding that are at least so similar, by cosine.

  Args:
    embedding: [N, D].
    threshold: least similarity, in (-1, 1], but for float32's rounding: at 1 pairs
      are the same up to that.

  Returns:
    Pairs int64 [P, 2], the lower index first, most similar pairs first, and their
    similarities float32 [P].

  Raises:
    UserError: the threshold is out of range, something is not finite, or there are
      more than `MOST_PAIRS`.
  """
  check(embedding)
  check_threshold(threshold)
  pairs, similarities, count = [np.zeros((0, 2), int)], [np.zeros(0, np.float32)], 0
  starts = range(0, len(embedding), _TILE)
  tiles = list(itertools.combinations_with_replacement(starts, 2))
  with progress.shown("duplicates", len(tiles), "tiles") as bar:
    for i, j in tiles:
      one, other = (jnp.asarray(embedding[k : k + _TILE]) for k in (i, j))
      found, n = _similar(one, other, j - i, threshold - _ROUNDING)
      bar.add()
      if n == 0:
        continue
      if (count := count + int(n)) > MOST_PAIRS:
        raise UserError(
          f"more than {MOST_PAIRS} pairs have a similarity of {threshold:g} or more:"
          " raise the threshold"
        )
      found = np.asarray(found)
      rows, columns = np.nonzero(found > -np.inf)
      pairs.append(np.stack([rows + i, columns + j], axis=1))
      similarities.append(found[rows, columns])
  pair, similarity = np.concatenate(pairs), np.concatenate(similarities)
  order = np.lexsort((pair[:, 1], pair[:, 0], -similarity))
  return pair[order], similarity[order]


def check_threshold(threshold: float) -> None:
  """Raises UserError if a least similarity is out of range."""
  if not -1 < threshold <= 1:
    raise UserError(f"the least similarity is {threshold}: give a number in (-1, 1]")


@jax.jit
def _similar(
  one: jax.Array, other: jax.Array, offset: jax.Array, threshold: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Similarities of two tiles, -inf where they do not count, and how many do.

  Args:
    one: [n, D].
    other: [m, D], which begins `offset` places after the first.
    offset: 0 for a tile and itself: each pair counts once, and nothing with itself.
    threshold: least similarity that counts.
  """
  cosine = _cosine(one, other)
  later = jnp.arange(len(other)) + offset > jnp.arange(len(one))[:, None]
  counts = later & (cosine >= threshold)
  return jnp.where(counts, cosine, -jnp.inf), counts.sum()


def _cosine(one: jax.Array, other: jax.Array) -> jax.Array:
  products = jnp.matmul(
    l2_normalise(one), l2_normalise(other).T, precision=jax.lax.Precision.HIGHEST
  )
  return jnp.clip(products, -1, 1)


def check(embedding: np.ndarray) -> None:
  """Raises UserError if it is of another form, or not finite."""
  if embedding.ndim != 2 or not len(embedding):
    raise UserError(f"the embedding is {list(embedding.shape)}: give [N, D], N above 0")
  if not np.isfinite(embedding).all():
    raise UserError(
      "the embedding holds NaN or infinite values: the network has diverged; take an"
      " earlier checkpoint"
    )
