"""Is the representation collapsing, and is it any good? Measures without labels.

On embeddings [N, D]. All compute in float32 at least and give finite values on
collapsed embeddings too. The host computes `rankme`, `lidar` and `invariance`, in
float64; the others work under jit and have finite gradients.
"""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.special

from byol_jax import objectives
from byol_jax.sphere import l2_normalise

COLLAPSED_SPREAD = 0.1
COLLAPSED_RANK = 2.0

_EPSILON = 1e-7  # RankMe's, in equation 1, beside each share of the sum
_ROUNDING = 10 * float(
  np.finfo(np.float32).eps
)  # of embeddings, relative to their size


def spread(z: jax.Array) -> jax.Array:
  """sqrt(D) times the mean over dimensions of the std of l2-normalised z.

  The collapse measure of SimSiam (Chen & He 2021, section 4.1), scaled so that
  its range does not depend on D.

  Args:
    z: [N, D] embeddings.

  Returns:
    A scalar in [0, 1]: about 1 for directions spread evenly over the sphere, 0
    when all embeddings point the same way.
  """
  chex.assert_rank(z, 2)
  variance = jnp.var(l2_normalise(z), axis=0)
  positive = variance > 0
  # The gradient of sqrt at 0 is infinite; the inner where keeps it out.
  std = jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)
  return jnp.sqrt(z.shape[1]) * jnp.mean(std)


def common_part(z: jax.Array) -> jax.Array:
  """Squared length of the mean of l2-normalised z: what all directions share.

  1 - this is the variance of the directions, of which `spread` is a root mean.

  Args:
    z: [N, D] features or embeddings.

  Returns:
    A scalar in [0, 1]: about 1 / N when the directions cancel out, 1 when all
    embeddings point the same way.
  """
  chex.assert_rank(z, 2)
  return jnp.sum(jnp.square(jnp.mean(l2_normalise(z), axis=0)))


def effective_rank(h: jax.Array) -> jax.Array:
  """exp of the entropy of the normalised singular values (Roy & Vetterli 2007).

  Of the centred features, so that a shared offset counts for nothing. Singular
  values that rounding alone explains count as zero.

  Args:
    h: [N, D] features or embeddings.

  Returns:
    A scalar in [1, min(N - 1, D)], the number of directions that the features
    vary in, or 0 when they do not vary at all.
  """
  chex.assert_rank(h, 2)
  h = h.astype(jnp.float32)
  sigma = jnp.linalg.svd(h - jnp.mean(h, axis=0), compute_uv=False)
  rounding = _ROUNDING * jnp.linalg.norm(h)
  real = sigma > rounding
  sigma = jnp.where(real, sigma, 0.0)
  p = sigma / jnp.where(jnp.any(real), jnp.sum(sigma), 1.0)
  entropy = -jnp.sum(p * jnp.log(jnp.where(real, p, 1.0)))
  return jnp.where(jnp.any(real), jnp.exp(entropy), 0.0)


def rankme(z: np.ndarray) -> float:
  """RankMe (Garrido et al. 2023, equation 1), the smooth rank of embeddings.

  exp of the entropy of p_k = sigma_k / sum sigma + 1e-7. Unlike `effective_rank`, it
  is of the embeddings as they are, not centred: a large shared offset brings it near 1.
  The paper's embeddings are projections, 25 600 of them.

  Args:
    z: [N, D] features or embeddings.

  Returns:
    A value between 1 and about min(N, D), 0 when all embeddings are zero, NaN when z is
    not finite.
  """
  chex.assert_rank(z, 2)
  if not np.isfinite(z).all():
    return math.nan
  if not z.any():
    return 0.0
  z = np.asarray(z, np.float64)
  # A tenth of an SVD's time, and rounding far below epsilon.
  products = z.T @ z if len(z) > z.shape[1] else z @ z.T
  sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(products), 0))
  return float(np.exp(scipy.special.entr(sigma / sigma.sum() + _EPSILON).sum()))


