"""How a measure agrees with linear accuracy, on networks made up for it."""

import pytest

from reproduce import agreement
from reproduce.results import Result, Seeds


def test_agreement_with_linear_accuracy():
  runs = {
    "good": [{"linear": v, "lidar": v, "alignment": v} for v in (0.3, 0.4, 0.5)],
    "bad": [
      {"linear": 0.3, "lidar": 9.0, "alignment": 1.0},
      {"linear": 0.35, "lidar": 9.0, "alignment": 1.0},
      {"linear": 0.2, "lidar": 9.0, "alignment": 1.0},
    ],
    "other": [
      {"linear": 0.1, "lidar": 2.0, "alignment": 0.1},
      {"linear": 0.2, "lidar": 3.0, "alignment": 0.3},
      {"linear": 0.1 + 0.2, "lidar": 1.0, "alignment": 0.2},
    ],
  }
  # Last networks: linear 0.5, 0.2, 0.3 and lidar 0.5, 9, 1: the reverse order.
  assert agreement.agreement(runs, "lidar") == pytest.approx(
    {
      "over_runs": -1,
      "within_runs": (1 + 0 - 0.5) / 3,
      "lost": 100 * (0 + 0.05 + 0.1) / 3,
      "untrained_first": 1 / 3,
    }
  )
  # Of alignment the lowest is the best: 0.5, 1, 0.2 are ranks 2, 3, 1 of its own.
  assert agreement.agreement(runs, "alignment") == pytest.approx(
    {
      "over_runs": 0.5,
      "within_runs": (-1 + 0 - 0.5) / 3,
      "lost": 100 * (0.2 + 0.05 + 0.2) / 3,
      "untrained_first": 1,
    }
  )


def result(linear, spread, ranks, neighbours):
  summary = {
    "linear": {"encoder": linear},
    "spread": spread,
    "effective_rank": ranks[-1],
  }
  steps = list(range(len(ranks)))
  curves = {"valid_effective_rank": (steps, ranks), "valid_knn": (steps, neighbours)}
  return Result([], {}, summary, curves)


def test_agreement_of_records():
  found = {
    "a": Seeds([result(0.5, 0.9, [9, 1, 2], [0.1, 0.2, 0.3])]),
    "b": Seeds(
      [
        result(0.4, 0.8, [9, 8, 7], [0.1, 0.2, 0.3]),
        result(0.3, 0.7, [1, 2, 3], [0.1, 0.2, 0.3]),
      ]
    ),
  }
  assert agreement.of_records(found) == pytest.approx(
    {
      "runs": 3,
      "effective_rank": -0.5,
      "spread": 1,
      "within_runs": (-0.5 - 1 + 1) / 3,
      "untrained_first": 2 / 3,
    }
  )
