"""What is reported of steps, by a clock that is wound by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax.run import monitor
from byol_jax.run.monitor import Monitor, NotFinite


class Clock:
  now = 100.0

  def perf_counter(self):
    return self.now


@pytest.fixture
def clock(monkeypatch):
  clock = Clock()
  monkeypatch.setattr(monitor, "time", clock)
  return clock


def scalars(loss=1.0, **more):
  return {"loss": jnp.float32(loss), "update_norm": jnp.float32(0.5)} | more


def two_steps(clock, watched):
  """Two steps in four seconds, one of which is spent waiting for a batch."""

  def batches():
    for batch in "ab":
      clock.now += 0.5
      yield batch

  source = batches()
  for loss in (3.0, 2.0):
    assert watched.fetch(source) in "ab"
    clock.now += 1.5
    watched.record(scalars(loss))


def test_speed_waits_and_what_is_left(clock):
  watched = Monitor(8, 10, seconds_before=1000.0)
  clock.now += 50.0  # before the interval
  watched.restart()
  two_steps(clock, watched)
  assert watched.report(4) == {
    "loss": 2.0,
    "update_norm": 0.5,
    "images_per_second": 4.0,
    "input_wait": 0.25,
    "seconds": 1054.0,
    "eta_seconds": 12.0,
  }


def test_utilisation_is_the_share_of_the_steps_at_the_peak(clock):
  watched = Monitor(8, 10, 0.0, steps_per_second_at_peak=4.0)
  two_steps(clock, watched)
  assert watched.report(2)["mfu"] == 0.5 / 4


def test_an_interval_begins_with_nothing(clock):
  watched = Monitor(8, 10, 0.0)
  two_steps(clock, watched)
  watched.restart()
  clock.now += 1.0
  watched.record(scalars(7.0))
  found = watched.report(3)
  assert (found["loss"], found["images_per_second"]) == (7.0, 8.0)
  assert found["input_wait"] == 0


def test_what_is_not_known_of_the_last_step_is_left_out(clock):
  watched = Monitor(8, 10, 0.0)
  two_steps(clock, watched)
  watched.record(scalars(accuracy=jnp.float32(np.nan), other=jnp.float32(0)))
  found = watched.report(3)
  assert "accuracy" not in found
  assert found["other"] == 0


@pytest.mark.parametrize("name", ["loss", "update_norm"])
def test_the_first_step_that_is_not_finite_is_named(clock, name):
  watched = Monitor(8, 10, 0.0)
  two_steps(clock, watched)
  watched.record(scalars(**{name: jnp.float32(np.nan)}))
  watched.record(scalars(**{name: jnp.float32(np.inf)}))
  with pytest.raises(NotFinite, match=f"{name} is nan at step 8"):
    watched.report(9)


def test_the_host_waits_for_steps_far_behind_and_reads_none(clock, monkeypatch):
  waited = []
  monkeypatch.setattr(monitor.jax, "block_until_ready", waited.append)
  monkeypatch.setattr(monitor.jax, "device_get", None)  # would be a TypeError
  watched = Monitor(8, 10, 0.0, steps_per_second_at_peak=4.0)
  for step in range(5):
    watched.record({"step": step})
  assert [s["step"] for s in waited] == list(range(5 - monitor.STEPS_AHEAD))
