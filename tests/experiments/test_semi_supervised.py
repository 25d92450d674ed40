"""Fine-tuning on a share of the labels, end to end and after kills; bad input."""

import json

import numpy as np
import pytest

from byol_jax import load_encoder
from byol_jax.data import datasets, sources
from byol_jax.data.labelled import labels_of
from byol_jax.errors import Diverged, UserError
from byol_jax.run import results
from byol_jax.run.folder import RunDir
from configs import semi_supervised as config_file
from experiments import semi_supervised
from experiments.downstream import finetune, outcomes, sweep
from experiments.labels import FIT, HELD_OUT
from tests.formats import encoders

RATE, TOO_HIGH = 0.05, 1e30
GOOD = f"rate-{RATE:g}-epochs-1"


class Killed(BaseException):
  """As by kill -9: nobody catches it."""


def config(encoder_file, folder, **data):
  """60 labelled images of 16 classes, 3 steps to fit to 44 of them and 4 to all."""
  config = config_file.get_config()
  config.encoder = str(encoder_file)
  config.results = str(folder / "results.jsonl")
  config.data.update({"labels": 0.02, "train": "train[:3000]", "test": "test[:40]"})
  config.data.update(data)
  config.rates, config.epochs = (RATE, TOO_HIGH), (1.0,)
  config.train.batch_size = config.eval.batch_size = 16
  config.log.every_steps = 1
  config.checkpoint.every_minutes = 0.0
  return config


@pytest.fixture(scope="module")
def complete(encoder_file, tmp_path_factory):
  """A sweep of two runs, one of which diverges: the folder and the summary."""
  folder = tmp_path_factory.mktemp("complete")
  run_dir = RunDir(folder / "run")
  return folder, semi_supervised.run(config(encoder_file, folder), run_dir)


def test_what_is_reported(complete, encoder_file):
  folder, summary = complete
  assert (summary["rate"], summary["epochs"]) == (RATE, 1.0)
  assert (summary["labelled_images"], summary["test_images"]) == (60, 40)
  good, bad = summary["sweep"]
  assert 0 <= good["top_1"] <= 1
  assert bad == {"rate": TOO_HIGH, "epochs": 1.0, "top_1": None}
  assert json.loads((folder / "run" / "summary.json").read_text()) == summary
  one, five = results.read(folder / "results.jsonl")
  assert one["setting"] == {"labels": 0.02, "rate": RATE, "epochs": 1.0}
  assert one["protocol"] == five["protocol"] == "semi_supervised"
  for line, name in ((one, "top_1"), (five, "top_5")):
    assert (line["metric"], line["test_images"]) == (name, 40)
  assert one["value"] == summary["semi_supervised"]["encoder"]
  assert five["value"] == summary["semi_supervised_top5"]["encoder"]
  assert one["encoder"]["checksum"] == load_encoder(encoder_file).checksum


def test_summaries_of_a_sweep_stay_and_its_checkpoints_do_not(complete):
  folder, _ = complete
  runs = sorted((folder / "run" / "sweep").iterdir())
  assert [run.name for run in runs] == [GOOD, f"rate-{TOO_HIGH:g}-epochs-1"]
  for run in runs:
    assert (run / "summary.json").exists()
    assert not (run / "checkpoints").exists()


def test_the_fine_tuned_network_is_the_encoder_of_a_run(complete, encoder_file):
  tuned, before = (
    load_encoder(complete[0] / "run" / "final"),
    load_encoder(encoder_file),
  )
  images = encoders.images(before)
  assert tuned.step == 4
  assert not np.allclose(tuned(images), before(images), atol=1e-3)


def test_a_second_start_does_nothing(complete, encoder_file, monkeypatch):
  folder, summary = complete
  monkeypatch.setattr(finetune.Finetune, "init", None)
  again = semi_supervised.run(config(encoder_file, folder), RunDir(folder / "run"))
  assert again == summary


