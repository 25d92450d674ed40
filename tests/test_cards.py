"""The table of cards: arithmetic by hand, and the copy of it in docs/scale.md."""

from pathlib import Path

import pytest

from benchmarks import cards, tables

SCALE = Path(__file__).parents[1] / "docs" / "scale.md"


def test_a_steps_flops_are_those_of_the_compiled_step():
  # docs/benchmarks.md: 64 and 7.8 GFLOP an image, with norms and all the rest.
  assert cards.flops_per_image("imagenet-1000") == pytest.approx(64e9, rel=0.03)
  assert cards.flops_per_image("cifar10") == pytest.approx(7.8e9, rel=0.01)


def test_the_docs_have_the_table():
  lines = SCALE.read_text().splitlines()
  for row in cards.rows():
    assert tables.line(row) in lines
  # BYOL's own: 512 cores of 61.5 TFLOP/s for 8 hours.
  used = 1000 * 1_281_167 * cards.flops_per_image("imagenet-1000")
  share = used / (512 * 61.5e12 * 8 * 3600)
  assert f"{share:.1%}" == next(cards.rows())[3]
  assert share == pytest.approx(cards.ASSUMED, abs=0.005)
