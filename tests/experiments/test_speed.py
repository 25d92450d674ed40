"""What a run would cost, measured on a tiny one."""

import jax
import jax.numpy as jnp
import pytest

from byol_jax.errors import UserError
from byol_jax.run.folder import RunDir, differences, resolved
from experiments import pretrain, speed
from tests import tiny


@pytest.fixture
def config():
  config = tiny.config(steps=speed.WARM_UP + 1)
  config.experiment = "speed"
  return config


def test_what_is_measured_and_a_second_start(tmp_path, config, monkeypatch):
  seen = []
  timed = speed._timed

  def counting(step, state, batches):
    def counted(state, batch):
      seen.append((int(state.step), int(batch["label"].ravel()[0])))
      return step(state, batch)

    return timed(counted, state, batches)

  monkeypatch.setattr(speed, "_timed", counting)
  # Evaluations are tested elsewhere, and take long to compile.
  monkeypatch.setattr(pretrain.Pretrain, "evaluate", lambda self, state: {})
  found = speed.run(config, RunDir(tmp_path))
  steps = config.train.steps
  assert [step for step, _ in seen] == list(range(2 * steps))
  # First one batch alone, then those of training.
  labels = [label for _, label in seen]
  assert len(set(labels[:steps])) == 1 < len(set(labels[steps:]))
  assert found["images_per_second"] > 0
  assert found["images_per_second_one_batch"] > 0
  assert found["finite"] is True
  assert found["peak_bytes"] is None  # CPUs do not say
  assert found["packages"].keys() >= {"jax", "jaxlib"}
  state = jax.eval_shape(pretrain.Pretrain(config).init)
  sizes = [leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)]
  assert found["state_bytes"] == sum(sizes)
  for name in ("compile", "evaluation", "save"):
    assert found[f"{name}_seconds"] > 0
  assert not differences(RunDir(tmp_path).read_config(), resolved(config))
  # What was measured is kept, and no checkpoint is.
  assert speed.run(config, RunDir(tmp_path)) == RunDir(tmp_path).read_summary() == found
  assert len(seen) == 2 * steps
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {"config.json", "summary.json", "images.txt.gz", "figures"}


def test_speed_is_of_the_steps_after_the_warm_up(monkeypatch):
  now = iter((10.0, 12.0))  # after the warm-up, and at the end
  monkeypatch.setattr(speed.time, "perf_counter", lambda: next(now))

  def step(state, batch):
    loss = jnp.float32(jnp.nan if state == 2 else batch)
    return state + 1, {"loss": loss, "update_norm": jnp.float32(1), "spread": 0}

  state, timing = speed._timed(step, 0, range(speed.WARM_UP + 4))
  assert state == speed.WARM_UP + 4
  assert timing.steps_per_second == 2
  assert timing.loss == speed.WARM_UP + 3
  assert not timing.finite


def test_too_few_steps_are_refused_before_anything_is_written(tmp_path, config):
  config.train.steps = speed.WARM_UP
  with pytest.raises(UserError, match=r"train\.steps is 3: give 4 or more"):
    speed.run(config, RunDir(tmp_path / "run"))
  assert not (tmp_path / "run").exists()
