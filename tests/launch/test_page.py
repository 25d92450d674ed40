"""docs/clusters.md: its arithmetic, its files, its statuses."""

import re

import pytest

from byol_jax.errors import OtherHost
from tests.launch.played import LAUNCH, ROOT

PAGE = (ROOT / "docs" / "clusters.md").read_text()
SCALE = (ROOT / "docs" / "scale.md").read_text()
IMAGES = {"ImageNet": 1_281_167, "CIFAR-10": 50_000}  # of the training splits
COSTS = re.findall(
  r"^\| (\S+), (\d+) epochs \| (.*?) \| (\d+) \| (.*?) \| ([\d.]+) \|$", PAGE, re.M
)


@pytest.mark.parametrize("row", COSTS, ids=lambda row: f"{row[0]}-{row[1]}-{row[2]}")
def test_hours_are_those_of_the_rate(row):
  images, epochs, _, rate, _, hours = row
  expected = IMAGES[images] * int(epochs) / int(rate) / 3600
  assert float(hours) == round(expected, 1)
  assert re.search(rf"\b{rate}\b", SCALE.replace("26 950", "26950"))


def test_the_costs_are_found():
  assert len(COSTS) == PAGE.split("| card-hours |")[1].count("\n|") - 1 == 13


def test_every_file_is_named():
  named = set(re.findall(r"\(\.\./launch/(.*?)\)", PAGE))
  assert named == {path.name for path in LAUNCH.iterdir()} - {"Dockerfile.dockerignore"}


def test_a_missing_host_has_its_status():
  assert f"| {OtherHost.STATUS} | another host did not come" in PAGE
