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


def result(linear, spreads, ranks, neighbours):
  summary = {
    "linear": {"encoder": linear},
    "spread": spreads[-1],
    "effective_rank": ranks[-1],
  }
  curves = {
    "spread": ((1, 2, 3, 4), (0.5, *spreads)),  # of steps, of which there are more
    "valid_effective_rank": ((0, 2, 4), ranks),
    "valid_knn": ((0, 2, 4), neighbours),
  }
  return Result([], {}, summary, curves)


def test_agreement_of_records():
  found = {
    "a": Seeds([result(0.5, [0.7, 0.1, 0.9], [9, 1, 2], [0.9, 0.2, 0.3])]),
    "b": Seeds(
      [
        result(0.4, [0.9, 0.1, 0.8], [9, 8, 7], [0.9, 0.2, 0.3]),
        result(0.3, [0.7, 0.1, 0.7], [1, 2, 3], [0.9, 0.2, 0.1]),
      ]
    ),
  }
  # Ranks 2, 7, 3 and spreads 0.9, 0.8, 0.7 of linear accuracies 0.5, 0.4, 0.3.
  expected = {
    "effective rank": {"over_runs": -0.5, "within_runs": -1 / 3, "lost": 20 / 3},
    "spread": {"over_runs": 1, "within_runs": 0, "lost": 10 / 3},
    "newest": {"over_runs": 0, "within_runs": 1 / 3, "lost": 10 / 3},
  }
  measured = agreement.of_records(found)
  assert measured.keys() == expected.keys()
  for name, values in expected.items():
    assert measured[name] == pytest.approx(values), name
