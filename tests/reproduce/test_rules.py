"""The rules that decide, on results made up for them."""

import pytest

from reproduce import rules
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
    (arm(50, 51, 49), True, False),
    (arm(30, 31, 28), False, True),
    (arm(50, 51, 31), None, None),  # one seed of three has not
    (arm(33, 34), None, None),  # a little
    (arm(50, spread=0.05), None, None),  # it has gained, and collapsed
    (arm(30, spread=0.05), False, True),
  ],
)
def test_learning_takes_every_seed_and_so_does_failing(found, learned, failed):
  assert rules.learns("x").answer({"x": found}) is learned
  assert rules.fails("x").answer({"x": found}) is failed


def test_a_collapse_is_one_of_every_seed():
  collapsed, healthy = arm(30, 31, spread=0.05), arm(30, 31)
  assert rules.collapses("x").answer({"x": collapsed}) is True
  assert rules.collapses("x").answer({"x": healthy}) is False
  assert rules.collapses("x").answer({"x": Seeds(collapsed + healthy)}) is None


@pytest.mark.parametrize(
  ("one", "good", "less"),
  [
    (arm(58, 60, 62), True, False),
    # Deviations of 2, three seeds each: that of the difference is 1.63, and of Welch's
    # 4 degrees of freedom the 95 % interval reaches 2.78 of those: 4.53.
    (arm(54, 56, 58), True, False),
    (arm(53, 55, 57), False, True),
    (arm(31, 31, 31.1), False, False),  # behind, and has failed
    (arm(33, 33, 33.1), False, None),  # behind, has hardly learned
    (arm(54), None, None),  # one seed has no noise
  ],
)
def test_as_good_as_noise_allows(one, good, less):
  arms = {"one": one, "other": arm(58, 60, 62)}
  assert rules.as_good("one", "other").answer(arms) is good
  assert rules.learns_less("one", "other").answer(arms) is less


def test_two_that_failed_are_not_as_good():
  arms = {"one": arm(30, 31), "other": arm(30, 31)}
  assert rules.as_good("one", "other").answer(arms) is False


def test_far_behind_is_less_than_half_of_the_gain():
  arms = {"a": arm(50), "b": arm(39), "c": arm(41), "d": arm(31)}  # of 30 untrained
  assert rules.is_far_behind("b", "a").answer(arms) is True
  assert rules.is_far_behind("c", "a").answer(arms) is False
  assert rules.is_far_behind("b", "d").answer(arms) is None


def test_a_rule_names_its_arms_in_order():
  assert rules.as_good("b", "a").arms == ("b", "a")
  assert rules.costs_less(("d", "a"), ("c", "b")).arms == ("d", "a", "c", "b")


@pytest.mark.parametrize(("lost", "answer"), [(8, True), (6, None), (1, False)])
def test_which_costs_less(lost, answer):
  arms = {"a": arm(60), "a-": arm(55), "b": arm(58), "b-": arm(58 - lost)}
  assert rules.costs_less(("a", "a-"), ("b", "b-")).answer(arms) is answer


@pytest.mark.parametrize(("lost", "answer"), [(3, True), (1.5, False), (-5, False)])
def test_what_hurts(lost, answer):
  arms = {"a": arm(60, 62), "a-": arm(61 - lost)}
  assert rules.hurts("a", "a-").answer(arms) is answer
