"""The linear classifier on cached features, end to end and by hand."""

import functools

import numpy as np
import pytest

from byol_jax.data import batches, datasets
from byol_jax.data.sources import ArrayDataset
from byol_jax.errors import UserError
from byol_jax.run import results
from byol_jax.run.folder import RunDir
from configs import linear_cached as configs
from experiments import linear_cached
from experiments.downstream import classifiers, frozen
from experiments.downstream.frozen import Subject
from experiments.labels import FIT
from tests.formats import encoders

RATES = (2.0, 0.5)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
  encoders.make("group", depth=10, stem="patch").save(path)
  config = configs.get_config()
  config.encoder = str(path)
  config.data.update(train="train[:200]", test="test[:90]")
  config.optimiser.learning_rate = RATES
  config.train.update(epochs=2.5, batch_size=48)  # epochs end within batches
  config.eval.batch_size = 64
  return config


@pytest.fixture(scope="module")
def complete(config, tmp_path_factory):
  """Folder and summary of a complete evaluation, and the features that it took."""
  path, found = tmp_path_factory.mktemp("runs") / "cached", {}

  def features(subject, split):
    found[split] = whole(subject, split)
    return found[split]

  whole = Subject.features
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Subject, "features", features)
    return path, linear_cached.run(config, RunDir(path)), found


def by_hand(train, test, rate, steps=10, size=48):
  """Test accuracy of SGD with Nesterov momentum and half a cosine, in numpy."""
  classes = np.arange(max(train.label.max(), test.label.max()) + 1)
  x = np.append(np.float64(train.embedding), np.ones((len(train.label), 1)), axis=1)
  w = np.zeros((x.shape[1], len(classes)))
  velocity = np.zeros_like(w)
  order = batches.image_order(0, 0, steps * size, len(x)).reshape(steps, size)
  for step, rows in enumerate(order):
    logits = x[rows] @ w
    odds = np.exp(logits - logits.max(1, keepdims=True))
    error = odds / odds.sum(1, keepdims=True) - (train.label[rows, None] == classes)
    gradient = x[rows].T @ error / size
    velocity = 0.9 * velocity + gradient
    peak = rate * size / 256
    w -= peak * (1 + np.cos(np.pi * step / steps)) / 2 * (gradient + 0.9 * velocity)
  return np.mean((test.embedding @ w[:-1] + w[-1]).argmax(1) == test.label)


def test_it_is_sgd_on_the_features(complete):
  _, summary, found = complete
  fit, held_out, test = found.values()
  assert [len(part.label) for part in found.values()] == [180, 20, 90]
  near = functools.partial(pytest.approx, abs=1e-6)
  swept = [{"learning_rate": r, "top_1": by_hand(fit, held_out, r)} for r in RATES]
  assert [each["top_1"] for each in summary["held_out"]] == [
    near(each["top_1"]) for each in swept
  ]
  rate = classifiers.best(swept)
  assert summary["learning_rate"] == rate
  train = frozen.together(fit, held_out)
  assert summary["linear_cached"]["encoder"] == near(
    by_hand(train, test, rate, steps=10)
  )
  assert summary["linear_cached"]["encoder"] > 0.1  # twice as good as chance
  assert summary["test_images"] == 90


def test_results_say_that_features_were_cached(complete, config):
  path, summary, _ = complete
  assert linear_cached.run(config, RunDir(path)) == summary
  top_1, top_5 = results.read(path.parent / "results.jsonl")
  assert (top_1["protocol"], top_1["metric"]) == ("linear_cached", "top_1")
  assert top_1["value"] == summary["linear_cached"]["encoder"]
  assert top_5["value"] == summary["linear_cached_top5"]["encoder"] >= top_1["value"]
  assert top_1["setting"].keys() == {"learning_rate"}
  assert not (path / "features").exists()


class Killed(Exception):
  pass


def kill(*args):
  raise Killed


