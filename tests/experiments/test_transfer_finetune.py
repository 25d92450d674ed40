"""Fine-tuning on other data sets: grids, splits, metrics; bad input."""

import json

import numpy as np
import pytest

from byol_jax.data import datasets, sources
from byol_jax.data.labelled import labels_of
from byol_jax.errors import UserError
from byol_jax.run import results
from byol_jax.run.folder import RunDir
from configs import transfer_finetune as config_file
from experiments import transfer_finetune
from experiments.downstream import sweep, tuning
from experiments.labels import FIT, HELD_OUT


def config(encoder_file, folder, **data):
  config = config_file.get_config()
  config.encoder = str(encoder_file)
  config.results = str(folder / "results.jsonl")
  config.data.update({"train": "train[:48]", "test": "test[:20]"})
  config.data.update(data)
  config.rates, config.weight_decays = (0.1,), (0.02,)
  config.train.update(steps=2, batch_size=16)
  config.eval.batch_size = 16
  return config


def read(path):
  return json.loads(path.read_text())


def test_a_single_pair_is_trained_on_train_and_valid(encoder_file, tmp_path):
  alone = config(encoder_file, tmp_path, valid="train[48:64]")
  alone.metric = "mean_per_class"
  summary = transfer_finetune.run(alone, RunDir(tmp_path / "run"))
  ran = read(tmp_path / "run" / "final" / "config.json")
  assert (ran["data"]["train"], ran["data"]["test"]) == (
    "train[:48]+train[48:64]",
    "test[:20]",
  )
  # Of 64 images in batches of 16.
  assert ran["optimiser"]["statistics_decay"] == 0.9
  # Divided by the rate.
  assert ran["optimiser"]["learning_rate"] == 0.1
  assert ran["optimiser"]["weight_decay"] == pytest.approx(0.2)
  assert ran["train"]["steps"] == 2
  [line] = results.read(tmp_path / "results.jsonl")
  assert line["protocol"] == "transfer_finetune"
  assert line["setting"] == {"rate": 0.1, "weight_decay": 0.02}
  assert (line["metric"], line["test_images"]) == ("mean_per_class", 20)
  assert line["value"] == summary["transfer_finetune"]["encoder"]
  assert summary["sweep"] == []


def test_the_best_of_a_sweep_is_trained_again(encoder_file, tmp_path, monkeypatch):
  made = []
  found = {0.0: 0.25, 0.02: 0.5, 0.03: 0.5}

  def run(self, folder, config, final=False):
    data, decay = config.data, config.optimiser.weight_decay
    made.append((folder.path.name, data.train, data.test))
    return {"top_1": found[round(decay * 0.1, 5)], "test_images": 20}

  monkeypatch.setattr(sweep.Sweep, "_run", run)
  three = config(encoder_file, tmp_path)
  three.weight_decays = tuple(found)
  summary = transfer_finetune.run(three, RunDir(tmp_path / "run"))
  parts = FIT, HELD_OUT
  assert made == [
    ("rate-0.1-weight_decay-0", *parts),
    ("rate-0.1-weight_decay-0.02", *parts),
    ("rate-0.1-weight_decay-0.03", *parts),
    ("final", "train[:48]", "test[:20]"),  # of equals, the first
  ]
  assert summary["weight_decay"] == 0.02
  assert [line["top_1"] for line in summary["sweep"]] == [0.25, 0.5, 0.5]


def test_the_decay_of_statistics_is_the_papers():
  # BYOL, App. D.3: max(1 - 10 / s, 0.9), s steps an epoch.
  assert sweep.statistics_decay(256, 45_000) == pytest.approx(1 - 10 / (45_000 / 256))
  assert sweep.statistics_decay(256, 1020) == 0.9


