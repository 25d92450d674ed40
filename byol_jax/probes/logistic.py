"""Logistic regression on frozen features, l2-regularised, by L-BFGS.

On the devices of this host alone: L-BFGS asks as often as the host's own arithmetic has
it, and that of another kind of processor rounds otherwise.
"""

import copy
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize

from byol_jax import parallel, progress
from byol_jax.probes.checks import check, labelled

STRENGTHS = tuple(10.0**power for power in range(1, -6, -1))
# Never reached: 1911 is the most that was seen, at 1e-6 on 5769 images of 256 features.
_ITERATIONS = 10_000
_TOLERANCE = 1e-10  # of the objective
_QUICK = 1e-8  # that of the probe in summaries
# Mean curvature of the cross-entropy in a logit: p (1 - p) of ten classes.
_CURVATURE = 0.1
_ROUNDING = 1e-6  # of a variance beside the largest
_WORSE = 2

Weights = np.ndarray  # [C, D + 1], the bias in the last column


def linear_accuracy(
  train_x: np.ndarray,
  train_y: np.ndarray,
  test_x: np.ndarray,
  test_y: np.ndarray,
  *,
  regularisation: float | None = None,
  standardise: bool = True,
) -> float:
  """Accuracy of l2-regularised multinomial logistic regression, by L-BFGS.

  The linear transfer protocol of BYOL, appendix D.2, made quick: the strength of
  regularisation is one of 7, from 10 to 1e-5 (BYOL: 45, from 1e5 to 1e-6), chosen
  on a held-out tenth of each class, down to where weaker ones no longer help, and the
  classifier is then fitted again to the whole train set.

  Args:
    train_x: [N, D] features.
    train_y: [N] integer labels; images of -1, no label, are left out.
    test_x: [M, D] features.
    test_y: [M] integer labels, likewise.
    regularisation: the strength, see `Problem`; None chooses it.
    standardise: whether each feature is divided by its std over the train set, which
      magnifies what hardly varies. If not, all are divided by one number, the root
      mean square length of the features over sqrt(D), so that what a collapse leaves
      is as small to the classifier as it is beside what all images share.

  Raises:
    UserError: the features or labels cannot be used.
  """
  check(train_x, train_y, test_x, test_y)
  train_x, train_y = labelled("train", train_x, train_y)
  test_x, test_y = labelled("test", test_x, test_y)
  classes, labels = np.unique(train_y, return_inverse=True)
  mean, scale = _mean_and_scale(train_x)
  if not standardise:
    scale = np.full_like(scale, _root_mean_square(train_x) or 1)
  problem = Problem((train_x - mean) / scale, labels, _QUICK)
  if regularisation is None:
    regularisation, start = _choose_strength(problem, labels)
  else:
    start = None
  scores = problem.scores(problem.fit(regularisation, start), (test_x - mean) / scale)
  return float(np.mean(classes[scores.argmax(axis=1)] == test_y))


class Problem:
  """Features and what is true of them, for logistic regression of any strength.

  What is minimised is the mean cross-entropy + strength / 2 |W|^2; the bias is free.
  scikit-learn's LogisticRegression minimises the same with C = 1 / (strength N).
  Where images may be of several classes, the cross-entropy is that of one regression
  for each class, summed.
  """

  def __init__(self, x: np.ndarray, truth: np.ndarray, tolerance: float = _TOLERANCE):
    """Turns the features so that they are not correlated, which L-BFGS is fast on.

    Args:
      x: float [N, D] features.
      truth: int [N], classes 0 to C - 1, or bool [N, C].
      tolerance: a fit ends when a step lowers the objective by less.
    """
    self._tolerance = tolerance
    self._classes = truth.shape[1] if truth.ndim == 2 else int(truth.max()) + 1
    self._truth = truth
    self._mean = x.mean(axis=0, dtype=np.float64).astype(x.dtype)
    self._axes = _principal_axes(x - self._mean)
    self._put((x - self._mean) @ self._axes)

  def only(self, rows: np.ndarray) -> "Problem":
    """The same on some of the images, whose weights are those of this one.

    Args:
      rows: bool [N]; of which classes they are may not be all.
    """
    part = copy.copy(self)
    part._truth = self._truth[rows]
    part._put(self._x[rows])
    return part

  def _put(self, x: np.ndarray) -> None:
    """Takes the features, and gives each device of this host its share of them."""
    self._x = x
    variances = np.mean(np.square(x, dtype=np.float64), axis=0)
    self._curvature = np.append(_CURVATURE * variances, _CURVATURE)
    self._batch = parallel.spread((x, self._truth))

  def fit(self, strength: float, start: Weights | None = None) -> Weights:
    """The best weights, by L-BFGS, which goes on until it no longer helps.

    It sees each weight in units of the objective's curvature there, which takes a
    fraction of the iterations.

    Args:
      strength: of the regularisation.
      start: weights to begin with, of this problem or of a part of it; else zeros.
    """
    shape = self._classes, self._x.shape[1] + 1
    penalty = np.append(np.full(shape[1] - 1, strength), 0.0)  # none on the bias
    units = 1 / np.sqrt(self._curvature + penalty)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
      weights = flat.reshape(shape) * units
      losses, gradient = jax.device_get(
        _differentiated(weights.astype(np.float32), len(self._x), *self._batch)
      )
      # Summed here, as in float32 the last digits that L-BFGS goes by would be lost.
      value = np.sum(losses, dtype=np.float64) / len(self._x)
      value += np.sum(penalty / 2 * weights**2)
      slope = gradient.astype(np.float64) / len(self._x) + penalty * weights
      return float(value), (slope * units).ravel()

    begin = np.zeros(shape) if start is None else start
    result = scipy.optimize.minimize(
      objective,
      (begin / units).ravel(),
      jac=True,
      method="L-BFGS-B",
      options={
        "maxiter": _ITERATIONS,
        "maxfun": 10 * _ITERATIONS,
        "ftol": self._tolerance,
        "gtol": 0,
      },
    )
    return result.x.reshape(shape) * units

  def path(self, strengths: Iterable[float]) -> Iterator[tuple[float, Weights]]:
    """Fits from the strongest to the weakest; each begins where the last ended."""
    weights = None
    for strength in sorted(strengths, reverse=True):
      weights = self.fit(strength, weights)
      yield strength, weights

  def own_scores(self, weights: Weights, rows: np.ndarray) -> np.ndarray:
    """Logits [n, C] of some `rows` of its own features."""
    return self._x[rows] @ weights[:, :-1].T + weights[:, -1]

  def scores(self, weights: Weights, x: np.ndarray) -> np.ndarray:
    """Logits [n, C] of features [n, D]."""
    return (x - self._mean) @ self._axes @ weights[:, :-1].T + weights[:, -1]


