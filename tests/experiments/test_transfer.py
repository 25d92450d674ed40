"""Logistic regression on other sets: what scikit-learn makes of the same features."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.linear_model import LogisticRegression

import byol_jax
from byol_jax import probes
from byol_jax.data import datasets, sources
from byol_jax.errors import UserError
from byol_jax.run import results
from byol_jax.run.folder import RunDir
from configs import transfer as transfer_config
from experiments import transfer
from experiments.downstream import frozen, outcomes, transfer_sets
from tests import prepared

STRENGTHS = (1e-2, 1e-1, 1.0, 10.0)


def coloured(count, seed):
  """Images of three classes, that of the brightest channel, which noise may hide."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, 3, count)
  light = 40 * np.eye(3)[labels][:, None, None] + rng.integers(0, 60, (count, 1, 1, 3))
  noise = rng.integers(0, 100, (count, 16, 16, 3))
  return np.uint8(light + noise), labels


TRAIN, TEST = coloured(90, seed=0), coloured(60, seed=1)


@pytest.fixture(autouse=True)
def made(monkeypatch):
  opened = sources.ArrayDataset("made", {"train": TRAIN, "test": TEST})
  monkeypatch.setitem(datasets.DATASETS, "made", lambda data_dir: opened)


def small(encoder_file, preset=None, **data):
  config = transfer_config.get_config(preset)
  config.encoder, config.strengths = str(encoder_file), STRENGTHS
  config.eval.batch_size = 30
  with config.ignore_type():
    config.data.update(data)
  return config


def run(config, tmp_path, name="run"):
  return transfer.run(config, RunDir(tmp_path / name))


def fits(x, y, strength):
  """scikit-learn's, of the same optimum."""
  model = LogisticRegression(C=1 / (strength * len(x)), solver="newton-cholesky")
  return model.fit(x.astype(np.float64), y)


def test_strength_and_accuracy_are_those_of_scikit_learn(encoder_file, tmp_path):
  summary = run(small(encoder_file, name="made", held_out=30), tmp_path)
  embed = byol_jax.load_encoder(encoder_file)
  (x, y), (test, answers) = (
    (embed(images), labels) for images, labels in (TRAIN, TEST)
  )
  held_out = {s: fits(x[:60], y[:60], s).score(x[60:], y[60:]) for s in STRENGTHS}
  assert len(set(held_out.values())) > 1
  found = {each["strength"]: each["held_out"] for each in summary["of_all"]}
  assert found == pytest.approx(held_out)
  best = max(STRENGTHS, key=lambda s: (held_out[s], s))
  assert (summary["strength"], summary["test_images"]) == (best, 60)
  expected = fits(x, y, best).score(test, answers)
  assert summary["transfer_linear"]["encoder"] == pytest.approx(expected)

  (line,) = results.read(tmp_path / "results.jsonl")
  assert line["protocol"] == "transfer_linear"
  assert line["setting"] == {"strength": best}
  assert (line["metric"], line["test_images"]) == ("top_1", 60)
  assert line["value"] == summary["transfer_linear"]["encoder"]
  assert (line["train"], line["valid"], line["test"]) == ("train", None, "test")
  assert line["images"] is None


def test_images_are_whole_squares_whatever_crop_an_encoder_is_tested_on(
  encoder_file, tmp_path
):
  whole = byol_jax.load_encoder(encoder_file)
  image = whole.description.image
  assert image.crop == 1.0
  half = whole.description._replace(image=image._replace(crop=0.5))
  dataclasses.replace(whole, description=half).save(tmp_path / "half.safetensors")

  def held_out(file, name, **settings):
    config = small(file, name="made", held_out=30)
    config.update(settings)
    return [each["held_out"] for each in run(config, tmp_path, name)["of_all"]]

  expected = held_out(encoder_file, "whole")
  assert held_out(tmp_path / "half.safetensors", "half") == expected
  assert held_out(encoder_file, "cropped", crop=0.5) != expected


def test_no_strength_is_chosen_by_one_class(encoder_file, tmp_path, monkeypatch):
  images, labels = TRAIN
  order = np.argsort(labels, kind="stable")
  ordered = {"train": (images[order], labels[order]), "test": TEST}
  opened = sources.ArrayDataset("ordered", ordered)
  monkeypatch.setitem(datasets.DATASETS, "ordered", lambda data_dir: opened)
  config = small(encoder_file, name="ordered", held_out=10)
  with pytest.raises(UserError, match="held out has one class alone on its 10 images"):
    run(config, tmp_path)
  config.strengths = (1.0,)  # nothing to choose
  assert run(config, tmp_path, "one")["strength"] == 1.0


