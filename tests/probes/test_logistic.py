import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from byol_jax import probes
from byol_jax.probes import logistic
from tests.probes.made_up import noise


def scikit_learn_fit(x, y, strength):
  # Of two classes scikit-learn fits one difference w of twice the length of
  # our two weights, w / 2 and -w / 2, whose squares sum to half of its own.
  per_class = 2 if len(set(y)) == 2 else 1
  model = LogisticRegression(
    C=per_class / (strength * len(x)), solver="newton-cholesky", tol=1e-8
  )
  return model.fit(x.astype(np.float64), y)


def objective(problem, weights, x, y, strength):
  """In float64, from the scores."""
  p = scipy.special.softmax(problem.scores(weights, x).astype(np.float64), axis=1)
  return log_loss(y, p) + strength / 2 * np.sum(weights[:, :-1] ** 2)


@pytest.mark.parametrize("strength", [1e-1, 1e-3])
def test_linear_fit_matches_scikit_learn(digits, strength):
  mean, scale = logistic._mean_and_scale(digits[0])
  x, y = (digits[0] - mean) / scale, digits[1]
  problem = probes.Problem(x, y)
  weights = problem.fit(strength)
  expected = scikit_learn_fit(x, y, strength)
  penalty = strength / 2 * np.sum(expected.coef_**2)
  best = log_loss(y, expected.predict_proba(x.astype(np.float64))) + penalty
  assert objective(problem, weights, x, y, strength) == pytest.approx(best, rel=1e-6)
  scores = problem.scores(weights, x)
  theirs = expected.decision_function(x)
  np.testing.assert_allclose(scores - scores.mean(1, keepdims=True), theirs, atol=0.02)


def test_linear_accuracy_matches_scikit_learn_on_digits(digits):
  mean, scale = logistic._mean_and_scale(digits[0])
  model = scikit_learn_fit((digits[0] - mean) / scale, digits[1], 1e-3)
  expected = model.score((digits[2] - mean) / scale, digits[3])
  found = probes.linear_accuracy(*digits, regularisation=1e-3)
  assert found == pytest.approx(expected, abs=0.01)
  assert probes.linear_accuracy(*digits) > expected - 0.01


def test_linear_accuracy_ignores_offset_scale_and_constant_features(digits):
  def shifted(x):
    return np.concatenate([1000 + 1e-3 * x, np.full((len(x), 2), 0.1)], axis=1)

  train_x, train_y, test_x, test_y = digits
  expected = probes.linear_accuracy(*digits, regularisation=1e-2)
  value = probes.linear_accuracy(
    shifted(train_x.astype(np.float64)), train_y,
    shifted(test_x.astype(np.float64)), test_y, regularisation=1e-2,
  )  # fmt: skip
  assert value == pytest.approx(expected, abs=0.01)


def test_the_fit_converges_where_features_hardly_vary():
  """Deviations from 1 to 1e-3, and all correlated: scikit-learn's optimum."""
  rng = np.random.default_rng(0)
  axes = np.linalg.qr(rng.normal(size=(20, 20)))[0]
  latent = rng.normal(size=(600, 20)) * np.logspace(0, -3, 20)
  x = np.float32((latent - latent.mean(0)) @ axes)
  y = (latent @ rng.normal(size=(20, 3))).argmax(1)
  expected = scikit_learn_fit(x, y, 1e-5)
  best = log_loss(y, expected.predict_proba(x)) + 0.5e-5 * np.sum(expected.coef_**2)
  problem = probes.Problem(x, y)
  found = objective(problem, problem.fit(1e-5), x, y, 1e-5)
  assert found == pytest.approx(best, rel=1e-6)


def test_more_features_than_images_have_as_many_axes_as_images():
  x, y = noise(40, d=200)
  x = np.float32(x - x.mean(0))
  axes = logistic._principal_axes(x)
  assert axes.shape == (200, 39)  # one direction is the mean's
  np.testing.assert_allclose(axes.T @ axes, np.eye(39), atol=1e-4)
  np.testing.assert_allclose(x @ axes @ axes.T, x, atol=1e-4)
  test, answers = noise(300, d=200, seed=1)
  found = probes.linear_accuracy(x, y, test, answers, regularisation=1e-2)
  mean, scale = logistic._mean_and_scale(x)
  model = scikit_learn_fit((x - mean) / scale, y, 1e-2)
  assert found == pytest.approx(model.score((test - mean) / scale, answers), abs=0.005)


def test_raw_features_keep_what_hardly_varies_small():
  """Two classes apart by a thousandth of what all share, beside noise a tenth of it."""
  rng = np.random.default_rng(0)
  y = np.arange(400) % 2
  x = np.float32(np.stack([1 + 1e-3 * y, 0.1 * rng.normal(size=400)], axis=1))
  assert probes.linear_accuracy(x, y, x, y) == 1.0
  assert probes.linear_accuracy(x, y, x, y, standardise=False) < 0.8
  # As they are: one number for all of them, whatever it is.
  raw = probes.linear_accuracy(100 * x, y, 100 * x, y, standardise=False)
  assert raw == probes.linear_accuracy(x, y, x, y, standardise=False)
  apart = x * np.float32([1000, 1])
  assert probes.linear_accuracy(apart, y, apart, y, standardise=False) == 1.0


