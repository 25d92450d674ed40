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

_CURVES = ("valid_effective_rank", "valid_knn")


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
  first = {run: int(np.argmax(scores[run])) for run in runs}
  return {
    "over_runs": _spearman(*last),
    "within_runs": float(np.mean([_spearman(scores[r], linear[r]) for r in runs])),
    "lost": 100 * float(np.mean([max(linear[r]) - linear[r][first[r]] for r in runs])),
    "untrained_first": float(np.mean([first[r] == 0 for r in runs])),
  }


def of_records(found: results.Results) -> dict[str, float]:
  """What the records of the full-length runs say of two measures that they have.

  Returns:
    How many "runs"; over them, Spearman's rank correlation of "effective_rank" and of
    "spread" with linear accuracy; "within_runs", the mean, that of the effective rank
    with kNN accuracy; "untrained_first", the share of runs in which the untrained
    network has the highest effective rank.
  """
  runs = [run for arm in found.values() for run in arm]
  curves = [[run.curves[name][1] for name in _CURVES] for run in runs]
  linear = [run.linear for run in runs]
  return {
    "runs": len(runs),
    "effective_rank": _spearman([run.rank for run in runs], linear),
    "spread": _spearman([run.spread for run in runs], linear),
    "within_runs": float(np.mean([_spearman(*curve) for curve in curves])),
    "untrained_first": float(np.mean([np.argmax(rank) == 0 for rank, _ in curves])),
  }


def _spearman(one: Sequence[float], other: Sequence[float]) -> float:
  """Spearman's rank correlation, 0 where one of them does not move."""
  if min(np.ptp(one), np.ptp(other)) == 0:
    return 0.0
  return float(scipy.stats.spearmanr(one, other).statistic)
