"""The tables of steps in docs/benchmarks.md are those of what the command printed."""

import json

import pytest

from benchmarks import step, workload
from tests.docs import tables

PAGE = "docs/benchmarks.md"
RECORD = json.loads((tables.ROOT / "docs" / "benchmarks" / "step.json").read_text())
BYOL, OTHERS = (
  [dict(zip(RECORD["columns"], row, strict=True)) for row in run["rows"]]
  for run in RECORD["runs"]
)
NETWORKS = {"resnet18": "ResNet-18", "resnet50": "ResNet-50"}
NORMS = {"bn": "batch", "gn_ws": "group, standardised", "none": "none"}
SYSTEMS = {"byol": "BYOL", "simclr": "SimCLR", "raft": "RAFT"}
DETAILS = ("convolutions, s", "floor, s", "peak, MiB", "compile, s", "cached, s")


def settings(row):
  """Network, batch, norm and system, as the page says them."""
  network, batch, norm, system, precision = row["row"].split("-")
  system = SYSTEMS[system] + (", bfloat16" if precision == "bfloat16" else "")
  return [NETWORKS[network], batch.removeprefix("b"), NORMS[norm], system]


def figures(row):
  twins = row["torch eager, s"], row["torch.compile, s"]
  faster = min(twins, key=lambda cell: float(cell.split()[0]))
  return [row["step, s"], faster, row["ratio"], row["MFU"]]


def rows_after(text):
  _, _, *rows = tables.read(PAGE, text)
  return rows


def test_the_record_is_of_the_commands_columns_and_rows():
  assert tuple(RECORD["columns"]) == step.HEADINGS
  names = [row["row"] for row in (*BYOL, *OTHERS)]
  assert len(set(names)) == len(names) == 12
  assert set(names) <= {row.name for row in step.rows()}


def test_byol_in_float32():
  assert {settings(row)[3] for row in BYOL} == {"BYOL"}
  expected = [settings(row)[:3] + figures(row) for row in BYOL]
  assert rows_after("BYOL in float32") == expected


def test_other_rows():
  expected = [settings(row) + figures(row) for row in OTHERS]
  assert rows_after("Other rows") == expected


def test_details():
  expected = [
    [*settings(row)[0:3:2], *(row[column] for column in DETAILS)] for row in BYOL
  ]
  assert rows_after("Every row is its own window") == expected


@pytest.mark.parametrize("run", RECORD["runs"])
def test_commits_and_rounds_are_said(run):
  rounds = run["command"].rpartition(" ")[2]
  said = f"`{rounds}`, seed {run['seed']}, commit {run['commit']}"
  assert said in (tables.ROOT / PAGE).read_text()


def test_the_answer_is_that_of_the_rows():
  def ratios(precision):
    rows = [row for row in (*BYOL, *OTHERS) if row["row"].endswith(precision)]
    return [float(row["ratio"]) for row in rows]

  half = ratios("-bfloat16")
  (answer,) = (row[1] for row in tables.read(PAGE, "#") if "(#the-step)" in row[0])
  assert answer.startswith(
    f"{min(ratios('-float32')):.2f} to {max(ratios('-float32')):.2f} of its time in"
    f" float32; {min(half):.1f} to {max(half):.1f} times as long in bfloat16"
  )


def test_the_page_says_how_far_the_flops_of_the_records_are_off():
  settings = {row.name: row.settings for row in step.rows()}
  shares = []
  for row in (*BYOL, *OTHERS):
    flops = workload.make_experiment(**settings[row["row"]]).flops()
    shares.append(100 * (1e9 * float(row["GFLOP"]) / flops - 1))
    assert abs(float(row["MFU"].rstrip("%")) * shares[-1] / 100) < 1
  said = f"{-min(shares):.1f} % less to {max(shares):.1f} % more"
  assert said in " ".join((tables.ROOT / PAGE).read_text().split())
