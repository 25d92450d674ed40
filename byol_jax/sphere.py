"""The unit sphere, on which embeddings are compared."""

import jax
import jax.numpy as jnp


def l2_normalise(x: jax.Array) -> jax.Array:
  """Scales vectors [..., D] to length 1, as BYOL's reference code does.

  x * rsqrt(max(sum(x^2), 1e-12)): vectors shorter than 1e-6 stay shorter than
  1, and zero stays zero. Where the sum overflows the result is NaN, and not the zero
  that rsqrt would make: the network has diverged. It is float32 at least.
  """
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  square_sum = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  square_sum = jnp.where(jnp.isinf(square_sum), jnp.nan, square_sum)
  return x * jax.lax.rsqrt(jnp.maximum(square_sum, 1e-12))
