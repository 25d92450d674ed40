"""The objectives: values worked out by hand, other implementations, gradients."""

import functools
import inspect
import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from byol_jax import objectives, parallel
from byol_jax.errors import UserError
from byol_jax.objectives import Outputs
from tests.devices import xla_flags

E1, E2 = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])


def vectors(*shape):
  return jnp.float32(np.random.default_rng(sum(shape)).normal(size=shape))


def outputs(n=7, d=5):
  q1, q2, z1, z2 = vectors(4, n, d)
  return Outputs((q1, q2), (z1, z2), (z1, z2))


def test_targets_may_be_centred_over_the_whole_batch():
  (q1, q2), (z1, z2), z = outputs()
  far = z1 + 100, z2 - 50  # what all targets of a view share
  found = objectives.byol(Outputs((q1, q2), far, z), centre_targets=True)
  centred = z1 - z1.mean(0), z2 - z2.mean(0)
  expected = objectives.byol(Outputs((q1, q2), centred, z))
  assert found == pytest.approx(float(expected), rel=1e-4)
  spread = parallel.pmap(
    lambda _, batch: jax.lax.pmean(
      objectives.byol(Outputs(*batch), parallel.AXIS, centre_targets=True),
      parallel.AXIS,
    )
  )
  even = outputs(n=8)
  assert spread({}, parallel.shard(even)) == pytest.approx(
    float(objectives.byol(even, centre_targets=True)), rel=1e-5
  )


def unit(x):
  return np.asarray(x) / np.linalg.norm(x, axis=-1, keepdims=True)


class RegressionTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_values_worked_out_by_hand(self):
    prediction = jnp.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0], [-5.0, 0.0]])
    projection = jnp.array([[7.0, 0.0], [1.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    losses = self.variant(objectives.regression)(prediction, projection)
    # 2 - 2 cos of 0, 90, 45 and 180 degrees.
    np.testing.assert_allclose(losses, [0.0, 2.0, 2 - np.sqrt(2), 4.0], atol=1e-6)


# Each of them.


def make_loss(*args, **settings):
  """The loss alone, without what is watched beside it."""
  loss = objectives.make_loss(*args, **settings)
  return lambda outputs: loss(outputs)[0]


# Objectives that look at the scale of embeddings.
SCALED: set[str] = set()


@pytest.mark.parametrize("name", sorted(objectives.OBJECTIVES.keys() - SCALED))
def test_scale_does_not_matter(name):
  loss = make_loss(name)
  (q1, q2), (z1, z2), _ = outputs()
  np.testing.assert_allclose(
    loss(Outputs((3 * q1, q2), (z1, 0.1 * z2), (z1, z2))), loss(outputs()), rtol=1e-5
  )


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
def test_the_order_of_images_and_of_views_does_not_matter(name):
  loss = make_loss(name)
  flipped = jax.tree.map(lambda x: x[::-1], outputs())
  swapped = Outputs(*(pair[::-1] for pair in flipped))
  np.testing.assert_allclose(loss(swapped), loss(outputs()), rtol=1e-5)


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
def test_a_collapsed_batch_has_finite_gradients(name):
  collapsed = jax.tree.map(jnp.zeros_like, outputs())
  grads = jax.grad(make_loss(name))(collapsed)
  chex.assert_tree_all_finite(grads)


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
def test_the_batch_may_be_spread_over_devices(name):
  batch = np.asarray(vectors(8, 4, 5))  # images, the four outputs, dimensions
  scale = vectors(5)  # stands for parameters, which all devices share

  def gradients(axis, scale, batch):
    loss = make_loss(name, axis)

    def of_scale(scale):
      q1, q2, z1, z2 = jnp.tanh(batch * scale).transpose(1, 0, 2)
      return loss(Outputs((q1, q2), (z1, z2), (z1, z2)))

    return jax.value_and_grad(of_scale)(scale)

  spread = parallel.pmap(
    lambda *args: jax.lax.pmean(gradients(parallel.AXIS, *args), parallel.AXIS)
  )
  chex.assert_trees_all_close(
    spread(scale, parallel.shard(batch)), gradients(None, scale, batch), atol=1e-5
  )


# PyTorch's own distances, norms and cross-entropy.


def torch_cosine(predictions, targets, alpha=0.0, cross=0.0, swapped=0.0):
  """alpha d(q1, q2) + cross (views with themselves) + swapped (with the other)."""

  def distance(a, b):
    return 2 - 2 * torch.nn.functional.cosine_similarity(a, b)

  (q1, q2), (z1, z2) = predictions, targets
  return torch.mean(
    alpha * distance(q1, q2)
    + cross * (distance(q1, z1) + distance(q2, z2)) / 2
    + swapped * (distance(q1, z2) + distance(q2, z1))
  )


def torch_squared(predictions, targets, norm):
  (q1, q2), (z1, z2) = (map(norm, pair) for pair in (predictions, targets))
  return torch.mean((q1 - z2) ** 2 + (q2 - z1) ** 2)


def torch_layer_norm(x):
  return torch.nn.functional.layer_norm(x, x.shape[1:])


def torch_batch_norm(x):
  return torch.nn.functional.batch_norm(x, None, None, training=True)


def torch_ntxent(predictions, targets, temperature):
  q, z = (
    torch.nn.functional.normalize(torch.cat(pair)) for pair in (predictions, targets)
  )
  others = (q @ z.T / temperature).fill_diagonal_(-torch.inf)
  positives = torch.arange(len(q)).roll(len(q) // 2)
  return torch.nn.functional.cross_entropy(others, positives)


@pytest.mark.parametrize(
  ("name", "settings", "theirs"),
  [
    ("byol", {}, functools.partial(torch_cosine, swapped=1)),
    (
      "byol",
      {"normalise": "layer"},
      functools.partial(torch_squared, norm=torch_layer_norm),
    ),
    (
      "byol",
      {"normalise": "batch"},
      functools.partial(torch_squared, norm=torch_batch_norm),
    ),
    (
      "raft",
      {"alpha": 2.0, "beta": 0.7},
      functools.partial(torch_cosine, alpha=2, cross=-0.7),
    ),
    (
      "byol_prime",
      {"alpha": 2.0, "beta": 0.7},
      functools.partial(torch_cosine, alpha=2, cross=0.7),
    ),
    (
      "simclr",
      {"temperature": 0.2},
      functools.partial(torch_ntxent, temperature=0.2),
    ),
    (
      "info_nce",
      {"temperature": 0.2},
      lambda *pairs: 4 + 4 * 0.2 * torch_ntxent(*pairs, 0.2),
    ),
  ],
)
def test_values_and_gradients_are_those_of_pytorch(name, settings, theirs):
  loss = make_loss(name, **settings)
  value, gradients = jax.value_and_grad(loss)(outputs())
  tensors = [
    torch.tensor(np.array(x), dtype=torch.float64, requires_grad=True)
    for x in jax.tree.leaves(outputs())
  ]
  expected = theirs(tensors[:2], tensors[2:4])
  expected.backward()
  assert float(value) == pytest.approx(expected.item(), rel=1e-5)
  for gradient, x in zip(jax.tree.leaves(gradients), tensors, strict=True):
    found = np.zeros(x.shape) if x.grad is None else x.grad
    np.testing.assert_allclose(gradient, found, atol=1e-5)


# BYOL.


def test_byol_sums_both_directions_and_crosses_the_views():
  # Prediction of view 1 is compared with the target of view 2, and reversed.
  assert objectives.byol(Outputs((E1, E2), (E2, E1), (E1, E2))) == pytest.approx(0.0)
  assert objectives.byol(Outputs((E1, E2), (E1, E2), (E1, E2))) == pytest.approx(4.0)
  assert objectives.byol(Outputs((E1, -E1), (E1, -E1), (E1, -E1))) == pytest.approx(8.0)


def test_byol_is_two_minus_two_cosines_of_each_direction():
  (q1, q2), (z1, z2), _ = jax.tree.map(unit, outputs())
  expected = np.mean(4 - 2 * (q1 * z2).sum(1) - 2 * (q2 * z1).sum(1))
  np.testing.assert_allclose(objectives.byol(outputs()), expected, rtol=1e-6)


def whitened(x, over):
  mean, var = x.mean(over, keepdims=True), x.var(over, keepdims=True)
  return (x - mean) / np.sqrt(var + 1e-5) / np.sqrt(x.shape[1])


NORMALISED = {
  "l2": unit,
  "layer": functools.partial(whitened, over=1),
  "batch": functools.partial(whitened, over=0),
  "none": lambda x: x,
}


@pytest.mark.parametrize("kind", NORMALISED)
def test_byol_with_each_normalisation(kind):
  def scaled(x):
    return NORMALISED[kind](np.asarray(x, np.float64))

  (q1, q2), (z1, z2), _ = jax.tree.map(scaled, outputs())
  expected = np.mean(((q1 - z2) ** 2).sum(1) + ((q2 - z1) ** 2).sum(1))
  found = objectives.byol(outputs(), normalise=kind)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


# RAFT and BYOL'.


def test_raft_and_byol_prime_worked_out_by_hand():
  # Predictions of the two views at right angles: alignment 2. Cross-model, each
  # view with itself: 0 for the first, 4 for the second, 2 on average.
  crossed = Outputs((E1, E2), (E1, -E2), (E1, E2))
  assert objectives.raft(crossed, alpha=3.0, beta=0.5) == pytest.approx(6 - 1)
  assert objectives.byol_prime(crossed, alpha=3.0, beta=0.5) == pytest.approx(6 + 1)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.1, 2.0), (5.0, 0.3)])
def test_byol_is_bounded_by_byol_prime(alpha, beta):
  # Shi et al., theorem 4.1, for each image; byol adds two directions.
  bound = 1 / alpha + 1 / beta
  for seed in range(200):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(1, 3))
    near = base + rng.uniform(0, 2) * rng.normal(size=(4, 1, 3))
    q1, q2, z1, z2 = jnp.float32(near)
    found = Outputs((q1, q2), (z1, z2), (z1, z2))
    prime = objectives.byol_prime(found, alpha=alpha, beta=beta)
    assert objectives.byol(found) / 2 <= bound * prime + 1e-5


