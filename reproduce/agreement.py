"""How measures that need no labels agree with linear accuracy; the study is `score`."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from reproduce import results

# Candidate -> 1 where higher is better, -1 where lower is. Those that do not say of
# what are of the encoder's features; "projected" ones are of projections.
CANDIDATES = {
  "effective_rank": 1,
  "rankme": 1,
  "rankme_projected": 1,
  "lidar": 1,
  "lidar_projected": 1,
  "alignment": -1,
  "alignment_projected": -1,
  "uniformity": -1,
  "uniformity_projected": -1,
  "alignment_and_uniformity": -1,
  "alignment_and_uniformity_projected": -1,
  "spread": 1,
  "rank_differential": 1,  # of targets over predictions
  # Added when six runs had been measured: in all of them the untrained network had the
  # highest ranks.
  "invariance": 1,
  "invariance_projected": 1,
}

Point = Mapping[str, float]  # of one network: "step", "linear" and each candidate


def agreement(runs: Mapping[str, Sequence[Point]], name: str) -> dict[str, float]:
  """How a candidate agrees with linear accuracy.

  Returns:
    Spearman's rank correlation "over_runs" and "within_runs"; "lost", by how many
    points of linear accuracy the network that it ranks first in a run is behind the
    best of that run, the mean over the runs; "untrained_first", the share of runs in
    which that network is the untrained one.
  """
  scores = {run: [CANDIDATES[name] * p[name] for p in runs[run]] for run in runs}
  linear = {run: [p["linear"] for p in runs[run]] for run in runs}
  last = [[of[run][-1] for run in runs] for of in (scores, linear)]
  return {
    "over_runs": _spearman(*last),
    "within_runs": float(np.mean([_spearman(scores[r], linear[r]) for r in runs])),
    "lost": 100 * float(np.mean([_lost(scores[r], linear[r]) for r in runs])),
    "untrained_first": float(np.mean([np.argmax(scores[r]) == 0 for r in runs])),
  }


def of_records(found: results.Results) -> dict[str, dict[str, float]]:
  """How what the records of full-length runs have agrees with accuracy.

  Returns:
    For "effective rank", "spread" and, to compare with, "newest", the step: Spearman's
    rank correlation "over_runs" with linear accuracy, and "within_runs", the mean, with
    held-out kNN accuracy at the evaluations, without that of the untrained network;
    "lost", the points of kNN accuracy by which the evaluation that it ranks first in a
    run is behind the best of that run, the mean.
  """
  runs = [run for arm in found.values() for run in arm]
  linear = [run.linear for run in runs]
  last = {"effective rank": [r.rank for r in runs], "spread": [r.spread for r in runs]}
  watched = [_watched(run) for run in runs if len(run.curves["valid_knn"][0]) > 1]
  return {
    name: {
      "over_runs": _spearman(last[name], linear) if name in last else 0.0,
      "within_runs": float(np.mean([_spearman(w[name], w["knn"]) for w in watched])),
      "lost": 100 * float(np.mean([_lost(w[name], w["knn"]) for w in watched])),
    }
    for name in (*last, "newest")
  }


def _watched(run: results.Result) -> dict[str, Sequence[float]]:
  """What was measured at each evaluation of a run but the first."""
  steps, knn = run.curves["valid_knn"]
  spread = dict(zip(*run.curves["spread"], strict=True))
  ranks = run.curves["valid_effective_rank"][1]
  return {
    "effective rank": ranks[1:],
    "spread": [spread[step] for step in steps[1:]],
    "newest": steps[1:],
    "knn": knn[1:],
  }


def _lost(scores: Sequence[float], accuracies: Sequence[float]) -> float:
  """By how much the accuracy of the highest score is behind the best."""
  return max(accuracies) - accuracies[int(np.argmax(scores))]


def _spearman(one: Sequence[float], other: Sequence[float]) -> float:
  """Spearman's rank correlation, 0 where one of them does not move."""
  if min(np.ptp(one), np.ptp(other)) == 0:
    return 0.0
  return float(scipy.stats.spearmanr(one, other).statistic)
