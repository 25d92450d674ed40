"""Times the probes beside scikit-learn's, on features of the same kind.

  python -m benchmarks.probes                   all tasks
  python -m benchmarks.probes --only=fit        one of them

fit: logistic regression of one strength. path: of 45, each from the end of the one
before, as scikit-learn's `warm_start` does too, with at most 1000 iterations each. knn:
20 nearest of all, by cosine. scikit-learn has the same float32 features; those for kNN
by Euclidean distance have unit length, which orders them likewise and is its fastest
code. Objectives are computed from the coefficients, in float64.

Features are made up: a rectified mixture of classes in correlated dimensions.
"""

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from benchmarks import tables, turns
from byol_jax import commands
from byol_jax.errors import UserError

_STRENGTH = 1e-4
_STRENGTHS = tuple(np.logspace(-6, 5, 45))
_K = 20
_MOST = (
  1000  # iterations of one fit of scikit-learn's path, which would go on for hours
)

_Arrays = tuple[np.ndarray, np.ndarray]


def features(images: int, dimensions: int, classes: int, seed: int = 0) -> _Arrays:
  """Made-up features float32 [images, dimensions] and labels int [images]."""
  rng = np.random.default_rng([seed, images])
  shared = np.random.default_rng(dimensions)
  latent = 3 * dimensions // 4
  spectrum = np.arange(1, latent + 1) ** -0.5
  means = 0.6 * shared.normal(size=(classes, latent))
  mixing = shared.normal(size=(latent, dimensions))
  labels = rng.integers(0, classes, images)
  z = (means[labels] + rng.normal(size=(images, latent))) * spectrum
  x = np.maximum(z @ mixing + 0.5, 0)
  return x.astype(np.float32), labels


def objective(
  weights: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray
) -> float:
  """Mean cross-entropy + strength / 2 |W|^2 of weights [C, D], in float64."""
  logits = x.astype(np.float64) @ weights.T + bias
  logits -= logits.max(axis=1, keepdims=True)
  right = logits[np.arange(len(y)), y]
  entropy = np.log(np.exp(logits).sum(axis=1)) - right
  return float(entropy.mean() + _STRENGTH / 2 * np.sum(weights**2))


def prepare_fit(size: dict[str, int], ours: bool, tolerance: float) -> turns.Prepared:
  """Logistic regression of one strength; facts: the objective."""
  x, y = features(size["images"], size["dimensions"], size["classes"])
  fit = _our_fit(x, y) if ours else _their_fit(x, y, tolerance)
  return {"objective": objective(*fit(), x, y)}, _discarded(fit)


def _our_fit(x: np.ndarray, y: np.ndarray) -> Callable[[], _Arrays]:
  from byol_jax import probes

  def fit() -> _Arrays:
    problem = probes.Problem(x, y)
    weights = problem.fit(_STRENGTH)
    # Scores are linear in the features: their value at 0 and along each axis.
    bias = problem.scores(weights, np.zeros((1, x.shape[1]), np.float32))[0]
    along = problem.scores(weights, np.eye(x.shape[1], dtype=np.float32))
    return (along - bias).T, bias

  return fit


def _their_fit(x: np.ndarray, y: np.ndarray, tolerance: float) -> Callable[[], _Arrays]:
  from sklearn.linear_model import LogisticRegression

  def fit() -> _Arrays:
    model = LogisticRegression(
      C=1 / (_STRENGTH * len(x)), tol=tolerance, max_iter=10_000
    ).fit(x, y)
    return model.coef_, model.intercept_

  return fit


def prepare_path(size: dict[str, int], ours: bool, tolerance: float) -> turns.Prepared:
  """Logistic regression of 45 strengths."""
  x, y = features(size["images"], size["dimensions"], size["classes"])
  if ours:
    from byol_jax import probes

    def run() -> None:
      for _ in probes.Problem(x, y).path(_STRENGTHS):
        pass

    return {}, run
  from sklearn.linear_model import LogisticRegression

  def theirs() -> None:
    model = LogisticRegression(tol=tolerance, max_iter=_MOST, warm_start=True)
    for strength in sorted(_STRENGTHS, reverse=True):
      model.set_params(C=1 / (strength * len(x))).fit(x, y)

  return {}, theirs


