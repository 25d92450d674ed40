"""What a pretraining run has learned, and hands from step to step."""

from typing import NamedTuple

import haiku as hk
import jax
import optax

from byol_jax.nets import closed_form


class State(NamedTuple):
  """All that a run has learned, the same on every device.

  Attributes:
    step: number of updates made.
    online: parameters of encoder, projector, predictor and online classifier.
    target: parameters of the target's encoder and projector; nothing for
      objectives without a target network.
    online_stats: running statistics of the online network's batch norms.
    target_stats: the target network's own.
    optimiser: the optimiser's state.
    moments: what a predictor in closed form is computed from; nothing for others.
  """

  step: jax.Array
  online: hk.Params
  target: hk.Params
  online_stats: hk.State
  target_stats: hk.State
  optimiser: optax.OptState
  moments: closed_form.Moments | tuple[()] = ()


class Carried(NamedTuple):
  """What microbatches hand on, which gradients do not change; see `State`."""

  online_stats: hk.State
  target_stats: hk.State
  moments: closed_form.Moments | tuple[()]
