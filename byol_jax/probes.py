"""Probes on frozen features: how well can simple classifiers read them?

Features and labels come in as numpy arrays, accuracies in [0, 1] go out. The
results depend on the data alone: nothing is drawn at random.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize

from byol_jax.errors import UserError
from byol_jax.sphere import l2_normalise

STRENGTHS = tuple(10.0**power for power in range(1, -6, -1))
_SIMILARITIES = 2**26
_ITERATIONS = 1000  # never reached by features of images
_TOLERANCE = 1e-9  # of the objective, relative; float32 ends it earlier
# Mean curvature of the cross-entropy in a logit: p (1 - p) of ten classes.
_CURVATURE = 0.1
_ROUNDING = 1e-6  # of a variance beside the largest
_WORSE = 2


def knn_accuracy(
  train_x: np.ndarray,
  train_y: np.ndarray,
  test_x: np.ndarray,
  test_y: np.ndarray,
  *,
  k: int = 20,
  temperature: float | None = 0.07,
) -> float:
  """Accuracy of an exact k-nearest-neighbour classifier, cosine similarity.

  Each neighbour votes for its class with weight exp(similarity / temperature)
  (Wu et al. 2018, section 3.4, with k = 200 and 0.1; k = 20 and 0.07 are
  common in benchmarks), or with weight 1 when `temperature` is None. Of
  equally similar images those that come first in train_x are the neighbours,
  and of classes with equal votes the lowest wins.

  Args:
    train_x: [N, D] features.
    train_y: [N] integer labels.
    test_x: [M, D] features.
    test_y: [M] integer labels.
    k: number of neighbours; all N when there are fewer.
    temperature: of the weights, positive.

  Raises:
    UserError: the features or labels cannot be used.
  """
  _check(train_x, train_y, test_x, test_y)
  classes, labels = np.unique(train_y, return_inverse=True)
  keys = l2_normalise(jnp.asarray(train_x))
  rows = max(1, _SIMILARITIES // len(keys))  # 256 MB at a time.
  correct = 0
  for start in range(0, len(test_x), rows):
    chunk = slice(start, start + rows)
    similarity, index = jax.device_get(
      _neighbours(keys, jnp.asarray(test_x[chunk]), min(k, len(keys)))
    )
    votes = _votes(similarity, labels[index], len(classes), temperature)
    correct += np.sum(classes[votes.argmax(axis=1)] == test_y[chunk])
  return float(correct / len(test_x))


@jax.jit(static_argnames="k")
def _neighbours(
  keys: jax.Array, queries: jax.Array, k: int
) -> tuple[jax.Array, jax.Array]:
  similarity = jnp.matmul(
    l2_normalise(queries), keys.T, precision=jax.lax.Precision.HIGHEST
  )
  return jax.lax.top_k(similarity, k)


def _votes(
  similarity: np.ndarray,
  labels: np.ndarray,
  num_classes: int,
  temperature: float | None,
) -> np.ndarray:
  """Sums the neighbours' weights [M, k] by class: [M, num_classes]."""
  weights = np.ones(similarity.shape)
  if temperature is not None:
    # Relative to the nearest, or small temperatures would overflow.
    weights = np.exp((similarity - similarity[:, :1]) / temperature)
  cells = np.arange(len(labels))[:, None] * num_classes + labels
  votes = np.bincount(
    cells.ravel(), weights.ravel(), minlength=len(labels) * num_classes
  )
  return votes.reshape(len(labels), num_classes)


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
    train_y: [N] integer labels.
    test_x: [M, D] features.
    test_y: [M] integer labels.
    regularisation: the strength, see `fit_linear`; None chooses it.
    standardise: whether each feature is divided by its std over the train set, which
      magnifies what hardly varies. If not, all are divided by one number, the root
      mean square length of the features over sqrt(D), so that what a collapse leaves
      is as small to the classifier as it is beside what all images share.

  Raises:
    UserError: the features or labels cannot be used.
  """
  _check(train_x, train_y, test_x, test_y)
  classes, labels = np.unique(train_y, return_inverse=True)
  mean, scale = _mean_and_scale(train_x)
  if not standardise:
    scale = np.full_like(scale, _root_mean_square(train_x) or 1)
  train = (train_x - mean) / scale
  axes = _principal_axes(train)
  train = jnp.asarray(train @ axes)
  start = np.zeros((len(classes), train.shape[1] + 1), np.float32)
  if regularisation is None:
    regularisation, start = _choose_strength(train, labels, start)
  weights = fit_linear(train, labels, regularisation, start)
  test = ((test_x - mean) / scale) @ axes
  return float(np.mean(classes[_predict(weights, test)] == test_y))


def fit_linear(
  x: jax.Array | np.ndarray,
  labels: np.ndarray,
  strength: float,
  start: np.ndarray,
) -> np.ndarray:
  """Minimises mean cross-entropy + strength / 2 |W|^2; the bias is free.

  scikit-learn's LogisticRegression minimises the same with C = 1 / (strength
  N). L-BFGS goes on until it no longer helps. It sees each weight in units of the
  objective's curvature there, which takes a fraction of the iterations, above all
  where features are not correlated.

  Args:
    x: [N, D] features of mean 0.
    labels: [N] classes 0 to C - 1.
    strength: of the regularisation.
    start: [C, D + 1] weights to begin with, the bias in the last column.

  Returns:
    [C, D + 1] weights.
  """
  arrays = jnp.asarray(x), jnp.asarray(labels)
  variances = np.asarray(jnp.mean(jnp.square(arrays[0]), axis=0), np.float64)
  curvature = np.append(_CURVATURE * variances + strength, _CURVATURE)
  units = 1 / np.sqrt(curvature)

  def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
    weights = (flat.reshape(start.shape) * units).astype(np.float32)
    value, gradient = _value_and_gradient(weights, *arrays, strength)
    return float(value), (np.asarray(gradient, np.float64) * units).ravel()

  result = scipy.optimize.minimize(
    objective,
    (start / units).ravel(),
    jac=True,
    method="L-BFGS-B",
    options={"maxiter": _ITERATIONS, "maxfun": 10 * _ITERATIONS, "ftol": _TOLERANCE},
  )
  return (result.x.reshape(start.shape) * units).astype(np.float32)


@jax.jit
@jax.value_and_grad
def _value_and_gradient(
  weights: jax.Array, x: jax.Array, labels: jax.Array, strength: jax.Array
) -> jax.Array:
  # Three times as fast on CPU as integer labels, whose gradient is a scatter.
  targets = jax.nn.one_hot(labels, len(weights))
  entropy = optax.softmax_cross_entropy(_logits(weights, x), targets)
  return jnp.mean(entropy) + strength / 2 * jnp.sum(weights[:, :-1] ** 2)


def _logits(weights: jax.Array, x: jax.Array) -> jax.Array:
  # With the classes first, the gradient is a product that XLA:CPU does well:
  # 4 times as fast as x @ W.
  highest = jax.lax.Precision.HIGHEST
  return jnp.matmul(weights[:, :-1], x.T, precision=highest).T + weights[:, -1]


def _predict(weights: np.ndarray, x: jax.Array | np.ndarray) -> np.ndarray:
  return np.asarray(_logits(jnp.asarray(weights), jnp.asarray(x)).argmax(axis=1))


def _choose_strength(
  x: jax.Array, labels: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
  """Returns the strength best on a held-out tenth, and its weights.

  From the strongest to the weakest, each fit begins where the last one ended; of
  equally good strengths the strongest is taken. When `_WORSE` in a row are no better
  than the best so far, the weaker ones, which take longest, are left out.
  """
  held_out = np.zeros(len(labels), bool)
  held_out[np.argsort(labels, kind="stable")[::10]] = True
  kept_x, kept_labels = x[~held_out], labels[~held_out]
  best, worse = (-1.0, STRENGTHS[0], weights), 0
  for strength in STRENGTHS:
    weights = fit_linear(kept_x, kept_labels, strength, weights)
    correct = _predict(weights, x[held_out]) == labels[held_out]
    if correct.mean() > best[0]:
      best, worse = (correct.mean(), strength, weights), 0
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


def _check(
  train_x: np.ndarray,
  train_y: np.ndarray,
  test_x: np.ndarray,
  test_y: np.ndarray,
) -> None:
  for name, x, y in (("train", train_x, train_y), ("test", test_x, test_y)):
    if x.ndim != 2 or y.shape != x.shape[:1] or len(x) < 2:
      raise UserError(
        f"the {name} set of the probe has features {x.shape} and labels "
        f"{y.shape}; give at least two images, [N, D] and [N]"
      )
    if not np.isfinite(x).all():
      raise UserError(
        f"the {name} features hold NaN or infinite values: the network has "
        "diverged; train it with a lower learning rate"
      )
  if train_x.shape[1] != test_x.shape[1]:
    raise UserError(
      f"train features have {train_x.shape[1]} dimensions and test features "
      f"{test_x.shape[1]}; compute both with the same network"
    )
