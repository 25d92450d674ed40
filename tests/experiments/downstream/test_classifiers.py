"""Classifiers of several learning rates, each as if it were trained alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from byol_jax.errors import UserError
from configs import linear_eval
from experiments.downstream import classifiers
from experiments.downstream.classifiers import Classifiers

RATES = (0.3, 0.1, 0.02)


def config(**logits):
  config = linear_eval.get_config()
  config.train.update(steps=6, batch_size=32)
  config.logits.update(logits)
  return config


@pytest.fixture(scope="module")
def data():
  x, y = load_digits(return_X_y=True)
  return jnp.asarray(x[:192] / 16, jnp.float32), jnp.asarray(y[:192])


def trained(rates, data, **logits):
  model = Classifiers(config(**logits), rates)
  weights, optimiser = model.init(64, 10)

  @jax.jit
  def step(weights, optimiser, x, y):
    gradients, found = jax.grad(model.loss, has_aux=True)(weights, x, y)
    return (*model.update(gradients, optimiser, weights), found)

  x, y = data
  for i in range(0, 192, 32):
    weights, optimiser, norms, found = step(
      weights, optimiser, x[i : i + 32], y[i : i + 32]
    )
  return weights["classifier"], norms, found


def by_hand(rate, x, y, steps=6, size=32):
  """SGD with Nesterov momentum 0.9 and half a cosine (BYOL, App. C.1), in numpy."""
  x, y = np.float64(x), np.asarray(y)
  w = np.zeros((65, 10))
  velocity = np.zeros_like(w)
  x = np.append(x, np.ones((len(x), 1)), axis=1)
  for step in range(steps):
    rows = slice(step * size, (step + 1) * size)
    scores = np.exp(x[rows] @ w)
    error = scores / scores.sum(1, keepdims=True) - np.eye(10)[y[rows]]
    gradient = x[rows].T @ error / size
    velocity = 0.9 * velocity + gradient
    peak = rate * size / 256
    w -= peak * (1 + np.cos(np.pi * step / steps)) / 2 * (gradient + 0.9 * velocity)
  return w


def test_each_rate_is_sgd_by_hand(data):
  weights, norms, _ = trained(RATES, data)
  for i, rate in enumerate(RATES):
    expected = by_hand(rate, *data)
    np.testing.assert_allclose(weights["w"][i], expected[:-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(weights["b"][i], expected[-1], rtol=1e-4, atol=1e-6)
  assert norms[0] > norms[1] > norms[2] > 0


def test_no_accelerator_takes_fewer_bits(data):
  model = Classifiers(config(), RATES)
  weights, _ = model.init(64, 10)
  differentiate = jax.grad(model.loss, has_aux=True)
  text = str(jax.make_jaxpr(differentiate)(weights, *data))
  assert text.count("dot_general") == 2  # the logits, and the gradient
  assert text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == 2


def test_one_that_diverges_leaves_the_others_as_they_are(data):
  alone = trained((0.1,), data)[0]
  weights, norms, found = trained((np.inf, 0.1), data)
  assert not np.isfinite(weights["w"][0]).all()
  assert not np.isfinite(found["losses"][0])
  np.testing.assert_allclose(weights["w"][1], alone["w"][0], rtol=1e-5, atol=1e-7)
  assert np.isfinite([norms[1], found["losses"][1]]).all()


def test_regularised_logits_are_those_of_the_paper():
  # Two images, two classes, scores (3, 0) and (0, 4), of which the first image's class
  # is right and the second's is not. a = 2, b = 0.1.
  model = Classifiers(config(clip=2.0, penalty=0.1), [1.0])
  weights = {"classifier": {"w": jnp.eye(2)[None], "b": jnp.zeros((1, 2))}}
  x, y = jnp.array([[3.0, 0.0], [0.0, 4.0]]), jnp.array([0, 0])
  total, found = model.loss(weights, x, y)
  first, second = 2 * np.tanh(1.5), 2 * np.tanh(2.0)  # 1.8103 and 1.9281
  cross_entropy = (np.log1p(np.exp(-first)) + np.log1p(np.exp(second))) / 2
  penalty = 0.1 * (first**2 + second**2) / 4  # the mean over images and classes
  assert float(total) == pytest.approx(cross_entropy + penalty, rel=1e-6)
  assert found["accuracies"] == pytest.approx([0.5])


def test_logits_are_left_alone_by_default():
  model = Classifiers(config(), [1.0])
  weights = {"classifier": {"w": jnp.eye(2)[None], "b": jnp.zeros((1, 2))}}
  total, _ = model.loss(weights, jnp.array([[3.0, 0.0]]), jnp.array([0]))
  assert float(total) == pytest.approx(np.log1p(np.exp(-3)), rel=1e-6)


def test_the_best_rate_is_the_lowest_of_equals(caplog):
  found = [
    {"learning_rate": rate, "top_1": value}
    for rate, value in ((0.4, 0.5), (0.3, 0.6), (0.2, 0.6), (0.1, 0.4))
  ]
  with caplog.at_level("WARNING"):
    assert classifiers.best(found) == 0.2
    assert not caplog.text
    assert classifiers.best(found[:2]) == 0.3
  assert "0.3, is the lowest: others beyond it may be better" in caplog.text


def test_a_rate_twice_is_refused():
  classifiers.check_rates((0.1, 0.2))
  with pytest.raises(UserError, match="give each rate once"):
    classifiers.check_rates((0.1, 0.1))
