"""What a run says while it trains: one live line on a terminal, else lines of the log.

It has nothing but what the loop has fetched for its reports.
"""

import contextlib
import datetime
import math
from collections.abc import Iterator, Mapping

from absl import logging

from byol_jax import progress
from byol_jax.diagnostics import is_collapsed

HEALTHY, COLLAPSING = "healthy", "collapsing"


class Live:
  """What `shown` gives."""

  def __init__(self, bar: progress.Bar, steps: int):
    self._bar = bar
    self._steps = steps
    self._rank: float | None = None

  def compiling(self) -> None:
    """Says why the first step takes long."""
    logging.info("compiling the first step")
    self._bar.add(0, "compiling")

  def compiled(self, seconds: float) -> None:
    """Says that it is done, `seconds` after this start."""
    logging.info("first step after %.0f s, compiled", seconds)
    self._bar.add(0, "")
    self._bar.restart()

  def stepped(self) -> None:
    """Counts a step."""
    self._bar.add()

  def evaluated(self, found: Mapping[str, float]) -> None:
    """Takes what an evaluation has measured, of which verdicts need the rank."""
    self._rank = found.get("valid_effective_rank", self._rank)

  def reported(self, step: int, report: Mapping[str, float]) -> None:
    """Shows a report of `Monitor`."""
    self._bar.add(0, self._note(report))
    if not self._bar.drawn:
      logging.info("%s", self._line(step, report))

  def _note(self, report: Mapping[str, float]) -> str:
    """Behind the bar; what matters most comes first, lest a terminal have no room."""
    parts = [
      f"loss {report['loss']:.4f}",
      f"{report['images_per_second']:.0f} images/s",
    ]
    if "spread" in report:
      parts.insert(1, f"spread {report['spread']:.2f}")
      parts.insert(0, verdict(report["spread"], self._rank))
    return "  ".join(filter(None, parts))

  def _line(self, step: int, report: Mapping[str, float]) -> str:
    """For the log."""
    left = datetime.timedelta(seconds=round(report["eta_seconds"]))
    parts = [f"step {step}/{self._steps}", self._note(report)]
    if "mfu" in report:
      parts.append(f"MFU {report['mfu']:.1%}")
    parts += [f"input wait {report['input_wait']:.1%}", f"left {left}"]
    return "  ".join(parts)


@contextlib.contextmanager
def shown(first_step: int, steps: int) -> Iterator[Live]:
  """Shows the training of a run from a step on, until the end of the `with`."""
  bar = progress.shown("training", steps, "steps", done=first_step, lines=False)
  with bar as drawn:
    yield Live(drawn, steps)


def verdict(spread: float, rank: float | None) -> str:
  """Whether a representation collapses, in a word, by the rule of evaluations.

  Args:
    spread: of a batch's projections.
    rank: effective rank of the last evaluation's features; None if there was none yet:
      then a sound spread alone says nothing, and the word is "".
  """
  if is_collapsed(spread, math.inf if rank is None else rank):
    return COLLAPSING
  return "" if rank is None else HEALTHY