def prepare_knn(size: dict[str, int], ours: bool, metric: str) -> turns.Prepared:
  """Nearest neighbours; facts: the accuracy."""
  x, y = features(size["images"], size["dimensions"], size["classes"])
  test, truth = features(size["queries"], size["dimensions"], size["classes"], 1)
  if ours:
    from byol_jax import probes

    def run() -> float:
      return probes.knn_accuracy(x, y, test, truth, k=_K, temperature=None)
  else:
    from sklearn.neighbors import KNeighborsClassifier

    if metric == "euclidean":
      x, test = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, test))

    def run() -> float:
      model = KNeighborsClassifier(_K, metric=metric, algorithm="brute").fit(x, y)
      return float(model.score(test, truth))

  return {"accuracy": run()}, _discarded(run)


def _discarded(run: Callable[[], Any]) -> Callable[[], None]:
  """The same, to be timed alone."""

  def timed() -> None:
    run()

  return timed


def contestants(
  task: str, size: dict[str, int], tolerance: float
) -> dict[str, turns.Contestant]:
  """By name, ours first."""
  found = {}
  for name, ours, metric in (
    ("ours", True, ""),
    ("scikit-learn", False, "euclidean"),
    ("scikit-learn, metric=cosine", False, "cosine"),
  ):
    given: dict[str, Any] = {"size": size, "ours": ours}
    if task == "knn":
      found[name] = turns.Contestant(prepare_knn, given | {"metric": metric})
    elif metric != "cosine":
      prepare = {"fit": prepare_fit, "path": prepare_path}[task]
      found[name] = turns.Contestant(prepare, given | {"tolerance": tolerance})
  return found


def main(tasks: list[str], size: dict[str, int], rounds: int, tolerance: float) -> None:
  """Prints a Markdown table, a line a contestant.

  Raises:
    UserError: scikit-learn is not installed.
  """
  if importlib.util.find_spec("sklearn") is None:
    raise UserError("scikit-learn is not installed: pip install -e '.[benchmark]'")
  tables.head(("task", "", "seconds", "ours over theirs", "outcome", "peak, MiB"))
  for task in tasks:
    timings = turns.take_turns(
      contestants(task, size, tolerance), rounds, warm_up=0 if task == "path" else 1
    )
    for name, timing in timings.items():
      outcome = [f"{key} {value:.9g}" for key, value in timing.facts.items()]
      tables.row(
        (
          task,
          name,
          tables.with_spread(f"{timing.median:.2f}", timing.spread),
          f"{timings['ours'].ratio(timing):.2f}",
          ", ".join(outcome),
          f"{timing.peak_mib:.0f}",
        )
      )


if __name__ == "__main__":
  TASKS = ("fit", "path", "knn")
  ONLY = flags.DEFINE_multi_enum("only", [], TASKS, "Tasks; all if not given.")
  IMAGES = flags.DEFINE_integer("images", 50_000, "To fit to.", lower_bound=_K)
  QUERIES = flags.DEFINE_integer(
    "queries", 10_000, "To find neighbours of.", lower_bound=1
  )
  DIMENSIONS = flags.DEFINE_integer(
    "dimensions", 512, "Of the features.", lower_bound=2
  )
  # Of two, scikit-learn has one row of weights.
  CLASSES = flags.DEFINE_integer("classes", 10, "Of the images.", lower_bound=3)
  ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds that are timed.", lower_bound=2)
  TOLERANCE = flags.DEFINE_float(
    "tolerance", 1e-4, "scikit-learn's `tol`, its default.", lower_bound=0
  )

  def _main() -> None:
    held = (IMAGES, QUERIES, DIMENSIONS, CLASSES)
    size = {flag.name: flag.value for flag in held}
    main(ONLY.value or list(TASKS), size, ROUNDS.value, TOLERANCE.value)

  commands.run(_main, sys.argv)