# SimCLR and what lies between it and BYOL.


def test_simclr_worked_out_by_hand():
  # Two images, at right angles, both views the same: for each view the positive
  # has cosine 1, two negatives have cosine 0.
  z = jnp.concatenate([E1, E2])
  found = objectives.simclr(Outputs((z, z), (z, z), (z, z)), temperature=0.5)
  assert found == pytest.approx(np.log(1 + 2 * np.exp(-2)))


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_simclr_equals_optax_ntxent(temperature):
  def both(z):
    projections = z[:6], z[6:]
    return objectives.simclr(
      Outputs(projections, projections, projections), None, temperature
    )

  def theirs(z):
    return optax.losses.ntxent(z, jnp.tile(jnp.arange(6), 2), temperature)

  z = vectors(12, 5)
  np.testing.assert_allclose(both(z), theirs(z), rtol=1e-5)
  chex.assert_trees_all_close(jax.grad(both)(z), jax.grad(theirs)(z), atol=1e-5)


# Eight devices are more than the tests have: a process of its own.
EIGHT = """
import jax, jax.numpy as jnp, numpy as np
from byol_jax import objectives, parallel
def loss(axis, w, x):
  z = jnp.tanh(x @ w)
  pair = z[:, 0], z[:, 1]
  return objectives.simclr(objectives.Outputs(pair, pair, pair), axis, 0.1)
rng = np.random.default_rng(0)
w, x = (rng.normal(size=s).astype(np.float32) for s in ((6, 4), (32, 2, 6)))
one = jax.value_and_grad(lambda w: loss(None, w, x))(w)
def step(w, x):
  found = jax.value_and_grad(lambda w: loss(parallel.AXIS, w, x))(w)
  return jax.lax.pmean(found, parallel.AXIS)
assert jax.device_count() == 8
for a, b in zip(one, parallel.pmap(step)(w, parallel.shard(x))):
  np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
"""


