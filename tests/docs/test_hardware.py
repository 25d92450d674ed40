"""What the pages say that accelerators reached is in their records."""

import json
import re
import statistics

import pytest

from benchmarks import cards
from byol_jax.run import mfu
from tests.docs import tables

DOCS = tables.ROOT / "docs"
NOTED = json.loads((DOCS / "scale" / "steps.json").read_text())
BY_HAND, READINGS = NOTED["by_hand"], NOTED["readings"]
NORMS = ("BN", "GN + WS")
H100, H200 = "NVIDIA H100 80GB HBM3", "NVIDIA H200"
SCALE = (DOCS / "scale.md").read_text()
CLUSTERS = (DOCS / "clusters.md").read_text()


def record(stage):
  path = DOCS / "reproduction" / "accelerator" / f"{stage}.json"
  return json.loads(path.read_text())


def of_a_stage(stage, norm):
  """The figures of a stage that measured nothing but its speed."""
  (start,), found = record(stage)["starts"], record(stage)["found"]
  return {
    "card": start["kind"],
    "step": "ResNet-50, 224 px, batch 256",
    "norm": norm,
    "images_per_second": round(found["images_per_second"]),
    "mfu": round(100 * found["mfu"], 1),
    "memory_gib": f"{found['peak_bytes'] / 2**30:.1f}",
  }


STAGES = [
  of_a_stage(f"speed-resnet50-{stage}", norm)
  for stage, norm in zip(("bn", "gn-ws"), NORMS, strict=True)
]
ALL = BY_HAND + STAGES + READINGS


def rates(card, step):
  """Figures by norm, of one card and a kind of step."""
  found = [f for f in ALL if f["card"] == card and step in f["step"]]
  assert [figures["norm"] for figures in found] == [*NORMS]
  return [[figures[name] for figures in found] for name in ("images_per_second", "mfu")]


def grouped(number):
  """As the pages write it: thousands apart, if there are ten of them."""
  return f"{number:,}".replace(",", " ") if number >= 10_000 else str(number)


def numbers(cell):
  """Those of a cell that are no part of a word."""
  cell = re.sub(r"(?<=\d) (?=\d{3})", "", cell)
  return [float(number) for number in re.findall(r"\b\d+(?:\.\d+)?\b", cell)]


def test_scale_has_all_of_them():
  _, _, *rows = tables.read("docs/scale.md", "## Cards")
  measured = [row for row in rows if not row[-1].startswith("published")]
  assert [row[:-1] for row in measured] == [
    [
      *(figures["card"], figures["step"], figures["norm"]),
      *(grouped(figures["images_per_second"]), f"{figures['mfu']} %"),
      figures["memory_gib"],
    ]
    for figures in ALL
  ]
  for reading, row in zip(READINGS, measured[-2:], strict=True):
    ends = grouped(reading["lowest"]), grouped(reading["highest"])
    assert row[-1].endswith("{} to {}".format(*ends))


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading["record"])
def test_readings_are_those_of_the_reports(reading):
  found = record(reading["record"])
  (start,) = found["starts"]
  assert start["kind"] == reading["card"]
  assert start["commit"] == NOTED["commit"]
  assert start["versions"]["jax"] == NOTED["versions"]["jax"]
  first, last = reading["steps"]
  steps, speeds = found["curves"]["images_per_second"]
  told = [v for s, v in zip(steps, speeds, strict=True) if first <= s <= last]
  assert len(told) >= 7
  digits = 10 if reading["images_per_second"] % 1000 else 1000
  for name, of in (
    ("images_per_second", statistics.median),
    ("lowest", min),
    ("highest", max),
  ):
    assert reading[name] == digits * round(of(told) / digits)