class Killed(BaseException):
  pass


def test_a_killed_run_goes_on_to_the_same_result(encoder_file, tmp_path, monkeypatch):
  config = small(encoder_file, name="made", held_out=30)
  expected = run(config, tmp_path, "whole")

  def die(*args, **kwargs):
    raise Killed

  # Before the first fit, after all of them, and once the result is written.
  for owner, name in (
    (probes.Problem, "path"),
    (probes.Problem, "scores"),
    (outcomes, "ended"),
  ):
    with monkeypatch.context() as patched:
      patched.setattr(owner, name, die)
      with pytest.raises(Killed):
        run(config, tmp_path)
  assert not (tmp_path / "run" / "summary.json").exists()
  monkeypatch.setattr(frozen, "write_features", die)  # these are there
  assert run(config, tmp_path) == expected
  monkeypatch.setattr(probes.Problem, "path", die)
  assert run(config, tmp_path) == expected
  runs = [line["run"] for line in results.read(tmp_path / "results.jsonl")]
  assert sorted(runs) == [str(tmp_path / "run"), str(tmp_path / "whole")]
  assert not (tmp_path / "run" / "features").exists()


def several_classes(data_dir):
  """A prepared set like voc/2007: a class lights up a channel, or none."""
  rng = np.random.default_rng(0)
  splits = {}
  for split, count in (("train", 40), ("validation", 30), ("test", 40)):
    truth = rng.random((count, 3)) < 0.4
    light = 100 * truth[:, None, None, :] + rng.integers(0, 150, (count, 16, 16, 3))
    examples = [
      {"image": prepared.encode(np.uint8(i)), "labels": np.flatnonzero(t).tolist()}
      for i, t in zip(light, truth, strict=True)
    ]
    splits[split] = [examples]
    splits[f"{split} arrays"] = np.uint8(light), truth
  classes = tfds.features.ClassLabel(names=["red", "green", "blue"])
  features = {"image": tfds.features.Image(), "labels": tfds.features.Sequence(classes)}
  arrays = {s: splits.pop(f"{s} arrays") for s in ("train", "validation", "test")}
  prepared.write(data_dir / "scenes" / "1.0.0", features, splits, supervised=())
  return arrays


def test_images_of_several_classes(encoder_file, tmp_path):
  arrays = several_classes(tmp_path)
  data = {"name": "scenes", "data_dir": str(tmp_path), "valid": "validation"}
  config = small(encoder_file, **data)
  config.metric = "average_precision_11"
  summary = run(config, tmp_path)

  embed = byol_jax.load_encoder(encoder_file)
  (x, y), (v, w), (t, u) = ((embed(images), truth) for images, truth in arrays.values())

  def precision(x, y, t, u, strength):
    scores = [fits(x, y[:, c], strength).decision_function(t) for c in range(3)]
    return probes.METRICS["average_precision_11"].of(np.stack(scores, axis=1), u)

  held_out = {s: precision(x, y, v, w, s) for s in STRENGTHS}
  for each in summary["of_all"]:
    assert each["held_out"] == pytest.approx(held_out[each["strength"]], abs=0.01)
  both = np.concatenate([x, v]), np.concatenate([y, w])
  expected = precision(*both, t, u, summary["strength"])
  assert summary["transfer_linear"]["encoder"] == pytest.approx(expected, abs=0.01)
  (line,) = results.read(tmp_path / "results.jsonl")
  assert (line["valid"], line["metric"]) == ("validation", "average_precision_11")

  config.metric = "top_1"
  with pytest.raises(UserError, match="scenes has no labels, one an image: give"):
    run(config, tmp_path, "other")
  config = small(encoder_file, name="made")
  config.metric = "average_precision_11"
  with pytest.raises(UserError, match="made has no images of several classes"):
    run(config, tmp_path, "another")


def test_several_sets_each_in_a_folder(encoder_file, tmp_path, monkeypatch):
  one = transfer_sets.Set("made", "train[:60]", None, "test[:40]", "top_1", 20)
  other = one._replace(test="test", metric="mean_per_class")
  monkeypatch.setitem(transfer_sets.SETS, "one", one)
  monkeypatch.setitem(transfer_sets.SETS, "other", other)
  found = run(small(encoder_file, "one,other"), tmp_path)
  assert [each["metric"] for each in found.values()] == ["top_1", "mean_per_class"]
  for key in ("one", "other"):
    summary = json.loads((tmp_path / "run" / key / "summary.json").read_text())
    assert summary == found[key]
    assert summary["set"] == key
  lines = results.read(tmp_path / "results.jsonl")
  assert [line["test_images"] for line in lines] == [40, 60]


