"""Differences of accuracies: worked out by hand, and how often chance makes one."""

import numpy as np
import pytest

from byol_jax.report import chance


def test_a_difference_is_that_of_agresti_and_caffo():
  # 30 and 20 of 40: with one right and one wrong added, 31 / 42 and 21 / 42.
  p, q = 31 / 42, 21 / 42
  error = 2 * ((p * (1 - p) + q * (1 - q)) / 42) ** 0.5
  found = chance.difference(0.75, 0.5, 40)
  assert found.points == 0.25
  assert found.bounds == pytest.approx((p - q - error, p - q + error))
  assert found.sign == int(p - q > error) == 1


def test_a_few_images_give_no_certainty():
  assert chance.difference(1.0, 0.0, 1).sign == 0
  assert chance.difference(1.0, 0.0, 2).sign == 0
  assert chance.difference(1.0, 0.0, 20).sign == 1
  assert chance.difference(0.0, 1.0, 20).sign == -1
  assert chance.difference(0.9, 0.1, None) == (0.8, None, 0)
  found = chance.difference(0.5, 0.0, 6)
  assert found.sign == 0
  assert found.bounds[0] < 0 < found.points < found.bounds[1]
  assert chance.difference(1.0, 0.0, 4).bounds[1] == 1


def test_chance_alone_makes_a_difference_once_in_twenty_times():
  rng = np.random.default_rng(0)
  for images, share in ((50, 0.2), (50, 0.5), (1000, 0.9)):
    right = rng.binomial(images, share, (4000, 2)) / images
    signs = [chance.difference(*pair, images).sign for pair in right]
    assert 0.02 < np.mean(np.array(signs) != 0) < 0.06


def test_texts():
  assert chance.percent(0.1234) == "12.3 %"
  assert str(chance.difference(0.75, 0.5, 40)) == "+25.0 points, between +3.3 and +44.4"
  assert str(chance.difference(0.5, 0.75, None)) == "-25.0 points"


def test_seeds_are_compared_by_welchs_test():
  # t = 4 / sqrt(2 / 3) = 4.90 at 4 degrees of freedom: p = 0.008; at 2: 0.106.
  assert chance.above([0.58, 0.59, 0.6], [0.54, 0.55, 0.56])
  assert not chance.above([0.54, 0.55, 0.56], [0.58, 0.59, 0.6])
  assert not chance.above([0.58, 0.6], [0.56, 0.58])
  assert not chance.above([0.9], [0.1, 0.1])
  assert not chance.above([0.5, 0.5], [0.5, 0.5])
  assert chance.above([0.6, 0.6], [0.5, 0.5])


def test_chance_alone_makes_a_difference_between_seeds_once_in_twenty_times():
  rng = np.random.default_rng(0)
  for seeds in (3, 5):
    drawn = rng.normal(0.5, 0.01, (500, 2, seeds)).tolist()
    share = np.mean([chance.above(a, b) or chance.above(b, a) for a, b in drawn])
    assert 0.01 < share < 0.08
