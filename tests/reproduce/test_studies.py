"""The studies beside the arms, on networks that learn nothing."""

import pytest

from byol_jax import parallel, probes
from byol_jax.disk import write_json
from byol_jax.run.checkpoints import Checkpoints
from experiments import pretrain
from reproduce import arms, independence, mirror, pixels
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
    arms.Run, "config", lambda run, data_dir: tiny.config(SYSTEMS[run.name])
  )


@pytest.mark.slow
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
  for name in arms.STUDIES["independence"]:
    assert independence.measure(tmp_path, None) == {}
    experiment = pretrain.Pretrain(tiny.config(SYSTEMS[name]))
    folder = arms.first(name).folder(tmp_path)
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(0, parallel.replicate(experiment.init()))
    checkpoints.close()
    write_json(folder / "summary.json", {})
  found = independence.measure(tmp_path, None)
  assert found.keys() == {"bn", "gn-ws", "none"}
  assert found["gn-ws"] == found["none"] == {"prediction": 0, "gradient": 0}
  assert found["bn"]["prediction"] > 0.01
  assert found["bn"]["gradient"] > 0.01


def test_pixels_are_probed_on_the_splits_of_the_arms():
  found = pixels.measure(None, None)
  config = tiny.config("byol")
  inputs = pretrain.Pretrain(config).inputs
  train, test = map(inputs.pixels, (config.probe.train, config.probe.test))
  expected = probes.knn_accuracy(
    train["embedding"], train["label"], test["embedding"], test["label"]
  )
  assert found.keys() == {"knn", "linear"}
  assert found["knn"] == expected
