"""Is the representation collapsing? Measures on embeddings [N, D].

All compute in float32 at least, work under jit, and give finite values and gradients on
collapsed embeddings too.
"""

import chex
import jax
import jax.numpy as jnp

from byol_jax.sphere import l2_normalise

COLLAPSED_SPREAD = 0.1
COLLAPSED_RANK = 2.0


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
  rounding = 10 * jnp.finfo(jnp.float32).eps * jnp.linalg.norm(h)
  real = sigma > rounding
  sigma = jnp.where(real, sigma, 0.0)
  p = sigma / jnp.where(jnp.any(real), jnp.sum(sigma), 1.0)
  entropy = -jnp.sum(p * jnp.log(jnp.where(real, p, 1.0)))
  return jnp.where(jnp.any(real), jnp.exp(entropy), 0.0)


def alignment(z1: jax.Array, z2: jax.Array) -> jax.Array:
  """Mean squared distance of l2-normalised positive pairs.

  L_align of Wang & Isola 2020 with alpha = 2; RAFT, definition 2.1.

  Args:
    z1: [N, D] embeddings of one view.
    z2: [N, D] embeddings of the other view of the same images.

  Returns:
    A scalar in [0, 4]: 0 when both views agree, 2 for orthogonal pairs.
  """
  chex.assert_rank([z1, z2], 2)
  chex.assert_equal_shape([z1, z2])
  squared = jnp.square(l2_normalise(z1) - l2_normalise(z2))
  return jnp.mean(jnp.sum(squared, axis=-1))


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