def test_small_grey_images_are_enlarged_and_shown_in_colour(
  encoder_file, tmp_path, monkeypatch, caplog
):
  rng = np.random.default_rng(0)
  labels = np.arange(60) % 3
  # Half as bright from class to class; class 2 is only in train, class 3 only in test.
  light = 200 >> labels[:, None, None, None]
  grey = np.uint8(light + rng.integers(0, 20, (60, 8, 8, 1)))
  test = np.where(labels == 2, 3, labels)
  arrays = {"train": (grey, labels), "test": (grey, test)}
  dataset = sources.ArrayDataset("grey", arrays)
  monkeypatch.setitem(datasets.DATASETS, "grey", lambda data_dir: dataset)
  with caplog.at_level(logging.WARNING):
    summary = run(small(encoder_file, name="grey"), tmp_path)
  assert "8 x 8 x 1 shown as 16 x 16 x 3, which changes the accuracy" in caplog.text
  assert (
    "1 of 4 classes are not among the 60 images to train on: the 20 test images"
    in (caplog.text)
  )
  (line,) = results.read(tmp_path / "results.jsonl")
  assert line["images"] == "8 x 8 x 1 shown as 16 x 16 x 3"
  assert summary["transfer_linear"]["encoder"] == pytest.approx(40 / 60)


def test_classes_that_are_not_in_train_are_wrong(caplog):
  train, test = transfer._truth(np.array([7, 3, 7]), np.array([3, 5, 7, 9, 5]), "made")
  assert train.tolist() == [1, 0, 1]
  assert test.tolist() == [0, -1, 1, -2, -1]
  assert "2 of 4 classes are not among the 3 images to train on: the 3 test" in (
    caplog.text
  )
  scores = np.eye(2)[[0, 0, 1, 1, 1]]
  assert probes.METRICS["top_1"].of(scores, test) == 2 / 5
  assert probes.METRICS["mean_per_class"].of(scores, test) == 2 / 4


def test_of_several_classes_those_that_are_not_in_train_come_last(caplog):
  train = np.array([[0, 1, 1], [0, 0, 1]], bool)
  test = np.array([[1, 1, 0], [0, 0, 1]], bool)
  found, answers = transfer._truth(train, test, "made")
  np.testing.assert_array_equal(found, [[1, 1], [0, 1]])
  np.testing.assert_array_equal(answers, [[1, 0, 1], [0, 1, 0]])
  assert "1 of 3 classes are not among the 2 images" in caplog.text


@pytest.mark.parametrize("labels", [np.full(5, 3), np.eye(2, dtype=bool)[[0, 0]]])
def test_one_class_is_refused(labels):
  with pytest.raises(UserError, match="all images of made to train on are of one cl"):
    transfer._truth(labels, labels, "made")


def test_the_45_strengths_are_those_of_the_paper():
  expected = np.logspace(-6, 5, 45)
  np.testing.assert_allclose(transfer_config.get_config().strengths, expected)


@pytest.mark.parametrize(
  ("preset", "change", "message"),
  [
    ("food102", {}, r"no set 'food102': did you mean food101\? There are food101, c"),
    (None, {"metric": "top_2"}, "metric is 'top_2': give one of top_1, top_5"),
    (None, {"metric": None}, "configs/transfer.py:dtd; or give data.name and metric"),
    (
      None,
      {"strengths": (1.0, 0.0)},
      r"strengths is \(1.0, 0.0\): give more than 0, each",
    ),
    (None, {"strengths": ()}, "strengths is"),
    (None, {"set": "dtd"}, "data.name 'photos': leave one of them out, as --config="),
    (
      "dtd,pets",
      {"data.train": "test"},
      "data.train is 'test', and the sets 'dtd,pets'",
    ),
    ("dtd", {}, "dtd is not prepared in .*: run .* --name=dtd --data_dir="),
    ("birdsnap", {}, "birdsnap needs a folder, as tensorflow-datasets .* no such set"),
    ("food101,birdsnap", {}, "birdsnap needs a folder"),
    (None, {"data.test": "nothing"}, "photos has nothing for the split 'nothing'"),
    (None, {"encoder": None}, "name the encoder to evaluate"),
  ],
)
def test_mistakes_are_one_line_and_write_nothing(tmp_path, preset, change, message):
  config = transfer_config.get_config(preset)
  config.encoder = "nowhere"
  if preset:
    config.data.data_dir = str(tmp_path)
  with config.ignore_type():
    config.update_from_flattened_dict(change)
  with pytest.raises(UserError, match=message) as raised:
    run(config, tmp_path)
  assert "\n" not in str(raised.value)
  assert not list(tmp_path.iterdir())
