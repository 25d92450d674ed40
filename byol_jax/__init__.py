"""BYOL, with and without batch statistics, in JAX and Haiku."""
