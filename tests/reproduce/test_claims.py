"""The rules that decide on claims, on results made up for them."""

import pytest

from reproduce import arms, claims
from reproduce.results import Result, Seeds


def result(linear, untrained=0.3, spread=0.9):
  accuracies = {"encoder": linear / 100, "untrained": untrained}
  summary = {"linear": accuracies, "spread": spread, "collapsed": spread < 0.1}
  return Result([], {}, summary, {})


def arm(*linears, **kwargs):
  return Seeds(result(linear, **kwargs) for linear in linears)


@pytest.mark.parametrize(
  ("found", "learned", "failed"),
  [
    (arm(50, 51, 49), "agrees", "disagrees"),
    (arm(30, 31, 28), "disagrees", "agrees"),
    (arm(50, 51, 31), "not decided", "not decided"),  # one seed of three has not
    (arm(33, 34), "not decided", "not decided"),  # a little
    # It has gained, and collapsed.
    (arm(50, spread=0.05), "not decided", "not decided"),
    (arm(30, spread=0.05), "disagrees", "agrees"),
  ],
)
def test_learning_takes_every_seed_and_so_does_failing(found, learned, failed):
  assert claims.learns("x")({"x": found}) == learned
  assert claims.fails("x")({"x": found}) == failed


@pytest.mark.parametrize(
  ("one", "good", "less"),
  [
    (arm(58, 60, 62), "agrees", "disagrees"),
    # Deviations of 2, three seeds each: that of the difference is 1.63, and of Welch's
    # 4 degrees of freedom the 95 % interval reaches 2.78 of those: 4.53.
    (arm(54, 56, 58), "agrees", "disagrees"),
    (arm(53, 55, 57), "disagrees", "agrees"),
    (arm(31, 31, 31.1), "disagrees", "disagrees"),  # behind, and has failed
    (arm(33, 33, 33.1), "disagrees", "not decided"),  # behind, has hardly learned
    (arm(54), "not decided", "not decided"),  # one seed has no noise
  ],
)
def test_as_good_as_noise_allows(one, good, less):
  arms = {"one": one, "other": arm(58, 60, 62)}
  assert claims.as_good("one", "other")(arms) == good
  assert claims.learns_less("one", "other")(arms) == less


def test_two_that_failed_are_not_as_good():
  arms = {"one": arm(30, 31), "other": arm(30, 31)}
  assert claims.as_good("one", "other")(arms) == "disagrees"


def test_far_behind_is_less_than_half_of_the_gain():
  arms = {"a": arm(50), "b": arm(39), "c": arm(41), "d": arm(31)}  # of 30 untrained
  assert claims.is_far_behind("b", "a")(arms) == "agrees"
  assert claims.is_far_behind("c", "a")(arms) == "disagrees"
  assert claims.is_far_behind("b", "d")(arms) == "not decided"


@pytest.mark.parametrize(
  ("lost", "verdict"), [(8, "agrees"), (6, "not decided"), (1, "disagrees")]
)
def test_who_loses_less(lost, verdict):
  arms = {"a": arm(60), "a-": arm(55), "b": arm(58), "b-": arm(58 - lost)}
  assert claims.loses_less(("a", "a-"), ("b", "b-"))(arms) == verdict


def test_a_claim_whose_runs_are_missing_is_not_decided():
  for claim in claims.CLAIMS:
    assert set(claim.arms) <= arms.ARMS.keys()
    assert claims.verdict(claim, {}) == "not decided"
