"""The tables of cards: arithmetic by hand, and the copies of them in docs/scale.md."""

import pytest

from benchmarks import cards, scale, workload
from configs import presets
from tests.docs import tables


def test_a_steps_flops_are_those_of_the_compiled_step():
  # docs/benchmarks.md: 64 and 7.8 GFLOP an image, with norms and all the rest.
  assert cards.flops_per_image("imagenet-1000") == pytest.approx(64e9, rel=0.03)
  assert cards.flops_per_image("cifar10") == pytest.approx(7.8e9, rel=0.01)


def test_no_warning_is_given_of_images_that_nobody_looks_at(caplog):
  scale.make_experiment("byol", "cifar10")
  workload.make_experiment(**workload.NETWORKS["resnet18-b64"], norm="bn")
  assert not caplog.records


def test_steps_are_those_of_the_presets():
  for name, step in cards.PRESETS.items():
    config = presets.get(name)
    assert step == f"ResNet-{config.encoder.depth}, {config.data.size} px"


def test_the_page_has_what_was_published_below_what_was_measured():
  headings, _, *rows = tables.read("docs/scale.md", "## Cards")
  assert headings == [*cards.HEADINGS]
  found = [row for row in rows if row[-1].startswith("published")]
  assert found == [[*row] for row in cards.published()] == rows[-len(found) :]


def test_the_page_has_the_grid_of_what_is_assumed():
  headings, _, *rows = tables.read("docs/scale.md", "**What was not measured**")
  assert headings == [*cards.GRID]
  assert rows == [[*row] for row in cards.assumed()]


def test_the_share_that_is_assumed_is_that_of_byols_own_run():
  # 512 cores of 61.5 TFLOP/s for 8 hours.
  used = 1000 * 1_281_167 * cards.flops_per_image("imagenet-1000")
  share = used / (512 * 61.5e12 * 8 * 3600)
  assert f"{100 * share:.1f} %" == next(cards.published())[4]
  assert share == pytest.approx(cards.ASSUMED, abs=0.005)
