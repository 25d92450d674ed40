import numpy as np
import pytest
import scipy.special
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier

from byol_jax import probes
from byol_jax.errors import UserError


@pytest.fixture(scope="module")
def digits():
  x, y = load_digits(return_X_y=True)
  return x[:1200].astype(np.float32), y[:1200], x[1200:].astype(np.float32), y[1200:]


def noise(n=500, d=8, classes=4, seed=0):
  """Labels that the features say little of, so that few votes are unanimous."""
  rng = np.random.default_rng(seed)
  return rng.normal(size=(n, d)).astype(np.float32), rng.integers(0, classes, n)


@pytest.mark.parametrize("temperature", [None, 0.07, 1.0])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_knn_matches_scikit_learn(k, temperature):
  train, test = noise(500), noise(200, seed=1)

  def weights(distance):
    return np.exp((1 - distance) / temperature)

  expected = KNeighborsClassifier(
    k, metric="cosine", weights=weights if temperature else "uniform"
  ).fit(*train)
  found = probes.knn_accuracy(*train, *test, k=k, temperature=temperature)
  assert found == expected.score(*test)


def test_knn_on_digits(digits):
  expected = KNeighborsClassifier(20, metric="cosine").fit(*digits[:2])
  value = probes.knn_accuracy(*digits, temperature=None)
  assert value == pytest.approx(expected.score(*digits[2:]), abs=0.004)


def test_knn_does_not_depend_on_the_chunks(monkeypatch):
  train, test = noise(50), noise(33, seed=1)
  whole = probes.knn_accuracy(*train, *test)
  monkeypatch.setattr(probes, "_SIMILARITIES", 500)
  assert probes.knn_accuracy(*train, *test) == whole


def test_knn_by_hand():
  train_x = np.array([[1, 0], [0, 1], [0, 2]], np.float32)
  train_y = np.array([7, 3, 3])
  test_x = np.array([[1, 0.1], [0.1, 1]], np.float32)
  test_y = np.array([7, 3])
  knn = probes.knn_accuracy
  assert knn(train_x, train_y, test_x, test_y, k=1) == 1.0
  # With k beyond N all three vote: by number class 3 wins, by weight the near.
  assert knn(train_x, train_y, test_x, test_y, k=9, temperature=None) == 0.5
  assert knn(train_x, train_y, test_x, test_y, k=9) == 1.0


def test_knn_ties_go_to_the_first_neighbour_and_the_lowest_class():
  train_x = np.ones((4, 2), np.float32)
  train_y = np.array([5, 1, 1, 5])
  for k, winner in ((1, 5), (2, 1), (4, 1)):
    test_y = np.full(2, winner)
    assert probes.knn_accuracy(train_x, train_y, train_x[:2], test_y, k=k) == 1.0


def test_knn_small_temperatures_do_not_overflow():
  train, test = noise(100), noise(50, seed=1)
  nearest = probes.knn_accuracy(*train, *test, k=1)
  assert probes.knn_accuracy(*train, *test, k=5, temperature=1e-5) == nearest


def scikit_learn_fit(x, y, strength):
  # Of two classes scikit-learn fits one difference w of twice the length of
  # our two weights, w / 2 and -w / 2, whose squares sum to half of its own.
  per_class = 2 if len(set(y)) == 2 else 1
  model = LogisticRegression(
    C=per_class / (strength * len(x)), solver="newton-cholesky"
  )
  return model.fit(x.astype(np.float64), y)


@pytest.mark.parametrize("strength", [1e-1, 1e-3])
def test_linear_fit_matches_scikit_learn(digits, strength):
  mean, scale = probes._mean_and_scale(digits[0])
  x, y = (digits[0] - mean) / scale, digits[1]
  start = np.zeros((10, 65), np.float32)
  weights = probes.fit_linear(x, y, strength, start)
  expected = scikit_learn_fit(x, y, strength)

  def objective(coefficients, intercepts):
    logits = x @ coefficients.T + intercepts
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return log_loss(y, p) + strength / 2 * np.sum(coefficients**2)

  ours = objective(weights[:, :-1], weights[:, -1])
  theirs = objective(expected.coef_, expected.intercept_)
  assert ours == pytest.approx(theirs, rel=1e-3)
  np.testing.assert_allclose(weights[:, :-1], expected.coef_, atol=0.05)


