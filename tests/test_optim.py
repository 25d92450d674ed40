"""Optimiser, schedules and EMA, against a plain numpy transcription of BYOL's."""

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from byol_jax import optim
from byol_jax.errors import UserError

SHAPES = {
  "net/conv": {"w": (3, 3, 2, 4)},
  "net/groupnorm_0": {"scale": (4,), "offset": (4,)},
  "predictor/linear": {"w": (4, 5), "b": (5,)},
}


def random_params(rng):
  return {
    module: {name: rng.normal(size=shape) for name, shape in values.items()}
    for module, values in SHAPES.items()
  }


def float32(tree):
  return jax.tree.map(jnp.float32, tree)


def test_weights_alone_are_decayed_and_adapted():
  mask = optim.weights_mask(random_params(np.random.default_rng(0)))
  assert mask == {
    "net/conv": {"w": True},
    "net/groupnorm_0": {"scale": False, "offset": False},
    "predictor/linear": {"w": True, "b": False},
  }


def test_lars_schedule_and_ema_follow_the_reference_for_50_steps():
  steps, warmup, peak, decay, eta, beta, tau_base = 50, 0.2, 2.0, 1e-3, 1e-2, 0.9, 0.9
  rng = np.random.default_rng(0)
  params, target = random_params(rng), random_params(rng)
  gradients = [random_params(rng) for _ in range(steps)]

  ours, our_target = float32(params), float32(target)
  optimiser = optim.lars(
    optim.warmup_cosine(peak, warmup, steps), decay, beta, trust_coefficient=eta
  )
  tau = optim.tau_schedule(tau_base, steps)
  state = optimiser.init(ours)
  momentum = jax.tree.map(np.zeros_like, params)
  for k, gradient in enumerate(gradients):
    updates, state = optimiser.update(float32(gradient), state, ours)
    ours = optax.apply_updates(ours, updates)
    our_target = optim.ema_update(our_target, ours, tau(k))

    rate = peak * k / 10 if k < 10 else peak * 0.5 * (1 + np.cos(np.pi * (k - 10) / 40))
    for module, values in params.items():
      for name, p in values.items():
        u = gradient[module][name]
        if name == "w":
          u = u + decay * p
          u = u * eta * np.linalg.norm(p) / np.linalg.norm(u)
        m = momentum[module][name] = beta * momentum[module][name] + u
        values[name] = p - rate * m
    kappa = 1 - (1 - tau_base) * 0.5 * (1 + np.cos(np.pi * k / steps))
    target = jax.tree.map(lambda t, o, k=kappa: t + (1 - k) * (o - t), target, params)

  chex.assert_trees_all_close(ours, float32(params), rtol=2e-4, atol=2e-5)
  chex.assert_trees_all_close(our_target, float32(target), rtol=2e-4, atol=2e-5)


def test_optax_lars_is_another_algorithm():
  # Its momentum holds updates that are scaled by the rate already.
  params = {"net": {"w": jnp.ones((2, 2))}}
  schedule = optim.warmup_cosine(1.0, 0.5, 10)
  ours, theirs = optim.lars(schedule, 0.0), optax.lars(schedule, momentum=0.9)
  results = []
  for optimiser in (ours, theirs):
    state, p = optimiser.init(params), params
    for _ in range(5):
      updates, state = optimiser.update({"net": {"w": jnp.ones((2, 2))}}, state, p)
      p = optax.apply_updates(p, updates)
    results.append(p["net"]["w"])
  assert not np.allclose(*results, rtol=1e-4)


def test_schedule_of_the_papers_run():
  # 1000 epochs at 4096: 312 784 steps, 3127 of them warm-up.
  schedule = optim.warmup_cosine(3.2, 10 / 1000, 312_784)
  np.testing.assert_allclose(schedule(0), 0.0)
  np.testing.assert_allclose(schedule(3127), 3.2, rtol=1e-6)
  np.testing.assert_allclose(schedule(1000), 3.2 * 1000 / 3127, rtol=1e-5)
  np.testing.assert_allclose(schedule(312_784), 0.0, atol=1e-6)


def test_tau_at_the_start_the_middle_and_the_end():
  tau = optim.tau_schedule(0.996, 1000)
  np.testing.assert_allclose([tau(0), tau(500), tau(1000)], [0.996, 0.998, 1.0])


@pytest.mark.parametrize("warmup", [-0.1, 1.0, 3])
def test_a_warmup_that_is_no_share_is_refused(warmup):
  with pytest.raises(UserError, match="warm-up"):
    optim.warmup_cosine(1.0, warmup, 100)


@pytest.mark.parametrize("make", optim.SCHEDULES.values())
@pytest.mark.parametrize("steps", [1, 8])
def test_a_warmup_that_rounds_to_the_whole_run_leaves_its_last_step(make, steps):
  schedule = make(1.0, 0.9999999, steps)
  expected = np.arange(steps) / (steps - 1) if steps > 1 else [1]
  np.testing.assert_allclose([schedule(i) for i in range(steps)], expected, rtol=1e-6)


def test_a_share_below_1_is_never_all_steps():
  assert [optim.share_of_steps(0.9999999, steps) for steps in (1, 8)] == [0, 7]
  assert optim.share_of_steps(1 / 100, 312_784) == 3127
  assert optim.share_of_steps(0.0, 8) == 0


def test_predictors_updates_are_multiplied():
  params = float32(random_params(np.random.default_rng(0)))
  plain, fast = (
    optim.make_optimiser("sgd", lambda _: 0.1, predictor_multiplier=m)
    for m in (1.0, 10.0)
  )
  updates, fast_updates = (
    o.update(params, o.init(params), params)[0] for o in (plain, fast)
  )
  expected = hk.data_structures.map(
    lambda module, _, u: 10 * u if module == "predictor/linear" else u, updates
  )
  chex.assert_trees_all_close(fast_updates, expected, rtol=1e-6)


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    ("larz", {}, r"no optimiser 'larz': did you mean lars\? There are "),
    ("adam", {"trust": 1}, "trust"),
  ],
)
def test_unknown_optimisers_and_settings_are_refused(name, settings, message):
  with pytest.raises(UserError, match=message):
    optim.make_optimiser(name, lambda _: 0.1, **settings)


def test_accumulation_equals_the_whole_batch():
  x = jnp.float32(np.random.default_rng(0).normal(size=(8, 3)))
  params = {"net": {"w": jnp.ones((3,))}}

  def gradients(params, carry, microbatch):
    def loss(params):
      value = jnp.mean(jnp.square(microbatch @ params["net"]["w"] - 1.0))
      return value, (carry + 1, {"loss": value})

    return jax.grad(loss, has_aux=True)(params)

  grads, (count, scalars) = optim.accumulate(gradients, params, 0, x[None])
  microbatches, (count4, scalars4) = optim.accumulate(
    gradients, params, 0, x.reshape(4, 2, 3)
  )
  chex.assert_trees_all_close((grads, scalars), (microbatches, scalars4), rtol=1e-5)
  assert (int(count), int(count4)) == (1, 4)


def test_renewals_add_up():
  found = optim.renewals(lambda step: 1 - 0.1 * step, 4)
  np.testing.assert_allclose(found, [0, 0, 0.1, 0.3, 0.6], atol=1e-6)
  # BYOL's 300 epochs: half of 1 - 0.99 of each of 93 835 steps.
  assert optim.renewals(optim.tau_schedule(0.99, 93_835), 93_835)[-1] == pytest.approx(
    469, abs=1
  )
