"""The rules that decide on claims, on results made up for them."""

import pytest

from reproduce import arms, claims
from reproduce.results import Arm, Result


def result(linear, untrained=0.3, spread=0.9):
  accuracies = {"encoder": linear / 100, "untrained": untrained}
  summary = {"linear": accuracies, "spread": spread, "collapsed": spread < 0.1}
  return Result({}, {}, summary, {})


def arm(*linears, **kwargs):
  return Arm(result(linear, **kwargs) for linear in linears)


@pytest.mark.parametrize(
  ("found", "learned", "failed"),
  [
    (arm(50, 51, 49), "agrees", "disagrees"),
    (arm(50, 51, 34), "disagrees", "disagrees"),  # one seed of three has not
    (arm(33, 34), "disagrees", "agrees"),
    # A collapse, whatever the probe says.
    (arm(50, spread=0.05), "disagrees", "agrees"),
  ],
)
def test_learning_takes_every_seed(found, learned, failed):
  assert claims.learns("x")({"x": found}) == learned
  assert claims.fails("x")({"x": found}) == failed


def test_a_collapse_with_one_seed_is_one():
  good, bad = result(40), result(40, spread=0.01)
  assert claims.stays_apart("x")({"x": Arm([good, good])}) == "agrees"
  assert claims.stays_apart("x")({"x": Arm([good, bad])}) == "disagrees"


@pytest.mark.parametrize(
  ("one", "good", "less"),
  [
    (arm(58, 60, 62), "agrees", "disagrees"),
    # Deviation 2 of three seeds each: that of the difference is 1.63.
    (arm(55, 57, 59), "agrees", "disagrees"),
    (arm(54, 56, 58), "disagrees", "agrees"),
    (arm(34, 34, 34), "disagrees", "disagrees"),  # behind, but has not learned
    (arm(54), "not decided", "not decided"),  # one seed has no noise
  ],
)
def test_as_good_as_noise_allows(one, good, less):
  arms = {"one": one, "other": arm(58, 60, 62)}
  assert claims.as_good("one", "other")(arms) == good
  assert claims.learns_less("one", "other")(arms) == less


def test_far_behind_is_less_than_half_of_the_gain():
  arms = {"a": arm(50), "b": arm(39), "c": arm(41)}  # of 30 untrained
  assert claims.is_far_behind("b", "a")(arms) == "agrees"
  assert claims.is_far_behind("c", "a")(arms) == "disagrees"


def test_who_loses_less():
  arms = {"a": arm(60), "a-": arm(55), "b": arm(58), "b-": arm(50)}
  decide = claims.loses_less
  assert decide(("a", "a-"), ("b", "b-"))(arms) == "agrees"
  assert decide(("b", "b-"), ("a", "a-"))(arms) == "disagrees"


def test_a_claim_whose_runs_are_missing_is_not_decided():
  for claim in claims.CLAIMS:
    assert set(claim.arms) <= arms.ARMS.keys()
    assert claims.verdict(claim, {}) == "not decided"
