"""How measures agree with accuracy, on runs made up for it."""

import pytest

from reproduce import agreement
from reproduce.results import Result, Seeds
from tests.reproduce.made_up import HEALTH, summary


def result(linear, lidar, uniformity, neighbours):
  """A run that is evaluated three times, the first time untrained."""
  measured = dict.fromkeys(agreement.CANDIDATES, [1.0] * 3)
  measured |= {"lidar": lidar, "uniformity": uniformity}
  steps = (0, 2, 4)
  curves = {f"valid_{name}": (steps, values) for name, values in measured.items()}
  curves["valid_knn"] = (steps, neighbours)
  last = {"lidar": lidar[-1], "uniformity": uniformity[-1]}
  return Result([], {}, summary(linear, **(HEALTH | last)), curves)


def test_agreement_with_accuracy():
  found = {
    "a": Seeds([result(50, [9, 1, 2], [0, -1, -2], [0.9, 0.2, 0.3])]),
    "b": Seeds(
      [
        result(40, [9, 8, 7], [0, -1, -1.5], [0.9, 0.2, 0.3]),
        result(30, [1, 2, 3], [0, -1, -1], [0.9, 0.2, 0.1]),
      ]
    ),
  }
  measured = agreement.agreement(found)
  # LiDAR 2, 7, 3 of 50, 40, 30 %; within the runs it goes as kNN, and twice against it.
  assert measured["lidar"] == pytest.approx(
    {"over_runs": -0.5, "within_runs": -1 / 3, "lost": 20 / 3}
  )
  # The lower uniformity is the better: with kNN twice, and the third time it stays.
  expected = {"over_runs": 1, "within_runs": 2 / 3, "lost": 0}
  assert measured["uniformity"] == pytest.approx(expected)
  assert measured["alignment + uniformity"] == pytest.approx(expected)
  assert measured["newest"] == pytest.approx(
    {"over_runs": 0, "within_runs": 1 / 3, "lost": 10 / 3}
  )
  assert measured["spread"]["over_runs"] == 0  # it does not move


def test_an_arm_stays_apart_where_each_of_its_runs_does():
  def run(common):
    health = HEALTH | {"projection_common": common}
    return Result([], {}, summary(50, **health), {})

  assert agreement.stays_apart(Seeds([run(0.2), run(0.89)]))
  assert not agreement.stays_apart(Seeds([run(0.2), run(0.95)]))