def test_simclr_on_eight_devices_equals_one():
  flags = {"XLA_FLAGS": xla_flags(8)}
  subprocess.run([sys.executable, "-c", EIGHT], env=os.environ | flags, check=True)


@pytest.mark.parametrize(("temperature", "beta"), [(0.1, 1.0), (0.3, 0.5), (1.0, 0.0)])
def test_info_nce_follows_the_papers_equation(temperature, beta):
  (q1, q2), (z1, z2), _ = jax.tree.map(unit, outputs())

  def one_direction(q, same, other):  # BYOL, equation 8; alpha is the temperature
    total = 0.0
    for i in range(len(q)):
      negatives = sum(
        np.exp(q[i] @ same[j] / temperature) for j in range(len(q)) if j != i
      ) + sum(np.exp(q[i] @ other[j] / temperature) for j in range(len(q)))
      total += 2 * q[i] @ other[i] - beta * 2 * temperature * np.log(negatives)
    return total / len(q)

  expected = 4 - one_direction(q1, z1, z2) - one_direction(q2, z2, z1)
  found = objectives.info_nce(outputs(), None, temperature, beta)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_info_nce_has_byol_and_simclr_at_its_ends():
  byol = objectives.info_nce(outputs(), temperature=0.3, beta=0.0)
  np.testing.assert_allclose(byol, objectives.byol(outputs()), rtol=1e-5)
  projections = outputs().predictions
  alone = Outputs(projections, projections, projections)
  np.testing.assert_allclose(
    objectives.info_nce(alone, temperature=0.3, beta=1.0),
    4 * 0.3 * objectives.simclr(alone, temperature=0.3) + 4,
    rtol=1e-5,
  )


# What a config may say.


def settings():
  return [
    (name, setting)
    for name, objective in objectives.OBJECTIVES.items()
    for setting in objective.settings
  ]


@pytest.mark.parametrize(("name", "setting"), settings())
def test_what_is_checked_is_a_setting_and_its_default_is_valid(name, setting):
  objective = objectives.OBJECTIVES[name]
  default = inspect.signature(objective.loss).parameters[setting].default
  assert objective.settings[setting].holds(default)


@pytest.mark.parametrize(("name", "setting"), settings())
def test_an_invalid_setting_is_named_with_what_it_must_be(name, setting):
  value = "l1" if setting == "normalise" else float("nan")
  words = objectives.OBJECTIVES[name].settings[setting].words
  with pytest.raises(UserError) as raised:
    objectives.make_loss(name, **{setting: value})
  assert str(raised.value) == f"objective.{name}.{setting} is {value!r}: give {words}"


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    ("moco", {}, "no objective 'moco': choose one of byol,"),
    ("byol", {"normalise": "l1"}, r"byol\.normalise is 'l1': give one of l2, layer,"),
    ("byol", {"alpha": 1.0}, "byol: .* unexpected keyword argument 'alpha'"),
    ("raft", {"alpha": 0.0, "beta": 1.0}, r"raft\.alpha is 0\.0: give more than 0"),
    ("raft", {"alpha": 1.0, "beta": -1.0}, r"raft\.beta is -1\.0: give 0 or more"),
    ("simclr", {"temperature": 0.0}, r"simclr\.temperature is 0\.0: give more than 0"),
  ],
)
def test_what_cannot_be_computed_is_refused(name, settings, message):
  with pytest.raises(UserError, match=message):
    objectives.make_loss(name, **settings)


def test_the_ends_of_a_range_that_belong_to_it():
  losses = [make_loss(name, beta=0.0) for name in ("raft", "byol_prime")]
  (q1, q2), *_ = outputs()
  alignment = jnp.mean(objectives.regression(q1, q2))
  np.testing.assert_allclose([loss(outputs()) for loss in losses], alignment)
