"""docs/clusters.md: its arithmetic, its files, its statuses."""

import re

import pytest

from byol_jax.errors import OtherHost
from byol_jax.run import live
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


def shape(line):
  """A line of the log without its time and with each number as 0."""
  return re.sub(r"\d+", "0", re.sub(r"^[\d:]{8} ", "", line))


def test_a_healthy_start_is_what_a_run_says(caplog):
  """Lines of a run that is played; those of the page are measured."""
  report = {
    "loss": 1.5,
    "spread": 0.5,
    "images_per_second": 200.0,
    "input_wait": 0.01,
    "eta_seconds": 60.0,
  }
  with caplog.at_level("INFO"), live.shown(0, 40) as line:
    line.evaluated({"valid_effective_rank": 30.0})
    line.compiling()
    line.compiled(3.0)
    line.reported(10, report)
  text = PAGE.partition("## A healthy start")[2].partition("On CPUs each")[0]
  starts = re.findall(r"```\n(\d.*?)```", text, re.S)
  assert len(starts) == 2
  for start in starts:
    said = [shape(line) for line in start.splitlines()]
    at = said.index("compiling the first step")
    steps = [shape(caplog.messages[-1])] * 4
    assert said[at:] == [shape(line) for line in caplog.messages[:-1]] + steps


def test_every_file_is_named():
  named = set(re.findall(r"\(\.\./launch/(.*?)\)", PAGE))
  assert named == {path.name for path in LAUNCH.iterdir()} - {"Dockerfile.dockerignore"}


def test_a_missing_host_has_its_status():
  assert f"| {OtherHost.STATUS} | another host did not come" in PAGE