def test_linear_accuracy_matches_scikit_learn_on_digits(digits):
  mean, scale = probes._mean_and_scale(digits[0])
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
  rotated = x @ probes._principal_axes(x)
  weights = probes.fit_linear(rotated, y, 1e-5, np.zeros((3, 21), np.float32))
  logits = rotated @ weights[:, :-1].T + weights[:, -1]
  found = log_loss(y, scipy.special.softmax(logits, axis=1))
  found += 0.5e-5 * np.sum(weights[:, :-1] ** 2)
  assert found == pytest.approx(best, rel=1e-5)


def test_more_features_than_images_have_as_many_axes_as_images():
  x, y = noise(40, d=200)
  x = np.float32(x - x.mean(0))
  axes = probes._principal_axes(x)
  assert axes.shape == (200, 39)  # one direction is the mean's
  np.testing.assert_allclose(axes.T @ axes, np.eye(39), atol=1e-4)
  np.testing.assert_allclose(x @ axes @ axes.T, x, atol=1e-4)
  test, answers = noise(300, d=200, seed=1)
  found = probes.linear_accuracy(x, y, test, answers, regularisation=1e-2)
  mean, scale = probes._mean_and_scale(x)
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
  start = np.zeros((2, 201), np.float32)
  strength, weights = probes._choose_strength(x, y, start)
  scores = {}
  held = np.argsort(y, kind="stable")[::10]
  kept = np.setdiff1d(np.arange(60), held)
  for candidate in probes.STRENGTHS:
    fitted = scikit_learn_fit(x[kept], y[kept], candidate)
    scores[candidate] = fitted.score(x[held], y[held])
  assert scores[strength] == max(scores.values())
  assert np.any(weights)


def test_strengths_that_no_longer_help_are_not_fitted(monkeypatch):
  """Held-out accuracies as they may come: rising, level, falling, and never again."""
  scores = iter([0.2, 0.5, 0.5, 0.6, 0.6, 0.4, 0.9])
  tried = []

  def fit(x, labels, strength, start):
    tried.append(strength)
    return start

  def predict(weights, x):
    return np.arange(len(x)) >= next(scores) * len(x)  # so many of class 0

  monkeypatch.setattr(probes, "fit_linear", fit)
  monkeypatch.setattr(probes, "_predict", predict)
  x, y = np.zeros((100, 2), np.float32), np.zeros(100, int)
  strength, _ = probes._choose_strength(x, y, np.zeros((1, 3), np.float32))
  assert strength == probes.STRENGTHS[3]
  assert tried == list(probes.STRENGTHS[:6])


def test_linear_accuracy_is_deterministic():
  train, test = noise(60), noise(20, seed=1)
  assert probes.linear_accuracy(*train, *test) == probes.linear_accuracy(*train, *test)


@pytest.mark.parametrize("probe", [probes.knn_accuracy, probes.linear_accuracy])
@pytest.mark.parametrize(
  ("train_y", "test_y", "expected"),
  [
    ([4, 4, 4, 4], [4, 4], 1.0),  # One class.
    ([0, 0, 9, 9], [0, 5], 0.5),  # Class 5 is not in the train set.
    ([0, 0, 0, 9], [0, 8], 0.5),  # Class 9 has one image.
  ],
)
def test_few_and_missing_classes(probe, train_y, test_y, expected):
  train_x = np.array([[0, 1], [0, 2], [0.1, 1], [1, 0]], np.float32)
  test_x = np.array([[0, 1], [1, 0]], np.float32)
  assert probe(train_x, np.array(train_y), test_x, np.array(test_y)) == expected


@pytest.mark.parametrize("probe", [probes.knn_accuracy, probes.linear_accuracy])
@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"train_x": np.zeros((0, 2)), "train_y": np.zeros(0, int)}, "at least two"),
    ({"train_y": np.zeros(3, int)}, "at least two"),
    ({"test_x": np.zeros((4, 2, 1))}, "at least two"),
    ({"test_x": np.full((4, 2), np.nan)}, "test features hold NaN"),
    ({"train_x": np.full((4, 2), np.inf)}, "train features hold NaN"),
    ({"test_x": np.zeros((4, 3))}, "2 dimensions and test features 3"),
  ],
)
def test_bad_input(probe, change, message):
  arrays = {
    "train_x": np.eye(4, 2), "train_y": np.arange(4),
    "test_x": np.eye(4, 2), "test_y": np.arange(4),
  } | change  # fmt: skip
  with pytest.raises(UserError, match=message):
    probe(**arrays)
