"""What can be made again is made again where it is damaged."""

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

from byol_jax import cache

ROOT = Path(__file__).parents[1]
PROGRAM = """
import sys
from byol_jax import commands

def main():
  commands.set_up()
  import jax
  print(jax.jit(lambda x: 2 * x)(1))

commands.run(main, sys.argv)
"""


def compile_something(folder):
  """Runs the program with its cache there; gives back its log."""
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM],
    cwd=ROOT,
    env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder)},
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout == "2\n"
  return done.stderr


def test_a_truncated_program_is_compiled_once_more(tmp_path):
  assert not compile_something(tmp_path)
  programs = {path: path.read_bytes() for path in tmp_path.rglob("*-cache")}
  assert programs
  for path, program in programs.items():
    path.write_bytes(program[:-20])
  log = compile_something(tmp_path)
  assert log.count("a compiled program was damaged, and is made again") == len(programs)
  assert "Warning" not in log
  assert not compile_something(tmp_path)


def test_what_else_is_warned_of_deletes_nothing(tmp_path):
  (tmp_path / "jit_step-1-cache").touch()
  assert not cache.heal("jit_step is slow", tmp_path)
  assert list(tmp_path.iterdir())
  other = "Error reading persistent compilation cache entry for 'jit_*': E: x"
  assert cache.heal(other, tmp_path)
  assert list(tmp_path.iterdir())


def test_a_relative_folder_is_none(monkeypatch):
  """By the XDG Base Directory Specification; or each folder would get a cache."""
  monkeypatch.setenv("XDG_CACHE_HOME", "cache")
  monkeypatch.setenv("HOME", "/home/someone")
  assert cache.folder() == Path("/home/someone/.cache/byol_jax")
  monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
  assert cache.folder() == Path("/somewhere/byol_jax")


def test_a_user_without_a_home_has_it_among_temporary_files(monkeypatch, tmp_path):
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  monkeypatch.delenv("HOME", raising=False)
  monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # not in /etc/passwd
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
  assert cache.folder() == tmp_path / f"cache-{os.getuid()}" / "byol_jax"