@jax.jit
def _differentiated(
  weights: jax.Array, images: jax.Array, x: jax.Array, truth: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Cross-entropy of each image, and the gradient of the sum.

  Args:
    weights: [C, D + 1].
    images: how many of the rows that follow count: those at the end may be copies.
    x: [n, D] features.
    truth: [n] or [n, C], see `Problem`.
  """
  highest = jax.lax.Precision.HIGHEST
  # With the classes first, both products are such that XLA:CPU does well.
  logits = jnp.matmul(weights[:, :-1], x.T, precision=highest) + weights[:, -1:]
  losses, slopes = (_of_each_class if truth.ndim == 2 else _of_one_class)(logits, truth)
  counts = jnp.arange(len(x)) < images
  slopes = jnp.where(counts, slopes, 0)
  products = jnp.matmul(slopes, x, precision=highest)
  gradient = jnp.append(products, slopes.sum(axis=1, keepdims=True), axis=1)
  return jnp.where(counts, losses, 0), gradient


def _of_one_class(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
  """-log softmax of the right class, log(1 + sum of exp(logit - right logit)).

  In this form a loss near 0, and its slope, keep the digits that 1 - p would lose. The
  slopes are written out, as they take a third of the time of automatic ones on CPUs.

  Args:
    logits: [C, n].
    labels: int [n].

  Returns:
    The losses [n], and their slopes in the logits [C, n].
  """
  right = jnp.arange(len(logits))[:, None] == labels
  margin = logits - jnp.sum(jnp.where(right, logits, 0), axis=0)
  largest = margin.max(axis=0)  # 0 or more
  others = jnp.where(right, 0, jnp.exp(margin - largest))
  rest = jnp.expm1(-largest) + others.sum(axis=0)
  slopes = jnp.where(right, -others.sum(axis=0), others) / (1 + rest)
  return largest + jnp.log1p(rest), slopes


def _of_each_class(logits: jax.Array, truth: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The same of one regression for each class, summed over these; truth bool [n, C]."""
  losses = optax.sigmoid_binary_cross_entropy(logits, truth.T)
  return losses.sum(axis=0), jax.nn.sigmoid(logits) - truth.T


def _choose_strength(problem: Problem, labels: np.ndarray) -> tuple[float, Weights]:
  """The strength that is best on a held-out tenth of each class, and its weights.

  Of equally good strengths the strongest is taken. When `_WORSE` in a row are no better
  than the best so far, the weaker ones, which take longest, are left out.
  """
  held_out = np.zeros(len(labels), bool)
  held_out[np.argsort(labels, kind="stable")[::10]] = True
  kept = problem.only(~held_out)
  best, worse = (-1, STRENGTHS[0], np.zeros(0)), 0
  with progress.shown("linear probe", len(STRENGTHS), "strengths") as bar:
    for strength, weights in kept.path(STRENGTHS):
      scores = problem.own_scores(weights, held_out)
      correct = np.sum(scores.argmax(1) == labels[held_out])
      bar.add()
      if correct > best[0]:
        best, worse = (correct, strength, weights), 0
      else:
        worse += 1
      if worse == _WORSE:
        break
  return best[1:]


def _principal_axes(x: np.ndarray) -> np.ndarray:
  """Orthonormal axes [D, K] along which the features are not correlated.

  All that the features vary in: the best weights have no part in anything else.
  """
  few = len(x) < x.shape[1]
  rows = x.T if few else x
  products = jnp.matmul(rows.T, rows, precision=jax.lax.Precision.HIGHEST)
  values, axes = np.linalg.eigh(np.asarray(products, np.float64))
  if few:  # of K images, which span at most as many
    real = values > _ROUNDING * values[-1]
    axes = x.T @ axes[:, real] / np.sqrt(values[real])
  return axes.astype(x.dtype)


def _root_mean_square(x: np.ndarray) -> float:
  return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def _mean_and_scale(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mean and std of features; 1 for the std of constant ones."""
  mean = x.mean(axis=0, dtype=np.float64)
  square = np.einsum("nd,nd->d", x, x, dtype=np.float64) / len(x)
  std = np.sqrt(np.maximum(square - mean**2, 0))
  varies = std > 1e-6 * np.abs(mean)
  return mean.astype(np.float32), np.where(varies, std, 1).astype(np.float32)
