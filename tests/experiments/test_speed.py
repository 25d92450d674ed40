"""What a run would cost, of an experiment that one can follow by hand.

`tests/reproduce/test_accelerator.py` measures a tiny network.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from byol_jax import parallel
from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir
from experiments import speed


class State(NamedTuple):
  step: jax.Array
  sums: jax.Array


class Sums:
  """Adds up the numbers of its batches: 1, 2, 3, ..."""

  def __init__(self, steps):
    self.config = ConfigDict({"train": {"batch_size": 4, "steps": steps}})
    self.evaluated = []

  def init(self):
    return State(jnp.zeros((), jnp.int32), jnp.zeros(1000))

  def batches(self, first_step):
    for number in range(first_step, self.config.train.steps):
      yield parallel.shard({"x": np.full(4, number + 1, np.float32)})

  def step(self, state, batch):
    loss = jax.lax.pmean(batch["x"].mean(), parallel.AXIS)
    scalars = {"loss": loss, "update_norm": loss, "other": loss}
    return State(state.step + 1, state.sums + loss), scalars

  def evaluate(self, state):
    self.evaluated.append((int(state.step), float(state.sums[0])))
    return {}


def test_steps_are_made_of_one_batch_and_then_of_all(tmp_path, monkeypatch):
  experiment = Sums(speed.WARM_UP + 1)
  monkeypatch.setattr(speed.mfu, "steps_per_second_at_peak", lambda _: 1000.0)
  found = speed.measure(experiment, tmp_path)
  # Four of the first batch, and 1 + 2 + 3 + 4. The first evaluation compiles.
  assert experiment.evaluated == [(8, 4 + 10)] * 2
  assert found["loss"] == 4
  assert found["finite"] is True
  for name in ("images_per_second", "images_per_second_one_batch"):
    assert found[name] > 0
  # 4 images a step.
  for mfu, speed_of in (("mfu", ""), ("mfu_one_batch", "_one_batch")):
    assert found[mfu] == pytest.approx(found[f"images_per_second{speed_of}"] / 4 / 1000)
  for name in ("compile", "evaluation", "save"):
    assert found[f"{name}_seconds"] > 0
  assert found["state_bytes"] == 4 + 4 * 1000
  assert found["peak_bytes"] is None  # CPUs do not say
  assert found["platform"]
  assert found["packages"].keys() >= {"jax", "jaxlib"}
  assert not list(tmp_path.iterdir())  # the checkpoint is gone


def test_speed_is_of_the_steps_after_the_warm_up(monkeypatch):
  now = iter((10.0, 12.0))  # after the warm-up, and at the end
  monkeypatch.setattr(speed.time, "perf_counter", lambda: next(now))

  def step(state, batch):
    loss = jnp.float32(jnp.nan if state == 2 else batch)
    return state + 1, {"loss": loss, "update_norm": jnp.float32(1)}

  state, timing = speed._timed(step, 0, range(speed.WARM_UP + 4), speed.WARM_UP + 4)
  assert state == speed.WARM_UP + 4
  assert timing.steps_per_second == 2
  assert timing.loss == speed.WARM_UP + 3
  assert not timing.finite


@pytest.mark.parametrize("steps", [None, speed.WARM_UP])
def test_steps_are_to_be_given(tmp_path, monkeypatch, steps):
  # What it leaves open, such as the number of steps, is filled in by the experiment.
  monkeypatch.setattr(speed.pretrain, "Pretrain", lambda *_: Sums(10_000))
  config = ConfigDict({"train": {"steps": steps}})
  with pytest.raises(UserError, match=rf"train\.steps is {steps}: give 4 or more"):
    speed.run(config, RunDir(tmp_path / "run"))
  assert not (tmp_path / "run").exists()
