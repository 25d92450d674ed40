"""The table of large presets: its form, and the copy of it in docs/scale.md."""

import pytest

from benchmarks import costs, scale
from configs import presets
from tests.docs import tables

HEADINGS, _, *ROWS = tables.read("docs/scale.md", "python -m benchmarks.scale\n```\n")


def test_a_row_by_hand():
  facts = {
    "images": 512,
    "microbatches": 8,
    "arguments_mib": 557.2,
    "temp_mib": 17171.0,
    "collectives": {"all-reduce": costs.Collectives(297, 505, 143 * 2**20)},
    "seconds": 46.3,
  }
  cells = scale.cells("byol:imagenet-1000", 8, facts)
  assert [str(cell).strip("`") for cell in cells] == [
    "byol:imagenet-1000",
    *("8", "8 x 64", "557 + 17171", "297: 505 arrays, 143 MiB", "46"),
  ]


def test_the_page_has_these_columns_and_presets():
  assert [*scale.HEADINGS] == HEADINGS
  told = {row[0].strip("`") for row in ROWS}
  assert told == {f"{s}:{preset}" for s in scale.SYSTEMS for preset in scale.CLASSES}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_devices_share_the_presets_batch(row):
  config, devices, images, *_ = row
  microbatches, at_a_time = map(int, images.split(" x "))
  batch = presets.get(config.strip("`").partition(":")[2]).train.batch_size
  assert int(devices) * microbatches * at_a_time == batch
  assert at_a_time <= scale.AT_A_TIME
