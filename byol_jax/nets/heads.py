"""Projector and predictor (Grill et al., 2006.07733, section 3.3)."""

import haiku as hk
import jax

from byol_jax.nets.layers import Layers


class MLP(hk.Module):
  """Linear with bias, norm, ReLU, linear without bias; no norm on the output."""

  def __init__(
    self, layers: Layers, hidden: int, outputs: int, name: str | None = None
  ):
    super().__init__(name)
    self.layers = layers
    self.hidden = hidden
    self.outputs = outputs

  def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
    """Maps [N, C] to [N, outputs]."""
    x = self.layers.linear(self.hidden, name="linear")(x)
    x = self.layers.norm(name="norm")(x, is_training)
    x = jax.nn.relu(x)
    return self.layers.linear(self.outputs, False, name="linear_1")(x)
