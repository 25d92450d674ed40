"""What is noted of a start: it is what git, the shell and JAX say of it."""

import datetime
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import byol_jax
from byol_jax.run import provenance

ROOT = Path(__file__).parents[2]


def git(folder, *arguments):
  identity = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=0"]
  command = ["git", "-C", str(folder), *identity, *arguments]
  return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_nothing_changes_between_two_starts_of_a_process():
  assert provenance.changes(provenance.start(), provenance.start()) == []


@pytest.mark.parametrize("versions", [None, "3", ["jax"]])
def test_what_is_not_noted_is_not_compared(versions):
  before = {"commit": None, "versions": versions, "kind": "cpu"}
  now = {"commit": "1dce046", "versions": {"jax": "0.12.0"}, "kind": "NVIDIA H200"}
  assert provenance.changes(before, now) == ["kind NVIDIA H200 (it was cpu)"]
  assert provenance.changes(now, before) == ["kind cpu (it was NVIDIA H200)"]


def test_a_start_is_what_this_process_is(monkeypatch):
  argv = ["python", "-m", "byol_jax.main", "--workdir=my runs/$x", "--config=it's"]
  monkeypatch.setattr(sys, "orig_argv", argv)
  monkeypatch.setenv("JAX_ENABLE_X64", "0")
  monkeypatch.setenv("SECRET", "no business of ours")
  before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
  found = provenance.start()
  shell = f"printf '%s\\n' {found['command']}"
  printed = subprocess.check_output(["sh", "-c", shell], text=True)
  assert printed.splitlines() == argv == shlex.split(found["command"])
  assert found["environment"]["JAX_ENABLE_X64"] == "0"
  assert "SECRET" not in found["environment"]
  assert datetime.datetime.fromisoformat(found["started"]) >= before
  assert found["byol_jax"] == byol_jax.__version__
  assert found["versions"]["numpy"] == np.__version__
  assert (found["devices"], found["hosts"]) == (jax.device_count(), 1)


@pytest.fixture
def clone(tmp_path, monkeypatch):
  (tmp_path / "byol_jax").mkdir()
  (tmp_path / "byol_jax" / "code.py").write_text("x = 1\n")
  git(tmp_path, "init", "--quiet")
  git(tmp_path, "add", ".")
  git(tmp_path, "commit", "--quiet", "--message=one")
  monkeypatch.setattr(provenance, "_ROOT", tmp_path.resolve())
  return tmp_path


def test_the_commit_is_gits_and_changed_code_is_marked(clone):
  head = git(clone, "rev-parse", "--short", "HEAD").strip()
  assert provenance.commit() == head
  (clone / "notes.txt").write_text("no code")
  assert provenance.commit() == head
  (clone / "byol_jax" / "code.py").write_text("x = 2\n")
  assert provenance.commit() == f"{head}+"


def test_code_is_what_runs(clone):
  before = provenance.code()
  (clone / "notes.txt").write_text("no code")
  (clone / "byol_jax" / "__pycache__").mkdir()
  assert provenance.code() == before
  (clone / "byol_jax" / "code.py").rename(clone / "byol_jax" / "more.py")
  renamed = provenance.code()
  (clone / "byol_jax" / "more.py").write_text("x = 2\n")
  assert len({before, renamed, provenance.code()}) == 3


def test_a_package_inside_another_repository_has_no_commit(clone, monkeypatch):
  monkeypatch.setattr(provenance, "_ROOT", clone.resolve() / "byol_jax")
  assert provenance.commit() is None
  monkeypatch.setattr(provenance, "_ROOT", clone.parent / "nowhere")
  assert provenance.commit() is None
