"""The command line of the report."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from byol_jax.errors import UserError
from byol_jax.report.__main__ import main
from byol_jax.run import host
from tests.report import made_up

ROOT = Path(__file__).parents[2]


def test_it_prints_where_the_report_is(tmp_path):
  folder = made_up.write(tmp_path / "run")
  out = tmp_path / "out.html"
  command = [sys.executable, "-m", "byol_jax.report", folder, f"--out={out}"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout == f"{out}\n"
  assert out.read_text().startswith("<!DOCTYPE html>")


def test_a_mistake_is_one_line(tmp_path):
  command = [sys.executable, "-m", "byol_jax.report", tmp_path]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 1
  assert re.fullmatch(r"byol_jax: .*config\.json does not exist; .*\n", done.stderr)


def test_results_become_a_table_and_no_device_is_started(tmp_path):
  lines = made_up.write_results(tmp_path / "results.jsonl", [made_up.result()])
  code = (
    "import sys; from byol_jax.report.__main__ import main; main(sys.argv[1:])\n"
    "from jax._src import xla_bridge; assert not xla_bridge.backends_are_initialized()"
  )
  command = [sys.executable, "-c", code, lines]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout == f"{tmp_path}/results.md\n{tmp_path}/results.html\n"


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["runs/mine", "x.jsonl"], "x.jsonl is a file of results, and stands alone: give"),
    (["x.jsonl", "y.jsonl"], "x.jsonl is a file of results, and stands alone: give"),
    (["x.jsonl", "--images=x"], "--images is for the report of a run: leave it out"),
    (["x.jsonl"], r"cannot read .*x\.jsonl: No such file"),
    ([], r"required: RUN; see python -m byol_jax\.report --help"),
    (["x", "--output=y"], r"--output=y; see python -m byol_jax\.report --help"),
  ],
)
def test_what_does_not_go_together_is_one_line(monkeypatch, arguments, message):
  monkeypatch.setattr(host, "tune", lambda: None)
  with pytest.raises(UserError, match=message) as caught:
    main(arguments)
  assert "\n" not in str(caught.value)