def test_a_complete_one_is_added_to_another_file_too(complete, encoder_file, tmp_path):
  folder, _ = complete
  elsewhere = config(encoder_file, folder)
  elsewhere.results = str(tmp_path / "other.jsonl")
  semi_supervised.run(elsewhere, RunDir(folder / "run"))
  ours, theirs = (results.read(f) for f in (elsewhere.results, folder / results.FILE))
  told = ("metric", "value", "setting", "test_images")
  assert [[a[k] for k in told] for a in ours] == [[b[k] for k in told] for b in theirs]


def kill_before_step(monkeypatch, run, step):
  """Kills the process before a run of a sweep, or the final one, makes a step."""
  batches = finetune.Finetune.batches

  def until(self, first_step):
    for number, batch in enumerate(batches(self, first_step), first_step):
      if self.config.data.train == run and number == step:
        raise Killed
      yield batch

  monkeypatch.setattr(finetune.Finetune, "batches", until)


def kill_when(monkeypatch, module, name, after=False):
  """Kills the process before, or after, a function is called for the first time."""
  function = getattr(module, name)

  def killed(*args, **kwargs):
    if after:
      function(*args, **kwargs)
    raise Killed

  monkeypatch.setattr(module, name, killed)


def checksums(folder):
  """Of each array of the final state, the optimiser's too."""
  step = folder / "run" / "final" / "checkpoints" / "4"
  return json.loads((step / "checksums" / "metadata").read_text())


KILLS = {
  "in a run of the sweep": lambda m: kill_before_step(m, FIT, 2),
  "once its summary is written": lambda m: kill_when(m, sweep.shutil, "rmtree"),
  "in the final run": lambda m: kill_before_step(m, semi_supervised.LABELLED, 1),
  "between its results": lambda m: kill_when(m, outcomes, "record", after=True),
}


def test_killed_anywhere_it_goes_on_to_the_same(complete, encoder_file, tmp_path):
  start = lambda: semi_supervised.run(  # noqa: E731
    config(encoder_file, tmp_path), RunDir(tmp_path / "run")
  )
  for kill in KILLS.values():
    with pytest.MonkeyPatch.context() as patch:
      kill(patch)
      with pytest.raises(Killed):
        start()
  assert start() == complete[1]
  assert checksums(tmp_path) == checksums(complete[0])
  ours, theirs = (results.read(f / "results.jsonl") for f in (tmp_path, complete[0]))
  assert [line["value"] for line in ours] == [line["value"] for line in theirs]
  assert not (tmp_path / "run" / "sweep" / GOOD / "checkpoints").exists()


def test_a_final_run_that_diverges_says_so(encoder_file, tmp_path):
  # The only rate, so that there is no sweep.
  alone = config(encoder_file, tmp_path)
  alone.rates = (TOO_HIGH,)
  with pytest.raises(Diverged, match=r"inf at step 1; no checkpoint in .*: lower"):
    semi_supervised.run(alone, RunDir(tmp_path / "run"))
  assert not (tmp_path / "run" / "sweep").exists()
  assert not (tmp_path / "results.jsonl").exists()


def test_a_sweep_of_which_all_runs_diverge_says_so(encoder_file, tmp_path, monkeypatch):
  monkeypatch.setattr(sweep.Sweep, "_run", lambda *_, **__: {"diverged": "loss is nan"})
  with pytest.raises(Diverged, match="all 2 runs of the sweep have diverged: give low"):
    semi_supervised.run(config(encoder_file, tmp_path), RunDir(tmp_path / "run"))


def images(labels, channels=3):
  """Splits of blank images with these labels."""
  labels = np.array(labels)
  split = np.zeros((len(labels), 16, 16, channels), np.uint8), labels
  test = np.zeros((4, 16, 16, channels), np.uint8), np.arange(4) % 2
  return {"train": split, "test": test}


def change(**settings):
  return lambda config: config.update(settings)


def change_data(**settings):
  return lambda config: config.data.update(settings)


