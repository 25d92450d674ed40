"""What a run is doing: its scalars, its speed, and how long it will take."""

import math
import time
from collections.abc import Iterator

import chex
import jax

# How many steps the host may run ahead of the devices: enough to keep them
# busy, few enough for the batches of the steps in flight to fit in memory.
STEPS_AHEAD = 2


class NotFinite(Exception):
  """A loss or an update is infinite or no number."""


class Monitor:
  """Keeps the scalars of the steps since the last report, and the clocks.

  Scalars stay on the devices until they are reported, so that no step waits for
  the host.
  """

  def __init__(
    self,
    batch_size: int,
    steps: int,
    seconds_before: float,
    steps_per_second_at_peak: float | None = None,
  ):
    """Starts the clocks.

    Args:
      batch_size: images in a step.
      steps: of the whole run.
      seconds_before: that the run took before this start.
      steps_per_second_at_peak: of the devices, where it is known.
    """
    self._peak = steps_per_second_at_peak
    self._batch_size = batch_size
    self._steps = steps
    self._began = time.perf_counter() - seconds_before
    self.restart()

  @property
  def seconds(self) -> float:
    """Seconds since the run's first start, without the time it lay idle."""
    return time.perf_counter() - self._began

  def restart(self) -> None:
    """Begins an interval; what was done since the last report is left out."""
    self._history: list[dict] = []
    self._since = time.perf_counter()
    self._waited = 0.0

  def fetch(self, batches: Iterator[chex.ArrayTree]) -> chex.ArrayTree:
    """The next batch, the wait for it clocked."""
    start = time.perf_counter()
    batch = next(batches)
    self._waited += time.perf_counter() - start
    return batch

  def record(self, scalars: dict) -> None:
    """Takes a step's scalars, and waits if the host is too far ahead."""
    self._history.append(scalars)
    if len(self._history) > STEPS_AHEAD:
      jax.block_until_ready(self._history[-1 - STEPS_AHEAD])

  def report(self, step: int) -> dict[str, float]:
    """Scalars of the last step, speed over the interval, and what is left.

    A scalar that is NaN, as one of labels where a batch has none, is left out.

    Raises:
      NotFinite: a step of the interval had a loss or update that is not.
    """
    history = jax.device_get(self._history)
    for number, scalars in enumerate(history, step - len(history) + 1):
      for name in ("loss", "update_norm"):
        if not math.isfinite(scalars[name]):
          raise NotFinite(f"{name} is {scalars[name]} at step {number}")
    elapsed = time.perf_counter() - self._since
    speed = len(history) * self._batch_size / elapsed
    mfu = {"mfu": len(history) / elapsed / self._peak} if self._peak else {}
    return {
      **{k: float(v) for k, v in history[-1].items() if not math.isnan(v)},
      "images_per_second": speed,
      **mfu,
      "input_wait": self._waited / elapsed,
      "seconds": self.seconds,
      "eta_seconds": (self._steps - step) * self._batch_size / speed,
    }
