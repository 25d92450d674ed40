"""What is measured of an encoder, with labels and without."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import byol_jax
from byol_jax import description, diagnostics, parallel
from byol_jax.data import batches, datasets, sources
from byol_jax.run import loop
from byol_jax.run.folder import RunDir
from experiments import evaluation, pretrain
from tests import tiny


@pytest.fixture(autouse=True)
def few_views(monkeypatch):
  monkeypatch.setattr(evaluation, "IMAGES", 20)
  monkeypatch.setattr(evaluation, "VIEWS", 4)


def unlabelled(config, monkeypatch):
  """The same on the same images, without their labels."""
  photos = datasets.open_dataset("photos", None)
  arrays = {}
  for split in ("train", "test"):
    source = photos.split(f"{split}[:64]")
    images = np.stack([source[i][0] for i in range(64)])
    arrays[split] = images, np.full(64, sources.NO_LABEL)
  opened = sources.ArrayDataset("unlabelled", arrays)
  monkeypatch.setitem(datasets.DATASETS, "unlabelled", lambda data_dir: opened)
  config.data.name = "unlabelled"
  return config


def arrays(rank, spread=1.0, n=40, seed=0):
  """Features of images and of views of them, in so many of eight directions."""
  rng = np.random.default_rng(seed)
  images = np.float32(rng.normal(size=(n, 8)) * (np.arange(8) < rank))
  views = images[:, None] + 0.01 * np.float32(rng.normal(size=(n, 4, 8)))
  projection = spread * images + (1 - spread)
  of_images = {"embedding": images, "projection": projection}
  names = ("embedding", "projection", "prediction", "target")
  return of_images | {"label": np.arange(n) % 4}, dict.fromkeys(names, views)


def extract(rank, **kwargs):
  images, views = arrays(rank, **kwargs)
  return evaluation.Extract(lambda split: images, lambda split: views)


def test_health_is_what_the_measures_say():
  images, views = arrays(3)
  views["prediction"] = views["target"][..., :2]
  found = evaluation.health(images, views)
  assert found["rankme"] == pytest.approx(diagnostics.rankme(images["embedding"]))
  assert found["lidar"] == diagnostics.lidar(views["embedding"])
  assert 2 < found["lidar"] < 3.1
  z = views["projection"] / np.linalg.norm(views["projection"], axis=-1, keepdims=True)
  pairs = [(z[:, i] - z[:, i + 2]) ** 2 for i in range(2)]
  assert found["alignment"] == pytest.approx(np.mean(np.sum(pairs, axis=-1)), rel=1e-3)
  assert found["uniformity"] == pytest.approx(diagnostics.uniformity(z[:, 0]))
  assert found["prediction_rank"] < 2.01 < found["target_rank"]
  assert not found["collapsed"]


def test_a_collapse_is_one_without_labels_too():
  assert evaluation.health(*arrays(3, spread=0.0))["collapsed"]
  assert evaluation.health(*arrays(1))["collapsed"]


@pytest.mark.parametrize("labelled", [True, False])
def test_the_score_is_knn_or_a_measure_that_needs_no_labels(labelled):
  watcher = evaluation.Evaluation(tiny.config(), labelled=labelled, baselines=BASELINES)
  found = watcher.watch(4, extract(5))
  assert ("valid_knn" in found) == labelled
  health = evaluation.health(*arrays(5))
  expected = -health["alignment"] - health["uniformity"]
  assert 1 < expected < 4
  assert found["score"] == (found["valid_knn"] if labelled else expected)
  assert health == {name: found[f"valid_{name}"] for name in health}


def test_a_split_without_labels_is_judged_as_a_set_without(caplog):
  watcher = evaluation.Evaluation(tiny.config(), labelled=True, baselines=BASELINES)
  images, views = arrays(5)
  none = images | {"label": np.full(len(images["label"]), -1)}
  splits = dict.fromkeys(tiny.config().probe.values(), images)
  without = splits | {tiny.config().probe.valid_test: none}
  network = evaluation.Extract(without.__getitem__, lambda split: views)
  found = watcher.watch(4, network)
  assert "valid_knn" not in found
  assert found["score"] == evaluation.score_without_labels(
    evaluation.health(*arrays(5))
  )
  without = splits | {tiny.config().probe.train: none}
  summary = watcher.summarise(evaluation.Extract(without.__getitem__, lambda _: views))
  assert "knn" not in summary
  assert "has no labels: no accuracies" in caplog.text


def test_a_collapse_has_no_score_without_labels():
  watcher = evaluation.Evaluation(tiny.config(), labelled=False, baselines=BASELINES)
  found = watcher.watch(4, extract(5, spread=0.0))
  assert found["valid_collapsed"]
  assert found["valid_uniformity"] < -1
  assert found["score"] == 0


BASELINES = {
  "untrained": lambda: extract(2),
  "pixels": lambda: evaluation.Extract(lambda split: arrays(8)[0]),
}


@pytest.mark.parametrize("labelled", [True, False])
def test_the_summary_has_the_untrained_networks_health(labelled):
  judge = evaluation.Evaluation(tiny.config(), labelled=labelled, baselines=BASELINES)
  summary = judge.summarise(extract(5))
  assert summary["health"] == {
    "encoder": evaluation.health(*arrays(5)),
    "untrained": evaluation.health(*arrays(2)),
  }
  for name in ("spread", "effective_rank", "collapsed"):
    assert summary[name] == summary["health"]["encoder"][name]
  assert ("knn" in summary) == ("linear" in summary) == labelled
  if labelled:
    assert summary["linear"].keys() == {"encoder", *BASELINES}
    assert summary["linear_raw"].keys() == {"encoder", "untrained"}


def test_accuracies_are_of_the_test_images_with_labels():
  partly = arrays(5)[0]
  partly["label"] = np.where(np.arange(40) < 30, partly["label"], -1)
  network = evaluation.Extract(lambda split: partly, lambda split: arrays(5)[1])
  for labelled, images in ((True, 30), (False, 40)):
    judge = evaluation.Evaluation(tiny.config(), labelled=labelled, baselines=BASELINES)
    assert judge.summarise(network)["test_images"] == images


def test_images_of_classes_that_no_probe_has_seen_are_said(caplog):
  images, views = arrays(5)
  few = images | {"label": np.minimum(images["label"], 1)}
  splits = dict.fromkeys(tiny.config().probe.values(), images)
  splits |= {tiny.config().probe.train: few}
  judge = evaluation.Evaluation(tiny.config(), labelled=True, baselines=BASELINES)
  judge.summarise(evaluation.Extract(splits.__getitem__, lambda _: views))
  says = "20 of 40 images are of 2 classes that no image to train on"
  assert caplog.text.count(says) == 1  # not of the baselines, too


def test_views_are_those_of_training_of_held_out_images():
  """Crops alone, which the host makes, by the networks one after the other."""
  config = tiny.config()
  config.augmentations = "crop_flip"
  experiment = pretrain.Pretrain(config)
  state = parallel.replicate(experiment.init())
  network = experiment.extract(state)
  found = network.views("train[40:64]")
  assert {v.shape[:2] for v in found.values()} == {(20, 4)}
  source = experiment.inputs.source("train[40:64]")
  kinds = list(experiment.views.values())
  crops = batches.train_chunk(
    *(0, np.arange(20)),
    batch_size=20,
    source=source,
    views=(*kinds, *kinds),
    size=16,
    seed=config.seed,
  )
  forward = jax.jit(lambda x: experiment.networks.online(state.online, {}, x, False)[0])
  target = jax.jit(lambda x: experiment.networks.target(state.target, {}, x, False)[0])
  for place, number in enumerate((1, 3, 2, 4)):  # first those of view 1
    images = experiment.inputs.standardise(np.float32(crops[f"view{number}"]) / 255)
    expected = forward(images)._asdict() | {"target": target(images)}
    for name, values in found.items():
      np.testing.assert_allclose(values[:, place], expected[name], atol=1e-3)


def test_no_two_views_are_alike_and_they_are_the_same_each_time():
  """Of one image, so that chance alone tells them apart: here that of colours."""
  config = tiny.config()
  for view in config.views.values():
    view.update(crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip=0.0)
    view.update(jitter=1.0, grayscale=0.0)
  experiment = pretrain.Pretrain(config)
  source = experiment.inputs.source("train[40:64]")
  same = dataclasses.replace(source, images=source.images[:1].repeat(24, axis=0))
  experiment.inputs._sources["train[40:64]"] = same
  network = experiment.extract(parallel.replicate(experiment.init()))
  first, again = (network.views("train[40:64]") for _ in range(2))
  for name in first:
    np.testing.assert_array_equal(first[name], again[name])
  views = first["embedding"].reshape(20 * 4, -1)
  assert len(np.unique(views.round(4), axis=0)) == len(views)


def test_images_that_cannot_be_read_have_no_views():
  experiment = pretrain.Pretrain(tiny.config())
  network = experiment.extract(parallel.replicate(experiment.init()))
  source = experiment.inputs.source("train[40:64]")

  class Damaged:
    num_classes, channels = source.num_classes, source.channels

    def __len__(self):
      return len(source)

    def __getitem__(self, index):
      if index % 4 == 0:
        raise sources.Unreadable(f"{index} is damaged")
      return source[index]

  order = batches.permutation(experiment.config.seed, 0, 24)[:20]
  whole = network.views("train[40:64]")
  experiment.inputs._sources["train[40:64]"] = Damaged()
  found = network.views("train[40:64]")
  for name, values in found.items():
    np.testing.assert_array_equal(values, whole[name][order % 4 != 0])


def test_a_run_without_labels_has_a_best_checkpoint(tmp_path, monkeypatch):
  config = unlabelled(tiny.config(), monkeypatch)
  with RunDir(tmp_path / "run") as run_dir:
    run_dir.claim(config)
    experiment = pretrain.Pretrain(config)
    run_dir.write_encoder(description.to_json(experiment.encoder_description()))
    summary = loop.run(experiment, config, run_dir)
    records = [r for r in run_dir.records() if "score" in r]
  assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
  assert not {"knn", "linear"} & summary.keys()
  assert summary["health"].keys() == {"encoder", "untrained"}
  assert [r["step"] for r in records] == [0, 2, 4]
  best = max(records[1:], key=lambda record: record["score"])
  assert byol_jax.load_encoder(tmp_path / "run", "best").step == best["step"]