def test_strength_is_chosen_for_the_held_out_accuracy():
  # 60 images in 200 dimensions of which one tells the class: only a strong
  # regularisation keeps the classifier from fitting the noise.
  rng = np.random.default_rng(0)
  y = np.arange(60) % 2
  x = rng.normal(size=(60, 200)).astype(np.float32)
  x[:, 0] += 6 * y
  strength, weights = logistic._choose_strength(probes.Problem(x, y), y)
  scores = {}
  held = np.argsort(y, kind="stable")[::10]
  kept = np.setdiff1d(np.arange(60), held)
  for candidate in logistic.STRENGTHS:
    fitted = scikit_learn_fit(x[kept], y[kept], candidate)
    scores[candidate] = fitted.score(x[held], y[held])
  assert scores[strength] == max(scores.values())
  assert np.any(weights)


def test_strengths_that_no_longer_help_are_not_fitted():
  """Held-out accuracies as they may come: rising, level, falling, and never again."""

  tried = []

  class Made:
    def only(self, rows):
      return self

    def path(self, strengths):
      for strength, score in zip(
        strengths, [0.2, 0.5, 0.5, 0.6, 0.6, 0.4, 0.9], strict=True
      ):
        tried.append(strength)
        yield strength, score

    def own_scores(self, score, rows):  # so many of class 0, which all are of
      first = np.arange(100) < score * 100
      return np.stack([first, np.full(100, 0.5)], axis=1)[rows]

  strength, _ = logistic._choose_strength(Made(), np.zeros(100, int))
  assert strength == logistic.STRENGTHS[3]
  assert tried == list(logistic.STRENGTHS[:6])


def test_linear_accuracy_is_deterministic():
  train, test = noise(60), noise(20, seed=1)
  assert probes.linear_accuracy(*train, *test) == probes.linear_accuracy(*train, *test)


def test_where_images_are_of_several_classes_each_has_a_regression_of_its_own(digits):
  x, y = digits[0] / 16, digits[1]
  truth = np.stack([y < 3, y % 2 == 0, y > 7], axis=1)
  problem = probes.Problem(x, truth)
  weights = problem.fit(1e-2)
  scores = problem.scores(weights, digits[2] / 16)
  for c in range(3):
    model = LogisticRegression(C=1 / (1e-2 * len(x)), tol=1e-9, max_iter=1000)
    model.fit(x.astype(np.float64), truth[:, c])
    expected = model.decision_function(digits[2] / 16)
    np.testing.assert_allclose(scores[:, c], expected, atol=2e-3)


def test_a_path_ends_where_each_fit_from_zero_ends(digits):
  x, y = digits[0] / 16, digits[1]
  problem = probes.Problem(x, y)
  strengths = [1e-3, 1.0, 1e-2]
  found = dict(problem.path(strengths))
  assert list(found) == [1.0, 1e-2, 1e-3]
  for strength, weights in found.items():
    expected = objective(problem, problem.fit(strength), x, y, strength)
    assert objective(problem, weights, x, y, strength) == pytest.approx(
      expected, rel=1e-6
    )


def test_a_part_is_fitted_as_if_it_were_all(digits):
  x, y = digits[0] / 16, digits[1]
  rows = np.arange(len(x)) % 3 > 0
  whole, alone = probes.Problem(x, y), probes.Problem(x[rows], y[rows])
  part = whole.only(rows)
  weights, expected = part.fit(1e-2), alone.fit(1e-2)
  np.testing.assert_allclose(
    whole.scores(weights, x), alone.scores(expected, x), atol=5e-3
  )
  own = part.own_scores(weights, np.arange(np.sum(rows)))
  np.testing.assert_allclose(own, whole.scores(weights, x[rows]), atol=1e-4)


def test_a_loss_near_zero_keeps_its_digits():
  """A lead of 20 has a loss of 4e-9, of which 1 - p in float32 would leave nothing."""
  logits = jnp.array([[20.0, 0.0, 0.0], [0.0, 90.0, -90.0]])
  found, slopes = logistic._of_one_class(logits.T, jnp.array([0, 2]))
  exact = scipy.special.log_softmax(np.float64(logits), axis=1)
  np.testing.assert_allclose(found, [-exact[0, 0], -exact[1, 2]], rtol=1e-5)
  others = np.exp(exact)  # those of the right class, without 1 - p
  others[0, 0], others[1, 2] = -others[0, 1:].sum(), -others[1, :2].sum()
  np.testing.assert_allclose(slopes.T, others, rtol=1e-5, atol=1e-30)


def test_slopes_are_those_of_the_losses():
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(5, 40)), jnp.float32) * 3
  for entropy, truth in (
    (logistic._of_one_class, rng.integers(0, 5, 40)),
    (logistic._of_each_class, rng.random((40, 5)) < 0.4),
  ):
    slopes = entropy(logits, jnp.asarray(truth))[1]
    automatic = jax.grad(lambda x, e=entropy, t=truth: e(x, jnp.asarray(t))[0].sum())
    np.testing.assert_allclose(slopes, automatic(logits), atol=1e-6)