TWO = [0, 1] * 50
BAD = {
  "no encoder": (change(encoder=None), TWO, "name the encoder to evaluate"),
  "no rates": (change(rates=()), TWO, r"rates is \(\): give more than 0, each"),
  "no epochs": (change(epochs=()), TWO, r"epochs is \(\): give more than 0, each"),
  "a rate of 0": (
    change(rates=(0.1, 0.0)),
    TWO,
    r"rates is \(0.1, 0.0\): give more than 0, each",
  ),
  "a rate twice": (change(rates=(0.1, 0.1)), TWO, "rates have a number twice"),
  "no share": (
    change_data(labels=0.0),
    TWO,
    r"labels is 0.0: give a share in \(0, 1\]",
  ),
  "too much": (change_data(labels=1.5), TWO, "data.labels is 1.5: give a share in"),
  "a split to choose by": (change_data(valid="test"), TWO, "valid is 'test', and set"),
  "no labels": (change(), [-1] * 100, "train. has no labels"),
  "no labels there": (
    change_data(train="train[:9]"),
    [-1] * 9 + TWO,
    "has no labels to",
  ),
  "one class": (
    change(),
    [1] * 100,
    "all images of 'train' are of one class: name oth",
  ),
  "fewer images than classes": (
    change_data(labels=0.01),
    TWO,
    "data.labels = 0.01 are 1 of 100 images, fewer than the 2 classes: give a share",
  ),
  "none to choose by": (
    change_data(labels=0.03),
    TWO,
    "3 labelled images of 2 classes leave none to choose by: give a larger data.labels",
  ),
  "one class to choose by": (
    change(),
    [0, 1] + [2] * 10,
    "what is held out has one class alone on its 3 images: choose settings by others",
  ),
  "too many to choose by": (
    change_data(labels=0.1, held_out=9),
    TWO,
    "data.held_out is 9 of 10 labelled images of 2 classes: give 2 to 8",
  ),
  "other channels": (change(), images(TWO, 4), "have 4 channels, and the encoder"),
  "batch of one": (
    lambda c: c.train.update(batch_size=1),
    TWO,
    "batch_size is 1: give",
  ),
  "the list of another share": (
    change_data(name="imagenet2012_subset/1pct", labels=0.1),
    TWO,
    "has 0.01 of ImageNet's labels, and data.labels is 0.1: give data.labels=0.01",
  ),
  "more steps than can be counted": (
    change(epochs=(5e8,)),
    TWO,
    r"train.steps is \d+: give 1 to 2,147,483,647",
  ),
  "no averages": (
    lambda c: c.optimiser.update(statistics_decay=1.0),
    TWO,
    r"optimiser.statistics_decay is 1.0: give a share in \[0, 1\)",
  ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_writes_nothing(
  name, encoder_file, tmp_path, monkeypatch
):
  edit, splits, message = BAD[name]
  splits = splits if isinstance(splits, dict) else images(splits)
  own = sources.ArrayDataset("own", splits)
  monkeypatch.setitem(datasets.DATASETS, "own", lambda data_dir: own)
  bad = config(
    encoder_file, tmp_path, name="own", train="train", test="test", labels=1.0
  )
  edit(bad)
  with pytest.raises(UserError, match=message) as raised:
    semi_supervised.run(bad, RunDir(tmp_path / "run"))
  assert "\n" not in str(raised.value)
  assert not list(tmp_path.iterdir())


def interrupted(_):
  raise Killed


def opened(encoder_file, folder, splits, monkeypatch, **data):
  """Labels of each part that an evaluation of such images has."""
  own = sources.ArrayDataset("own", splits)
  monkeypatch.setitem(datasets.DATASETS, "own", lambda data_dir: own)
  wanted = config(encoder_file, folder, name="own", train="train", test="test", **data)
  made = semi_supervised._with_labelled(wanted, RunDir(folder / "run"), True)
  parts = (semi_supervised.LABELLED, FIT, HELD_OUT)
  return [labels_of(made.dataset.split(part)) for part in parts], made


def test_classes_and_a_collapse_are_said_before_any_training(
  encoder_file, tmp_path, monkeypatch, caplog
):
  splits = {**images([2, 3] * 20), "test": images([0, 1, 2, 3])["train"]}
  _, made = opened(encoder_file, tmp_path, splits, monkeypatch, labels=1.0)
  assert "test: 2 of 4 images are of 2 classes that no image to train" in caplog.text
  monkeypatch.setattr(sweep.Sweep, "_held_out_accuracies", interrupted)
  trials = [sweep.Trial({"rate": rate}, rate, epochs=1.0) for rate in (0.1, 0.2)]
  splits = sweep.Splits(FIT, HELD_OUT, semi_supervised.LABELLED)
  with pytest.raises(Killed):
    sweep.Sweep(made, trials, splits, ["top_1"]).run()
  assert "with labels: the encoder has collapsed" in caplog.text


def test_of_few_labels_one_a_class_is_held_out(encoder_file, tmp_path, monkeypatch):
  labels = np.repeat(np.arange(10), 20)
  (every, fit, held_out), made = opened(
    encoder_file, tmp_path, images(labels), monkeypatch, labels=0.1
  )
  np.testing.assert_array_equal(np.bincount(every), [2] * 10)
  np.testing.assert_array_equal(np.bincount(fit), [1] * 10)
  np.testing.assert_array_equal(np.bincount(held_out), [1] * 10)
  places = [made.dataset.parts[p][1] for p in (FIT, HELD_OUT)]
  assert not np.intersect1d(*places).size


def test_of_many_labels_a_tenth_is_held_out(encoder_file, tmp_path, monkeypatch):
  labels = [0] * 10 + [1] * 190
  (every, _, held_out), _ = opened(
    encoder_file, tmp_path, images(labels), monkeypatch, labels=0.5
  )
  np.testing.assert_array_equal(np.bincount(every), [10, 90])
  np.testing.assert_array_equal(np.bincount(held_out), [5, 5])


def test_images_without_a_label_are_left_out(
  encoder_file, tmp_path, monkeypatch, caplog
):
  splits = images([-1, 0, 1] * 20)
  (every, _, _), made = opened(encoder_file, tmp_path, splits, monkeypatch, labels=1.0)
  np.testing.assert_array_equal(np.bincount(every), [20, 20])
  assert "train: 20 of 60 images have no label, and are left out" in caplog.text
  assert made.dataset.check("train") == 40


@pytest.mark.parametrize(
  ("name", "labels", "opened"),
  [
    ("imagenet2012", 0.01, "imagenet2012_subset/1pct"),
    ("imagenet2012:5.1.0", 0.1, "imagenet2012_subset/10pct"),
    ("imagenet2012_subset/1pct:5.0.0", 0.01, "imagenet2012_subset/1pct:5.0.0"),
    ("imagenet2012", 0.05, "imagenet2012"),
    ("imagenet2012", 1.0, "imagenet2012"),
    ("cifar10", 0.01, "cifar10"),
  ],
)
def test_imagenets_labels_are_those_of_the_published_lists(
  encoder_file, tmp_path, monkeypatch, name, labels, opened
):
  asked = []

  def open_dataset(name, data_dir):
    asked.append(name)
    return sources.ArrayDataset(name, images([0, 1] * 1000))

  monkeypatch.setattr(datasets, "open_dataset", open_dataset)
  wanted = config(
    encoder_file, tmp_path, name=name, train="train", test="test", labels=labels
  )
  wanted = semi_supervised._published(wanted)
  made = semi_supervised._with_labelled(wanted, RunDir(tmp_path / "run"), True)
  assert asked == [opened]
  share = 1.0 if "subset" in opened else labels
  assert made.dataset.check(semi_supervised.LABELLED) == 2000 * share
