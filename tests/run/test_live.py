"""What a run says of itself while it trains."""

import contextlib
import os
import signal

import jax
import pytest

from byol_jax import progress
from byol_jax.errors import Stopped
from byol_jax.run import live
from tests.run import test_loop
from tests.test_progress import Terminal

REPORT = {
  "loss": 1.25,
  "spread": 0.875,
  "images_per_second": 811.6,
  "input_wait": 0.015,
  "eta_seconds": 3723.0,
}


@pytest.mark.parametrize(
  ("spread", "rank", "word"),
  [
    (0.9, 30.0, "healthy"),
    (0.9, None, ""),  # nothing was measured yet
    (0.9, 1.5, "collapsing"),
    (0.05, 30.0, "collapsing"),
    (0.05, None, "collapsing"),
    (float("nan"), 30.0, "collapsing"),
  ],
)
def test_the_verdict_is_that_of_evaluations(spread, rank, word):
  assert live.verdict(spread, rank) == word


def test_on_a_terminal_it_is_one_line(monkeypatch, caplog):
  terminal = Terminal(monkeypatch, 120)
  with live.shown(10, 40) as line:
    line.compiling()
    assert terminal.screen()[-1].endswith("10/40 steps, left ?, compiling")
    line.stepped()
    line.compiled(3.0)
    assert "compiling" not in terminal.screen()[-1]
    line.evaluated({"valid_effective_rank": 30.0})
    line.evaluated({})  # of an evaluation without one the last stands
    line.reported(11, REPORT)
    shown = terminal.screen()[-1]
  assert shown.startswith("training  28%|")
  assert shown.endswith("healthy  loss 1.2500  spread 0.88  812 images/s")
  assert terminal.screen() == [""]
  assert "step 11/40" not in caplog.text


def test_what_matters_most_is_left_of_it_where_there_is_little_room(monkeypatch):
  terminal = Terminal(monkeypatch, 60)
  with live.shown(0, 40) as line:
    line.evaluated({"valid_effective_rank": 1.0})
    line.reported(0, REPORT)
    (shown,) = terminal.screen()
  assert "collapsing" in shown
  assert "images/s" not in shown


def test_elsewhere_it_is_lines_of_the_log(caplog):
  with caplog.at_level("INFO"), live.shown(10, 40) as line:
    line.compiling()
    line.compiled(3.0)
    line.reported(11, REPORT)
    line.evaluated({"valid_effective_rank": 30.0})
    line.reported(12, REPORT | {"mfu": 0.5})
  assert caplog.messages == [
    "compiling the first step",
    "first step after 3 s, compiled",
    "step 11/40  loss 1.2500  spread 0.88  812 images/s  input wait 1.5%  left 1:02:03",
    "step 12/40  healthy  loss 1.2500  spread 0.88  812 images/s  MFU 50.0%"
    "  input wait 1.5%  left 1:02:03",
  ]


def test_other_experiments_have_no_spread(monkeypatch):
  terminal = Terminal(monkeypatch)
  with live.shown(0, 4) as line:
    line.reported(1, {"loss": 2.0, "images_per_second": 5.0})
    assert terminal.screen()[-1].endswith(", loss 2.0000  5 images/s")
  assert not progress._drawn


@pytest.mark.parametrize("stop", [None, signal.SIGINT, signal.SIGTERM])
def test_a_run_leaves_a_clean_terminal_however_it_ends(tmp_path, monkeypatch, stop):
  terminal = Terminal(monkeypatch)

  def on_step(step):
    if step == 5 and stop:
      os.kill(os.getpid(), stop)

  ends = pytest.raises(Stopped) if stop else contextlib.nullcontext()
  with ends:
    test_loop.start(tmp_path, test_loop.Descent(8, on_step), test_loop.config(8))
  assert terminal.screen() == [""]
  assert "| 3/8 steps, left" in terminal.text


def test_a_bar_waits_for_no_device(tmp_path, monkeypatch):
  def fetched(monkeypatch):
    """How often a run with or without a bar fetches or waits."""
    calls = []
    for name in ("device_get", "block_until_ready"):
      real = getattr(jax, name)
      counted = lambda x, real=real, name=name: (calls.append(name), real(x))[1]  # noqa: E731
      monkeypatch.setattr(jax, name, counted)
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    test_loop.start(folder, test_loop.Descent(8), test_loop.config(8))
    return sorted(calls)

  with monkeypatch.context() as patched:
    without = fetched(patched)
  with monkeypatch.context() as patched:
    terminal = Terminal(patched)
    with_bar = fetched(patched)
    terminal.screen()
  assert with_bar == without
  assert "training" in terminal.text
