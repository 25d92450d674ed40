"""Each run of RAFT is a run of BYOL' (Shi et al., 2011.10944, theorem 5.1).

With the sign of the predictor's last, linear layer W changed, the prediction of
each view points the other way, |-p - z|^2 = 4 - |p - z|^2 on the unit sphere, and

  L_RAFT(theta, -W) = L_BYOL'(theta, W) - 4 beta.

The gradients then are those of BYOL', but for the sign of W's, so that two runs
that start so stay so: theta equal, W opposite. All of it in float64.
"""

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from byol_jax import objectives, optim
from byol_jax.nets.heads import MLP
from byol_jax.nets.layers import Layers

STEPS, TAU, ALPHA, BETA = 100, 0.99, 0.7, 1.5
PLAIN = Layers("none")


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def networks(depth):
  """(init, online, target): an encoder of two layers, a predictor of `depth`."""

  def build():
    encode = MLP(PLAIN, hidden=16, outputs=6, name="encoder")
    predict = MLP(PLAIN, hidden=12, outputs=6, depth=depth, name="predictor")

    def online(x):
      return predict(encode(x, True), True)

    return online, (online, lambda x: encode(x, True))

  init, (online, target) = hk.multi_transform(build)

  def init64(seed):
    params = init(jax.random.key(seed), jnp.zeros((1, 8)))
    return jax.tree.map(jnp.float64, params)

  return init64, *(lambda p, x, f=f: f(p, None, x) for f in (online, target))


def mirrored(params):
  """The same, the predictor's last layer with the other sign."""
  last = [module for module in params if module.startswith("predictor/")][-1]
  return params | {last: {name: -value for name, value in params[last].items()}}


def train(objective, depth, optimiser, start):
  """Losses and parameters after each step; two noisy views of 32 points a step."""
  init, online, target = networks(depth)

  @jax.jit
  def step(params, teacher, state, views):
    def loss(params):
      predictions = tuple(online(params, view) for view in views)
      targets = tuple(target(teacher, view) for view in views)
      found = objectives.Outputs(predictions, targets, predictions)
      return objective(found, alpha=ALPHA, beta=BETA)

    value, grads = jax.value_and_grad(loss)(params)
    updates, state = optimiser.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    return value, params, optim.ema_update(teacher, params, TAU), state

  params, teacher, state = start, init(7), optimiser.init(start)
  rng = np.random.default_rng(0)
  losses, history = [], []
  for _ in range(STEPS):
    x = rng.normal(size=(32, 8))
    views = tuple(x + 0.3 * rng.normal(size=x.shape) for _ in range(2))
    value, params, teacher, state = step(params, teacher, state, views)
    losses.append(float(value))
    history.append(params)
  return np.array(losses), history


OPTIMISERS = {
  "sgd": lambda: optim.sgd(optax.constant_schedule(0.05), weight_decay=1e-3),
  "adam": lambda: optim.adam(optax.constant_schedule(3e-3), weight_decay=1e-3),
  "lars": lambda: optim.lars(optim.warmup_cosine(5.0, 0.1, STEPS)),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("depth", [1, 2])
def test_whole_runs_mirror_each_other(depth, optimiser):
  start = networks(depth)[0](seed=0)
  make = OPTIMISERS[optimiser]
  losses, history = train(objectives.byol_prime, depth, make(), start)
  raft_losses, raft_history = train(objectives.raft, depth, make(), mirrored(start))

  np.testing.assert_allclose(raft_losses, losses - 4 * BETA, rtol=0, atol=1e-12)
  for params, raft_params in zip(history, raft_history, strict=True):
    chex.assert_trees_all_close(mirrored(raft_params), params, rtol=0, atol=1e-12)
  # They went somewhere, and the mirror is not the identity.
  assert losses[-1] < 0.8 * losses[0]
  distance = optax.tree.norm(optax.tree.sub(raft_history[-1], history[-1]))
  assert distance > 1.0


def test_without_a_predictor_there_is_no_correspondence():
  start = networks(depth=0)[0](seed=0)
  make = OPTIMISERS["sgd"]
  _, history = train(objectives.byol_prime, 0, make(), start)
  _, raft_history = train(objectives.raft, 0, make(), start)
  apart = [
    float(optax.tree.norm(optax.tree.sub(a, b)))
    for a, b in zip(history, raft_history, strict=True)
  ]
  assert apart[0] > 1e-3
  assert apart[-1] > 0.1