def test_killed_anywhere_it_comes_to_the_same(config, complete, tmp_path, monkeypatch):
  path = tmp_path / "cached"
  times = []
  for place, name in (
    (Subject, "check_classes"),  # once there are features
    (linear_cached, "_fitted"),
    (classifiers, "record"),
  ):
    with monkeypatch.context() as patch:
      patch.setattr(place, name, kill)
      with pytest.raises(Killed):
        linear_cached.run(config, RunDir(path))
    files = (path / "features").glob("*.npz")
    times.append(sorted(file.stat().st_mtime_ns for file in files))
  assert times[0] == times[1]  # features were not computed again
  assert len(times[0]) == 3
  assert not (tmp_path / "results.jsonl").exists()
  assert linear_cached.run(config, RunDir(path)) == complete[1]
  assert len(results.read(tmp_path / "results.jsonl")) == 2


def changed(config, **settings):
  config = config.copy_and_resolve_references()
  with config.ignore_type():
    config.update_from_flattened_dict(settings)
  return config


def test_rates_that_all_diverge_are_told(config, complete, tmp_path):
  fit = complete[2][FIT]
  subject = linear_cached.opened(config, RunDir(tmp_path))
  model = classifiers.Classifiers(subject.config, [1e38, 2e38])
  with pytest.raises(UserError, match=r"have diverged at learning rates .*give lower"):
    linear_cached._fitted(model, fit, 20, subject.config)


def test_a_folder_has_a_batch_size_by_its_images(config, tmp_path):
  open_ = changed(config, **{"train.batch_size": None})
  filled = linear_cached.opened(open_, RunDir(tmp_path)).config
  assert (filled.train.batch_size, filled.train.steps) == (32, round(2.5 * 200 / 32))


def test_epochs_are_of_all_labelled_images_that_are_fitted_to(
  config, tmp_path, monkeypatch
):
  source = datasets.open_dataset("photos", None).split("train[:96]")
  labels = source.labels.copy()
  labels[1:64:2] = -1
  some = ArrayDataset("some", {"train": (source.images, labels)})
  monkeypatch.setitem(datasets.DATASETS, "some", lambda data_dir: some)
  asked = changed(
    config,
    **{"data.name": "some", "data.train": "train[:64]", "data.valid": "train[64:]"},
    **{"data.test": "train[64:]", "train.epochs": 6.0, "train.batch_size": 16},
  )
  train = linear_cached.opened(asked, RunDir(tmp_path)).config.train
  assert train.steps == 6 * (32 + 32) // 16
  # Of a folder, the batch is by as many.
  open_ = changed(asked, **{"train.batch_size": None})
  assert linear_cached.opened(open_, RunDir(tmp_path)).config.train.batch_size == 16


def test_without_a_choice_no_part_needs_two_classes(config, tmp_path, monkeypatch):
  source = datasets.open_dataset("photos", None).split("train[:40]")
  labels = np.arange(40) // 20
  ordered = ArrayDataset("ordered", {"train": (source.images, labels)})
  monkeypatch.setitem(datasets.DATASETS, "ordered", lambda data_dir: ordered)
  asked = changed(
    config, **{"data.name": "ordered", "data.train": "train", "data.test": "train"}
  )
  with pytest.raises(UserError, match="what is held out has one class alone on its 4"):
    linear_cached.run(asked, RunDir(tmp_path / "several"))
  one = changed(asked, **{"optimiser.learning_rate": (0.5,)})
  assert linear_cached.run(one, RunDir(tmp_path / "one"))["held_out"] == []


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"train.epochs": 0.0}, r"train.epochs is 0.0: give more than 0"),
    ({"train.batch_size": 0}, r"train.batch_size is 0: give 1 to"),
    (
      {"optimiser.learning_rate": (-1.0,)},
      r"is \(-1.0,\): give more than 0, each",
    ),
    ({"optimiser.name": "nope"}, r"optimiser.name is 'nope': give one of lars"),
    ({"logits.clip": -1.0}, r"logits.clip is -1.0: give 0 or more"),
  ],
)
def test_mistakes_are_told_before_anything_is_written(
  config, tmp_path, settings, message
):
  with pytest.raises(UserError, match=message):
    linear_cached.run(changed(config, **settings), RunDir(tmp_path / "cached"))
  assert not (tmp_path / "cached").exists()
