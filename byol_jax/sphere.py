"""The unit sphere, on which embeddings are compared."""

import jax
import jax.numpy as jnp


def l2_normalise(x: jax.Array) -> jax.Array:
  """Scales vectors [..., D] to length 1, as BYOL's reference code does.

  x * rsqrt(max(sum(x^2), 1e-12)): vectors shorter than 1e-6 stay shorter than
  1, and zero stays zero. The result is float32 at least.
  """
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  square_sum = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(square_sum, 1e-12))