def test_images_without_a_label_are_left_out(encoder_file, tmp_path, monkeypatch):
  def split(labels):
    return np.zeros((len(labels), 16, 16, 3), np.uint8), np.array(labels)

  splits = {"train": split([0, -1, 1] * 10), "test": split([-1, 0])}
  own = sources.ArrayDataset("own", splits)
  monkeypatch.setitem(datasets.DATASETS, "own", lambda data_dir: own)
  asked = config(encoder_file, tmp_path, name="own", train="train", test="test")
  subject, splits = transfer_finetune._opened(asked, RunDir(tmp_path / "run"))
  sizes = [subject.dataset.check(each) for each in (*splits, "test")]
  assert sizes == [18, 2, 20, 1]
  assert set(labels_of(subject.dataset.split(splits.train))) == {0, 1}


def test_nothing_is_chosen_by_one_class(encoder_file, tmp_path, monkeypatch):
  images = np.zeros((20, 16, 16, 3), np.uint8)
  own = sources.ArrayDataset("own", {"train": (images, np.arange(20) // 10)})
  monkeypatch.setitem(datasets.DATASETS, "own", lambda data_dir: own)
  asked = config(encoder_file, tmp_path, name="own", train="train", test="train")
  transfer_finetune._opened(asked, RunDir(tmp_path / "run"))  # nothing to choose
  asked.rates = (0.1, 0.2)
  with pytest.raises(UserError, match="held out has one class alone on its 2 images"):
    transfer_finetune.run(asked, RunDir(tmp_path / "run"))
  assert not list(tmp_path.iterdir())


def test_classes_that_were_not_trained_on_are_said(
  encoder_file, tmp_path, monkeypatch, caplog
):
  def split(labels):
    return np.zeros((len(labels), 16, 16, 3), np.uint8), np.array(labels)

  splits = {"train": split([0, 1] * 10), "test": split([0, 2, 3])}
  own = sources.ArrayDataset("own", splits)
  monkeypatch.setitem(datasets.DATASETS, "own", lambda data_dir: own)
  asked = config(encoder_file, tmp_path, name="own", train="train", test="test")
  transfer_finetune._opened(asked, RunDir(tmp_path / "run"))
  assert "test: 2 of 3 images are of 2 classes that no image to train" in caplog.text


def changed(**settings):
  return lambda config: config.update(settings)


BAD = {
  "no rates": (changed(rates=()), r"rates is \(\): give more than 0, each"),
  "no decays": (
    changed(weight_decays=()),
    r"weight_decays is \(\): give 0 or more, each",
  ),
  "a decay below 0": (
    changed(weight_decays=(-1.0,)),
    r"weight_decays is \(-1.0,\): give 0 or more, each",
  ),
  "a rate of 0": (changed(rates=(0.0,)), r"rates is \(0.0,\): give more than 0, each"),
  "another metric": (
    changed(metric="top1"),
    "metric is 'top1': give one of top_1, top_5",
  ),
  "one class each": (
    changed(metric="average_precision_11"),
    "photos has no images of several classes to evaluate with",
  ),
  "another set": (
    lambda c: (c.update(set="dtdd"), c.data.update(name=None, train=None, test=None)),
    r"there is no set 'dtdd': did you mean dtd\? There are food101",
  ),
  "no steps": (lambda c: c.train.update(steps=0), "train.steps is 0: give 1 to"),
  "none held out": (
    lambda c: c.data.update(held_out=48),
    "data.held_out is 48 of 48 images",
  ),
  "a schedule": (
    lambda c: c.optimiser.update(schedule="linear"),
    "optimiser.schedule is 'linear': give one of cosine",
  ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_writes_nothing(name, encoder_file, tmp_path):
  edit, message = BAD[name]
  bad = config(encoder_file, tmp_path)
  with bad.unlocked(), bad.ignore_type():
    edit(bad)
  with pytest.raises(UserError, match=message):
    transfer_finetune.run(bad, RunDir(tmp_path / "run"))
  assert not list(tmp_path.iterdir())


def test_grids_are_the_papers():
  config = config_file.get_config("dtd")
  np.testing.assert_allclose(config.rates, np.logspace(-4, -1, 7))
  np.testing.assert_allclose(config.weight_decays, [0, *np.logspace(-6, -3, 7)])
  assert (config.train.steps, config.train.batch_size) == (20_000, 256)
  tuning.check_grid(r=config.rates, w=config.weight_decays)
