"""A process that follows a run: it may fail, hang and print, and the run does not."""

import os
import signal
import sys
import time

import pytest

from byol_jax.run.writers import process

MESSAGE = r"gets no more points \({}; see .*log\): the run goes on"


@pytest.fixture
def started(tmp_path, monkeypatch):
  """Starts a follower whose process runs some code in place of `follow`."""
  monkeypatch.setattr(process.atexit, "register", lambda function: None)

  def start(code):
    # At once: another that is just starting would read half of it.
    written = tmp_path / "written"
    written.write_text(f"import os, sys, time\n{code}\n")
    written.replace(tmp_path / "pretended.py")
    monkeypatch.setattr(process, "_COMMAND", "pretended")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    follower = process.Follower("wandb", tmp_path)
    processes.append(follower._process)
    return follower

  processes = []
  yield start
  process._ending.clear()
  for each in processes:
    each.kill()
    each.wait()
    each.stdin.close()


def warnings(caplog):
  return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


def test_it_reads_nothing_and_ends_when_its_run_does(started, tmp_path, caplog):
  follower = started(
    "print(sys.argv[1:], os.getsid(0) == os.getpid(), repr(sys.stdin.read()))"
  )
  follower.add(1, {"loss": 0.5})
  assert follower._process.poll() is None
  follower.close()
  process.wait()
  said = (tmp_path / "writers" / "wandb.log").read_text()
  assert said == f"['wandb', '{tmp_path}'] True ''\n"
  assert warnings(caplog) == []


def test_one_that_fails_is_said_once_with_its_last_words(started, caplog):
  follower = started("print('before'); sys.exit('no API key configured')")
  follower._process.wait()
  follower.add(1, {"loss": 0.5})
  follower.add(2, {"loss": 0.4})
  follower.close()
  process.wait()
  (said,) = warnings(caplog)
  assert "wandb gets no more points (no API key configured; see " in said
  assert "python -m pretended wandb" in said


def test_one_that_fails_at_the_end_is_said_too(started, caplog):
  follower = started("sys.stdin.read(); sys.exit(3)")
  follower.close()
  process.wait()
  (said,) = warnings(caplog)
  assert "(it ended; see " in said


def test_those_that_hang_hold_nobody_up(started, caplog, monkeypatch):
  monkeypatch.setattr(process, "_PATIENCE", 1.0)
  followers = [started("time.sleep(60)") for _ in range(3)]
  began = time.monotonic()
  for follower in followers:
    follower.add(1, {"loss": 0.5})
    follower.close()
  assert time.monotonic() - began < 1
  process.wait()
  assert 1 <= time.monotonic() - began < 2.5  # all of them together
  assert len(warnings(caplog)) == 3
  assert "not all was sent within" in caplog.text


def test_a_process_that_cannot_be_started_is_said(tmp_path, caplog, monkeypatch):
  monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
  follower = process.Follower("wandb", tmp_path)
  follower.add(1, {"loss": 0.5})
  follower.close()
  (said,) = warnings(caplog)
  assert "No such file" in said


def test_its_log_is_not_written_through_a_link(started, tmp_path):
  theirs = tmp_path / "theirs"
  theirs.write_text("precious")
  log = tmp_path / "writers" / "wandb.log"
  log.parent.mkdir()
  log.symlink_to(theirs)
  started("print('ours')").close()
  process.wait()
  assert (log.read_text(), theirs.read_text()) == ("ours\n", "precious")


def test_ctrl_c_is_not_for_it(started):
  follower = started("sys.stdin.read()")
  assert os.getpgid(follower._process.pid) != os.getpgid(0)
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
