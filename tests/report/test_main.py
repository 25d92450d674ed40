"""The command line of the report."""

import subprocess
import sys
from pathlib import Path

import pytest

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


def test_a_mistake_is_one_line(tmp_path, monkeypatch):
  monkeypatch.setattr(host, "tune", lambda: None)  # of the tests' own process
  with pytest.raises(SystemExit, match=r"^byol_jax: .*config\.json does not exist"):
    main([str(tmp_path)])
