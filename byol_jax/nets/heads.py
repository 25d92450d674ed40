"""Projector and predictor (Grill et al., 2006.07733, section 3.3)."""

import haiku as hk
import jax

from byol_jax.errors import UserError
from byol_jax.nets.layers import Layers


class MLP(hk.Module):
  """Linear with bias, norm, ReLU, linear without bias; no norm on the output.

  Args:
    layers: the kinds of layers.
    hidden: width between the linear layers.
    outputs: width of the output.
    depth: number of linear layers: 2 in BYOL, 1 for a linear map, 0 for nothing
      at all (table 14a has 1 to 3).
    identity_init: whether a linear map starts at the identity (RAFT, figure 1).
  """

  def __init__(
    self,
    layers: Layers,
    hidden: int,
    outputs: int,
    depth: int = 2,
    *,
    identity_init: bool = False,
    name: str | None = None,
  ):
    super().__init__(name)
    self.layers = layers
    self.hidden = hidden
    self.outputs = outputs
    self.depth = depth
    self.identity_init = identity_init

  def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
    """Maps [N, C] to [N, outputs]; to itself at depth 0."""
    self._check(x.shape[-1])
    for _ in range(self.depth - 1):
      x = self.layers.linear(self.hidden, name="linear")(x)
      x = self.layers.norm(name="norm")(x, is_training)
      x = jax.nn.relu(x)
    if self.depth == 0:
      return x
    init = hk.initializers.Identity() if self.identity_init else None
    return self.layers.linear(self.outputs, False, w_init=init, name="linear")(x)

  def _check(self, inputs: int) -> None:
    """Refuses settings that contradict each other, whatever they would do."""
    name, depth = self.name, self.depth
    if depth < 0:
      raise UserError(f"{name}.depth is {depth}; give 0 or more")
    for size in ("hidden", "outputs"):
      if getattr(self, size) < 1:
        raise UserError(f"{name}.{size} is {getattr(self, size)}; give 1 or more")
    if depth < 2 and self.layers.norm_kind != "none":
      raise UserError(
        f"{name}.depth {depth} has no place for a norm: set {name}.norm=none too"
      )
    if not self.identity_init:
      return
    if depth != 1 or self.layers.standardised or inputs != self.outputs:
      raise UserError(
        f"{name}.identity_init needs a single linear layer ({name}.depth=1), plain"
        f" weights ({name}.standardised=False) and as many outputs as inputs"
      )