@pytest.mark.parametrize("figures", ALL, ids=lambda f: f"{f['step']}-{f['norm']}")
def test_utilisations_are_those_of_the_rates(figures):
  stage = "gn-ws" if "cifar10" in figures["step"] else "speed-resnet50-gn-ws"
  known = record(stage)["found"]
  of_an_image = known["mfu"] / known["images_per_second"] * mfu.peak(H200, "bfloat16")
  peak = mfu.peak(figures["card"], "bfloat16")
  share = 100 * figures["images_per_second"] * of_an_image / peak
  # What was noted by hand may have been rounded down.
  assert figures["mfu"] == pytest.approx(share, abs=0.1 if share < 20 else 0.5)


def test_pytorchs_step():
  ours = BY_HAND[0]
  theirs = ours["torch_compile"]
  assert 128e3 / ours["milliseconds"] == pytest.approx(1962, abs=2)
  assert theirs["ratio"] == round(ours["milliseconds"] / theirs["milliseconds"], 2)
  text = " ".join(SCALE.split())
  for said in (
    f"(PyTorch {theirs['PyTorch']}, channels_last, autocast)",
    f"took {theirs['milliseconds']} ± {theirs['spread']} % ms",
    f"ours {ours['milliseconds']} ms: {theirs['ratio']} of its time",
    f"Ours compiled in {ours['compile_seconds']} s",
    f"PyTorch's in {theirs['compile_seconds']}.",
  ):
    assert said in text
  assert f"took {ours['compile_seconds']} s of it on an H100" in CLUSTERS
  answer = f"{theirs['ratio']} of the time of `torch.compile`"
  assert answer in (DOCS / "benchmarks.md").read_text()


def test_what_group_norm_costs():
  costs = []
  for card, step in ((H100, "batch 128"), (H200, "batch 256")):
    (batch, group), _ = rates(card, step)
    costs.append(f"{100 * (batch / group - 1):.0f} %")
  of_128, of_256 = costs
  said = f"**GN + WS costs {of_128}** of a ResNet-50 step of 128 images on the H100"
  assert f"{said}, {of_256} of one of 256 on the H200" in SCALE


@pytest.mark.parametrize(
  ("card", "words", "step"),
  [
    (H100, "ResNet-50", "batch 128"),
    (H200, "ResNet-50", "batch 256"),
    (H200, "ResNet-18", "cifar10"),
  ],
)
def test_the_readme(card, words, step):
  _, _, *rows = tables.read("README.md", "## Where it runs")
  (row,) = (row for row in rows if row[0] in card and words in row[1])
  assert [numbers(cell) for cell in row[2:]] == rates(card, step)


def costs():
  """Rows of what runs cost: run, card, norm, rate, where it is from."""
  _, _, *rows = tables.read("docs/clusters.md", "## What it costs")
  for run, card, rate, source, _ in rows:
    card, _, norm = card.partition(", ")
    yield run.partition(",")[0], card, norm, int(rate), source


def test_costs_are_of_measured_and_of_published_rates():
  published = {(row[0], int(row[3])) for row in cards.published()}
  for run, card, norm, rate, source in costs():
    if source == "published":
      assert any(rate == known and card in name for name, known in published)
      continue
    assert source == "measured"
    network = "cifar10" if run == "CIFAR-10" else "ResNet-50"
    assert rate in {
      figures["images_per_second"]
      for figures in ALL
      if card in figures["card"] and figures["norm"] == norm
      if network in figures["step"]
    }
  assert len([*costs()]) >= 13


def test_reports_come_as_often_as_the_rates_say():
  (_, group), _ = rates(H100, "batch 128")
  assert f"[one card](scale.md#cards), {group} images/s each" in CLUSTERS
  supposed = dict(row[:2] for row in cards.assumed())["TPU v4"]
  assert f"at the supposed\n{supposed}, every" in CLUSTERS


def test_benchmarks_has_the_rate_of_images_on_the_device():
  (_, group), _ = rates(H200, "cifar10")
  said = f"trains on CIFAR-10 at {grouped(1000 * round(group / 1000))} images/s"
  assert said in (DOCS / "benchmarks.md").read_text()
