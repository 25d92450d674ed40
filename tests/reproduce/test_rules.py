"""The rules that decide, on results made up for them."""

import math

import pytest

from reproduce import rules
from tests.reproduce.made_up import arm

PIXELS = {"linear": 41.0, "knn": 36.0}


def answer(rule, *arms):
  return rule.answer(dict(zip(rule.arms, arms, strict=True)), PIXELS)


@pytest.mark.parametrize(
  ("moving", "fixed", "passed"),
  [
    (arm(51, 50, 52), arm(46, 47, 45), True),
    (arm(51, 50, 52), arm(46, 47.5, 45), False),  # one seed of three is not
    (arm(51, 50, 52), arm(40, 40, 40), False),  # frozen, it is below pixels
    (arm(51, 50), arm(46, 47), True),
    (arm(51, knn=[40]), arm(46, knn=[37]), True),
    (arm(51, knn=[40]), arm(46, knn=[37.5]), False),  # one probe of the two is not
  ],
)
def test_the_gate_takes_every_seed_and_both_probes(moving, fixed, passed):
  assert answer(rules.passes_the_gate("a", "b"), moving, fixed) is passed


@pytest.mark.parametrize(
  ("found", "learned"),
  [
    (arm(44, 45, 46), True),
    (arm(44, 45, 43.9), None),  # a little
    (arm(44, 45, 46, knn=[39, 40, 41]), True),
    (arm(44, 45, 46, knn=[39, 40, 36]), None),  # by nearest neighbours one is not
    (
      arm(41, 40, 39, knn=[36, 35, 30]),
      False,
    ),  # above untrained, and no pixel's better
    (arm(51, 51, untrained=50), None),
    (arm(50, 49, untrained=50), False),
    (arm(53, 54, untrained=50), True),
  ],
)
def test_learning_is_to_beat_the_untrained_network_and_pixels(found, learned):
  failed = None if learned is None else not learned
  assert answer(rules.learns("x"), found) is learned
  assert answer(rules.fails("x"), found) is failed


@pytest.mark.parametrize(
  ("raw", "common", "collapsed"),
  [
    (12.9, 0.995, True),
    (7.1, 0.995, True),
    (13.1, 0.995, False),  # something can be read off it
    (10.0, 0.98, False),
  ],
)
def test_a_collapse_is_of_features_as_they_are(raw, common, collapsed):
  found = arm(40, 40, raw=raw, feature_common=common)
  assert answer(rules.collapses("x"), found) is collapsed
  assert answer(rules.projections_collapse("x"), found) is False


def test_a_collapse_is_one_of_every_seed():
  one, other = arm(40, projection_common=0.995), arm(40, projection_common=0.98)
  rule = rules.projections_collapse("x")
  assert answer(rule, one) is True
  assert answer(rule, other) is False
  assert answer(rule, type(one)(one + other)) is None


def test_bounds_worked_out_by_hand():
  # Mean 2, deviation 1, of three: 0.577; Student's t of two degrees of freedom, 95 %
  # on one side, is 2.920.
  assert rules.interval([1, 2, 3]) == pytest.approx((2 - 1.686, 2 + 1.686), abs=1e-3)
  assert rules.interval([5]) == (-math.inf, math.inf)


@pytest.mark.parametrize(
  ("differences", "good", "is_behind", "is_ahead"),
  [
    ((1, 2, 3), True, False, True),
    ((0, 0.2, 0.1), True, None, None),  # -0.07 to 0.27
    ((-0.9, -1, -1.1), True, True, False),  # behind, by less than the margin
    ((-2, -3, -4), False, True, False),
    ((0, -1, -2), None, None, None),  # -2.7 to 0.7
    ((-1,), None, None, None),  # one seed has no bounds
  ],
)
def test_comparisons_go_by_the_bounds_of_paired_differences(
  differences, good, is_behind, is_ahead
):
  base = (50.0, 60.0, 70.0)[: len(differences)]  # far apart, which does not matter
  one = arm(*(b + d for b, d in zip(base, differences, strict=True)))
  other = arm(*base)
  assert answer(rules.as_good("a", "b"), one, other) is good
  assert answer(rules.behind("a", "b"), one, other) is is_behind
  assert answer(rules.ahead("a", "b"), one, other) is is_ahead


def test_probes_that_differ_leave_it_open():
  one, other = arm(50, 51, knn=[40, 41]), arm(48, 49.1, knn=[42, 43.1])
  assert answer(rules.ahead("a", "b"), one, other) is None
  assert answer(rules.ahead("a", "b"), one, arm(48, 49.1, knn=[38, 39.1])) is True


@pytest.mark.parametrize(("lost", "cheaper"), [(8, True), (5.1, None), (1, False)])
def test_which_costs_less(lost, cheaper):
  arms = arm(60, 61), arm(55, 56.1), arm(58, 59), arm(58 - lost, 59 - lost)
  assert answer(rules.costs_less(("a", "b"), ("c", "d")), *arms) is cheaper


def test_the_difference_of_a_rule_is_of_its_first_arm():
  one, other = arm(50, 51, knn=[40, 41]), arm(52, 54, knn=[41, 41])
  for rule in (rules.ahead, rules.behind, rules.as_good):
    difference = rule("a", "b").difference
    assert difference([one, other], "linear") == pytest.approx([-2, -3])
    assert difference([one, other], "knn") == pytest.approx([-1, 0])
  of_two = rules.costs_less(("a", "b"), ("c", "d")).difference
  expected = pytest.approx([-2 - 2, -3 - 3])
  assert of_two([other, one, one, other], "linear") == expected
  assert rules.learns("a").difference is None


def test_a_rule_names_its_arms_in_order():
  assert rules.as_good("b", "a").arms == ("b", "a")
  assert rules.behind("b", "a").arms == ("b", "a")
  assert rules.costs_less(("d", "a"), ("c", "b")).arms == ("d", "a", "c", "b")
