"""How measures that need no labels agree with accuracy, over the records of runs."""

from collections.abc import Sequence

import numpy as np
import scipy.stats

from reproduce import results

# Measure of `evaluation.health` -> 1 where higher is better, -1 where lower is.
CANDIDATES = {
  "effective_rank": 1,
  "rankme": 1,
  "lidar": 1,
  "invariance": 1,
  "spread": 1,
  "alignment": -1,
  "uniformity": -1,
  "feature_common": -1,
  "projection_common": -1,
}
SUM = "alignment + uniformity"  # what ranks checkpoints without labels
NEWEST = "newest"  # what any measure has to beat
APART = 0.9


def stays_apart(arm: results.Seeds) -> bool:
  """Whether all its runs end with a common part of projections below `APART`."""
  return max(run.projection_common for run in arm) < APART


def agreement(found: results.Results) -> dict[str, dict[str, float]]:
  """How each measure agrees with accuracy.

  Returns:
    For each of `CANDIDATES`, `SUM` and `NEWEST`: Spearman's rank correlation
    "over_runs" with linear accuracy on test images, and "within_runs", the mean, with
    held-out kNN accuracy at the evaluations of a run, without that of the untrained
    network; "lost", the points of kNN accuracy by which the evaluation that it ranks
    first in a run is behind the best of that run, the mean.
  """
  runs = [run for arm in found.values() for run in arm]
  linear = [run.accuracy("linear") for run in runs]
  watched = [(_watched(run), run.curves["valid_knn"][1][1:]) for run in runs]
  return {
    name: {
      "over_runs": _spearman([_last(run, name) for run in runs], linear),
      "within_runs": float(np.mean([_spearman(w[name], knn) for w, knn in watched])),
      "lost": 100 * float(np.mean([_lost(w[name], knn) for w, knn in watched])),
    }
    for name in (*CANDIDATES, SUM, NEWEST)
  }


def _last(run: results.Result, name: str) -> float:
  """A measure of the trained network; nothing of one that is its step alone."""
  if name == NEWEST:
    return 0.0
  names = ("alignment", "uniformity") if name == SUM else (name,)
  return sum(CANDIDATES[each] * run.health(each) for each in names)


def _watched(run: results.Result) -> dict[str, Sequence[float]]:
  """What was measured at each evaluation of a run but the first."""
  steps = run.curves["valid_knn"][0][1:]
  found: dict[str, Sequence[float]] = {
    name: [sign * value for value in run.curves[f"valid_{name}"][1][1:]]
    for name, sign in CANDIDATES.items()
  }
  pairs = zip(found["alignment"], found["uniformity"], strict=True)
  return found | {SUM: [sum(pair) for pair in pairs], NEWEST: steps}


def _lost(scores: Sequence[float], accuracies: Sequence[float]) -> float:
  """By how much the accuracy of the highest score is behind the best."""
  return max(accuracies) - accuracies[int(np.argmax(scores))]


def _spearman(one: Sequence[float], other: Sequence[float]) -> float:
  """Spearman's rank correlation, 0 where one of them does not move."""
  if min(np.ptp(one), np.ptp(other)) == 0:
    return 0.0
  return float(scipy.stats.spearmanr(one, other).statistic)
