"""What commands set for their process."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from byol_jax import commands

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
  ("soft", "hard", "expected"),
  [
    (1024, 4096, (4096, 4096)),
    (1024, 2**20, (2**16, 2**20)),
    (1024, INFINITE, (2**16, INFINITE)),
    (2**17, 2**20, None),
    (INFINITE, INFINITE, None),
    (4096, 4096, None),
  ],
)
def test_many_files_may_be_open(monkeypatch, soft, hard, expected):
  found = []
  monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
  monkeypatch.setattr(resource, "setrlimit", lambda which, limits: found.append(limits))
  commands._set_up_files()
  assert found == ([expected] if expected else [])


def test_a_limit_that_cannot_be_raised_stays(monkeypatch):
  def refuse(which, limits):
    raise ValueError("current limit exceeds maximum limit")

  monkeypatch.setattr(resource, "getrlimit", lambda which: (256, INFINITE))
  monkeypatch.setattr(resource, "setrlimit", refuse)
  commands._set_up_files()


# What goes wrong.


@pytest.fixture
def outcome(monkeypatch, capsys):
  """The line with which a command ends that fails."""
  monkeypatch.setattr(
    commands.app, "run", lambda main, argv, flags_parser: main(flags_parser(argv))
  )  # flags of this process stay as they are
  monkeypatch.setattr(commands.os, "_exit", sys.exit)

  def outcome(error, **options):
    def main():
      raise error

    with pytest.raises(SystemExit) as ended:
      commands.run(main, ["command"], lambda argv: argv, **options)
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line

  return outcome


def test_what_is_not_foreseen_is_one_line_and_a_file(outcome, tmp_path):
  line = outcome(KeyError("x\n y"), folder=lambda: tmp_path)
  (path,) = tmp_path.iterdir()
  assert line == (
    f"byol_jax: KeyError: 'x\\n y' (not foreseen; the stack trace is in {path})"
  )
  assert "in main" in path.read_text()
  # A second one within a second, and a folder that is gone: a place is found.
  monkey = tmp_path / "gone"
  line = outcome(PermissionError(13, "No", "f"), folder=lambda: monkey)
  path = Path(line.removesuffix(")").rpartition(" in ")[2])
  assert "PermissionError" in path.read_text()
  path.unlink()


def test_a_device_that_is_not_there(outcome, tmp_path):
  error = RuntimeError("Unable to initialize backend 'cuda': no plugin (set X)")
  line = outcome(error, folder=lambda: tmp_path)
  assert line.startswith("byol_jax: JAX finds no such device: Unable to ")
  assert line.endswith("install JAX for it, or unset JAX_PLATFORMS")
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(outcome, number):
  line = outcome(OSError(number, "It is full"))
  assert line == "byol_jax: It is full; free some space, and the same command goes on"


SAYS = "from byol_jax import commands; commands.say('x' * 100, 'runs/mine')"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="asks Linux")
def test_a_result_that_nobody_reads_is_no_failure():
  with open("/dev/full", "w") as full:
    done = subprocess.run(
      [sys.executable, "-c", SAYS],
      stdout=full,
      stderr=subprocess.PIPE,
      text=True,
      check=False,
    )
  assert done.returncode == 0
  assert "No space left on device): see runs/mine" in done.stderr
  assert "Traceback" not in done.stderr


def test_echoes_of_a_failed_write_are_dropped_and_nothing_else(monkeypatch):
  shown = []
  monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: shown.append(error))
  commands._set_up_hook()
  errors = [RuntimeError("Event loop is closed"), RuntimeError("The loop"), OSError()]
  for error in errors:
    sys.excepthook(type(error), error, None)
  assert shown == errors[1:]


# What is said.


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_leaves_results_and_warnings(quiet):
  code = f"""
import sys
from absl import app, flags, logging
from byol_jax import commands, progress
commands.define_flags()
def main():
  commands.set_up_logging(flags.FLAGS.quiet)
  logging.info("on the way")
  logging.warning("beware")
  sys.stderr.isatty = lambda: True
  print(progress.can_draw())
commands.run(main, ["command", "--quiet={quiet}"])
"""
  environment = os.environ | {"TERM": "xterm"}
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, env=environment
  )
  said = [line.split(" ", 1)[1] for line in done.stderr.splitlines()]
  assert said == (["beware"] if quiet else ["on the way", "beware"])
  assert done.stdout == f"{not quiet}\n"
