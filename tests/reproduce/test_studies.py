"""The studies beside the arms, on networks that learn nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax import parallel
from byol_jax.disk import write_json
from byol_jax.run.checkpoints import Checkpoints
from experiments import evaluation, pretrain
from reproduce import agreement, arms, independence, mirror, score
from tests import tiny

SYSTEMS = {
  "bn": "byol",
  "gn-ws": "byol_gn_ws",
  "none": "norm_ablation:none-none-none",
  "raft": "raft",
  "byol-prime": "byol_prime",
}


@pytest.fixture(autouse=True)
def tiny_arms(monkeypatch):
  monkeypatch.setattr(
    arms, "config", lambda name, seed, data_dir: tiny.config(SYSTEMS[name])
  )


def test_raft_stays_in_the_mirror_that_it_starts_in(tmp_path, monkeypatch):
  monkeypatch.setattr(mirror, "STEPS", 3)
  found = mirror.measure(tmp_path, None)
  assert found["steps"] == 3
  assert max(found["float64"]["distances"]["mirrored"]) < 1e-9
  assert max(found["float32"]["distances"]["mirrored"]) < 0.02
  for precision in ("float32", "float64"):
    assert min(found[precision]["distances"]["as it is"]) > 0.1
    losses = found[precision]["losses"]
    shifted = [loss + 4 for loss in losses["mirrored"]]
    assert shifted == pytest.approx(losses["byol-prime"], abs=1e-4)
    assert losses["as it is"][0] + 4 != pytest.approx(losses["byol-prime"][0], abs=0.01)


def test_only_batch_norm_sees_an_image_through_its_batch(tmp_path):
  for name in independence.ARMS:
    assert independence.measure(tmp_path, None) == {}
    experiment = pretrain.Pretrain(tiny.config(SYSTEMS[name]))
    folder = arms.Run(name, arms.FIRST_SEED).folder(tmp_path)
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(4, parallel.replicate(experiment.init()))
    checkpoints.close()
    write_json(folder / "summary.json", {})
  found = independence.measure(tmp_path, None)
  assert found.keys() == {"bn", "gn-ws", "none"}
  assert found["gn-ws"] == found["none"] == {"prediction": 0, "gradient": 0}
  assert found["bn"]["prediction"] > 0.01
  assert found["bn"]["gradient"] > 0.01


def test_every_network_of_a_run_is_measured(tmp_path, monkeypatch):
  monkeypatch.setattr(evaluation, "IMAGES", 16)
  monkeypatch.setattr(evaluation, "VIEWS", 2)
  monkeypatch.setattr(score, "ARMS", ("gn-ws",))
  monkeypatch.setattr(score, "STEPS", 4)
  monkeypatch.setattr(score, "EVERY", 2)
  monkeypatch.setattr(score, "SETTINGS", {})
  monkeypatch.setattr(score, "HELD_OUT", "train[40:64]")
  monkeypatch.setattr(score, "PROBE_TRAIN", "train[:40]")
  monkeypatch.setattr(score, "PROBE_TEST", "test[:40]")
  state = pretrain.Pretrain(tiny.config("byol_gn_ws")).init()
  folder = tmp_path / "score" / "gn-ws"
  checkpoints = Checkpoints(folder / "checkpoints")
  checkpoints.save(2, state._replace(step=np.int32(2)))
  dead = jax.tree.map(jnp.zeros_like, state.online)
  checkpoints.save(4, state._replace(step=np.int32(4), online=dead))
  checkpoints.close()
  write_json(folder / "summary.json", {})
  found = score.measure(tmp_path, None)
  untrained, same, collapsed = found["runs"]["gn-ws"]
  assert untrained.keys() == {"step", "linear", *agreement.CANDIDATES}
  assert (untrained["step"], same["step"], collapsed["step"]) == (0, 2, 4)
  assert untrained | {"step": 2} == pytest.approx(same)
  for name in ("spread", "effective_rank", "rankme", "lidar", "uniformity"):
    assert collapsed[name] == 0 != same[name]
  assert found["agreement"].keys() == agreement.CANDIDATES.keys()
  # What has been measured is kept.
  monkeypatch.delattr(score, "_measured")
  assert score.measure(tmp_path, None) == found
