"""The studies beside the arms, on networks that learn nothing."""

import pytest

from byol_jax import parallel
from byol_jax.run.checkpoints import Checkpoints
from byol_jax.run.folder import write_json
from experiments import pretrain
from reproduce import arms, independence, mirror
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
