"""What a run says of itself while it trains."""

import pytest

from byol_jax import progress
from byol_jax.run import live
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
    line.reported(12, REPORT | {"mfu": 0.5})
  assert caplog.messages == [
    "compiling the first step",
    "first step after 3 s, compiled",
    "step 11/40  loss 1.2500  812 images/s  input wait 1.5%  left 1:02:03",
    "step 12/40  loss 1.2500  812 images/s  MFU 50.0%  input wait 1.5%  left 1:02:03",
  ]


def test_other_experiments_have_no_spread(monkeypatch):
  terminal = Terminal(monkeypatch)
  with live.shown(0, 4) as line:
    line.reported(1, {"loss": 2.0, "images_per_second": 5.0})
    assert terminal.screen()[-1].endswith(", loss 2.0000  5 images/s")
  assert not progress._drawn