def lidar(z: np.ndarray, delta: float = 1e-4) -> float:
  """LiDAR (Thilak et al. 2024, equations 1 and 2): the rank that views do not explain.

  exp of the entropy of the eigenvalues of Sw^(-1/2) Sb Sw^(-1/2), each divided by their
  sum, where an image is a class and its views are the samples: Sb is the covariance of
  the images' means, Sw that of the views around their image's mean, plus delta I. A
  direction in which an image's views differ as much as images do counts for little.

  Nothing is added to the shares, as some implementations do and RankMe does.

  Noise alone leaves eigenvalues of about 1 / V, so values are to be compared at equal
  V, and with N above D.

  Args:
    z: [N, V, D] features or embeddings of V views, at least 2, of each of N images.
    delta: what keeps Sw from being singular, above 0. We could not read the paper's own
      value; 1e-4 is that of stable-pretraining.

  Returns:
    A value between 1 and min(N - 1, D), 0 when the images' means do not differ by more
    than float32's rounding, NaN when z is not finite.
  """
  chex.assert_rank(z, 3)
  chex.assert_axis_dimension_gt(z, 1, 1)
  if not np.isfinite(z).all():
    return math.nan
  z = np.asarray(z, np.float64)
  means = z.mean(axis=1)
  between = _covariance(means - means.mean(axis=0))
  within = _covariance((z - means[:, None]).reshape(-1, z.shape[-1]))
  within += delta * np.eye(z.shape[-1])
  # Those of a matrix that is similar to the paper's, Sw^-1 Sb.
  eigenvalues = np.maximum(scipy.linalg.eigh(between, within, eigvals_only=True), 0)
  rounding = _ROUNDING**2 * np.mean(np.sum(means**2, axis=1))
  eigenvalues[eigenvalues <= rounding / delta] = 0
  if not eigenvalues.any():
    return 0.0
  shares = eigenvalues / eigenvalues.sum()
  return float(np.exp(scipy.special.entr(shares).sum()))


def invariance(z: np.ndarray) -> float:
  """How much nearer to each other views of one image are than views of two.

  1 - (mean squared distance of two views of an image) / (that of views of two images),
  of l2-normalised z: alignment, but relative to how far apart images are at all, so
  that a collapse, which aligns everything, gains nothing by it. It is the share of the
  variance that is between images, their intraclass correlation (Fisher 1925).

  Args:
    z: [N, V, D] embeddings of V views, at least 2, of each of N images, at least 2.

  Returns:
    A value of at most 1: 1 when the view does not matter, about 0 when an image's views
    are as unlike each other as any; 0 when all embeddings are the same up to float32's
    rounding, NaN when z is not finite.
  """
  chex.assert_rank(z, 3)
  chex.assert_axis_dimension_gt(z, 0, 1)
  chex.assert_axis_dimension_gt(z, 1, 1)
  images, views, _ = z.shape
  if not np.isfinite(z).all():
    return math.nan
  z = np.asarray(z, np.float64)
  z = z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
  z = z - z.mean(axis=(0, 1))
  square = np.mean(np.sum(z**2, axis=-1))
  of_means = np.mean(np.sum(z.mean(axis=1) ** 2, axis=-1))
  # Products of two views of one image, and of views of two, which sum up to zero.
  same = (views * of_means - square) / (views - 1)
  other = -of_means / (images - 1)
  apart = square - other
  return float(1 - (square - same) / apart) if apart > _ROUNDING**2 else 0.0


def _covariance(centred: np.ndarray) -> np.ndarray:
  return centred.T @ centred / len(centred)


def alignment(z1: jax.Array, z2: jax.Array) -> jax.Array:
  """Mean squared distance of l2-normalised positive pairs.

  L_align of Wang & Isola 2020 with alpha = 2; RAFT, definition 2.1.

  Args:
    z1: [N, D] embeddings of one view.
    z2: [N, D] embeddings of the other view of the same images.

  Returns:
    A scalar in [0, 4]: 0 when both views agree, 2 for orthogonal pairs.
  """
  return jnp.mean(objectives.regression(z1, z2))


def uniformity(z: jax.Array, t: float = 2.0) -> jax.Array:
  """log of the mean over distinct pairs of exp(-t |z_i - z_j|^2), z normalised.

  L_uniform of Wang & Isola 2020; RAFT, definition 2.2.

  Args:
    z: [N, D] embeddings, N at least 2.
    t: inverse temperature.

  Returns:
    A scalar in [-4 t, 0]: 0 when all embeddings are the same, about -2 t when
    they are spread evenly over a sphere of many dimensions.
  """
  chex.assert_rank(z, 2)
  chex.assert_axis_dimension_gt(z, 0, 1)
  n = z.shape[0]
  z = l2_normalise(z)
  cosine = jnp.matmul(z, z.T, precision=jax.lax.Precision.HIGHEST)
  norms = jnp.sum(jnp.square(z), axis=-1)
  squared = jnp.maximum(norms[:, None] + norms - 2 * cosine, 0.0)
  pairs = jnp.where(jnp.eye(n, dtype=bool), 0.0, jnp.exp(-t * squared))
  return jnp.log(jnp.sum(pairs) / (n * (n - 1)))


def is_collapsed(spread_value: float, rank: float) -> bool:
  """Whether embeddings have collapsed, for telling the user so in plain words.

  They have when their `spread` is under 0.1 (all directions nearly the same)
  or their `effective_rank` under 2 (all on one line); NaN counts as collapsed.
  """
  healthy = spread_value >= COLLAPSED_SPREAD and rank >= COLLAPSED_RANK
  return not healthy
