"""Linear evaluation end to end, of a tiny encoder on the embedded set."""

import json
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax import load_encoder, parallel
from byol_jax.data import datasets
from byol_jax.data.labelled import labels_of
from byol_jax.data.parts import WithParts
from byol_jax.data.sources import ArrayDataset
from byol_jax.errors import UserError
from byol_jax.run import figures, results, stored
from byol_jax.run.folder import RunDir
from experiments import linear_eval
from experiments.downstream import classifiers
from experiments.downstream.frozen import Subject
from experiments.labels import FIT, HELD_OUT
from experiments.linear_eval import LinearEval, Sweep
from tests import tiny
from tests.formats import encoders

TIMES = ("seconds", "images_per_second")


@pytest.fixture(scope="module", autouse=True)
def _no_curves():
  """They are drawn for as long as all else takes."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(figures, "curves", lambda run_dir: None)
    yield


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
  """A file with a tiny encoder."""
  path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
  encoders.make("group", depth=10, stem="patch").save(path)
  return path


@pytest.fixture(scope="module")
def config(encoder):
  config = tiny.linear_eval(encoder)
  config.optimiser.learning_rate = (0.4, 0.2)
  config.log.every_steps = 2  # and a checkpoint as often
  return config


def changed(config, **settings):
  config = config.copy_and_resolve_references()
  with config.ignore_type():
    config.update_from_flattened_dict(settings)
  return config


@pytest.fixture(scope="module")
def complete(config, tmp_path_factory):
  """The folder of a complete evaluation and its summary."""
  path = tmp_path_factory.mktemp("runs") / "linear"
  return path, linear_eval.run(config, RunDir(path))


def broken(encoder, value):
  """An encoder whose parameters have one value."""
  params = jax.tree.map(lambda leaf: jnp.full_like(leaf, value), encoder.params)
  return type(encoder)(params, encoder.stats, encoder.description, encoder.step)


def opened(config, tmp_path):
  return linear_eval.opened(config, RunDir(tmp_path / "run"))


def test_the_best_rate_of_the_sweep_is_reported_on_the_test_split(complete):
  path, summary = complete
  assert json.loads((path / "summary.json").read_text()) == summary
  sweep = json.loads((path / "sweep" / "summary.json").read_text())
  assert (sweep["held_out_images"], summary["test_images"]) == (6, 40)
  assert sweep["of_all"] == summary["held_out"]
  assert [each["learning_rate"] for each in sweep["of_all"]] == [0.4, 0.2]
  assert summary["learning_rate"] == classifiers.best(summary["held_out"])
  assert 0 <= summary["linear"]["encoder"] <= summary["linear_top5"]["encoder"] <= 1
  assert (path / "figures" / "views.png").exists()


def test_test_images_are_looked_at_once(complete):
  path, _ = complete
  records = RunDir(path).records()
  assert not any(name.startswith(("test", "valid")) for r in records for name in r)
  watched = RunDir(path / "sweep").records()[-1]
  of_each = [watched[f"valid_linear_{rate}"] for rate in ("0.4", "0.2")]
  assert watched["valid_linear"] == max(of_each)


def test_results_say_what_was_done(complete, config):
  path, summary = complete
  before = results.read(path.parent / "results.jsonl")
  assert linear_eval.run(config, RunDir(path)) == summary
  found = results.read(path.parent / "results.jsonl")
  assert found == before  # those of a complete run are there once
  assert [(each["protocol"], each["metric"]) for each in found] == [
    ("linear", "top_1"),
    ("linear", "top_5"),
  ]
  assert found[0]["value"] == summary["linear"]["encoder"]
  assert found[0]["setting"]["learning_rate"] == summary["learning_rate"]
  assert found[0]["config"]["augmentations"] == "crops"


class Killed(Exception):
  pass


def kill_in(kind, monkeypatch):
  """Ends the training of a class, and no other, after two steps."""

  def batches(self, first_step):
    for count, batch in enumerate(whole(self, first_step)):
      if count == 2 and type(self) is kind:
        raise Killed
      yield batch

  whole = LinearEval.batches
  monkeypatch.setattr(LinearEval, "batches", batches)


def kill(*args):
  raise Killed


def test_killed_anywhere_it_comes_to_the_same(config, complete, tmp_path, monkeypatch):
  path = tmp_path / "linear"
  monkeypatch.setattr(Subject, "look", lambda *args: None)  # for the time it takes
  for damage in (
    lambda patch: kill_in(Sweep, patch),
    lambda patch: patch.setattr(LinearEval, "show_views", kill),  # between both
    lambda patch: kill_in(LinearEval, patch),
    lambda patch: patch.setattr(classifiers, "record", kill),
  ):
    with monkeypatch.context() as patch:
      damage(patch)
      with pytest.raises(Killed):
        linear_eval.run(config, RunDir(path))
  assert not (tmp_path / "results.jsonl").exists()
  summary = linear_eval.run(config, RunDir(path))
  expected = complete[1]
  assert {k: v for k, v in summary.items() if k not in TIMES} == {
    k: v for k, v in expected.items() if k not in TIMES
  }
  subject = opened(config, tmp_path)
  for run, rates in (("checkpoints", [1.0]), ("sweep/checkpoints", [1.0, 1.0])):
    template = jax.eval_shape(LinearEval(subject, rates).init)
    states = [stored.load(p / run, template)[1] for p in (path, complete[0])]
    chex.assert_trees_all_equal(*states)
  assert len(results.read(tmp_path / "results.jsonl")) == 2


def test_one_rate_needs_no_sweep(config, tmp_path):
  one = changed(config, **{"optimiser.learning_rate": (0.1,), "train.steps": 1})
  one.data.on_device = True
  summary = linear_eval.run(one, RunDir(tmp_path / "linear"))
  assert (summary["learning_rate"], summary["held_out"]) == (0.1, [])
  assert summary["evaluated"]["checksum"] == load_encoder(one.encoder).checksum
  assert not (tmp_path / "linear" / "sweep").exists()
  step = stored.step_folders(tmp_path / "linear" / "checkpoints")[0]
  # No parameter of the encoder is saved with the classifier.
  size = sum(file.stat().st_size for file in step.rglob("*") if file.is_file())
  assert size < 2**16


@pytest.mark.parametrize("name", ["crops", "pretraining"])
def test_augmentations_are_those_asked_for(config, tmp_path, name):
  asked = changed(config, augmentations=name)
  experiment = LinearEval(opened(asked, tmp_path), [0.1])
  batch = experiment.inputs.first_batch([experiment.view])
  batch = jax.tree.map(lambda x: x[0, 0], batch)
  crops = np.asarray(batch["view1"]) / np.float32(255)
  draw = jax.jit(experiment.augmented.of_step)
  (first,), (again,), (next_,) = (draw(jnp.int32(s), batch) for s in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  if name == "crops":
    np.testing.assert_allclose(first, crops, atol=1e-6)
    np.testing.assert_allclose(next_, crops, atol=1e-6)
  else:
    assert np.abs(first - crops).mean() > 0.01
    assert np.abs(first - next_).mean() > 0.01


def part_labelled(monkeypatch, train, test):
  """A set of photographs, of which those at some places have no label."""
  whole = datasets.open_dataset("photos", None)
  splits = {}
  for split, without in (("train", train), ("test", test)):
    source = whole.split(f"{split}[:45]")
    labels = source.labels.copy()
    labels[without] = -1
    splits[split] = source.images, labels
  some = ArrayDataset("some", splits)
  monkeypatch.setitem(datasets.DATASETS, "some", lambda data_dir: some)
  return {"data.name": "some", "data.train": "train", "data.test": "test"}


def test_images_without_a_label_are_left_out_of_what_is_trained_on(
  config, tmp_path, monkeypatch, caplog
):
  some = part_labelled(monkeypatch, np.s_[1:31:2], np.s_[:0])
  subject = opened(
    changed(config, **some, **{"train.steps": None, "train.epochs": 4.0}), tmp_path
  )
  assert "train: 15 of 45 images have no label, and are left out" in caplog.text
  # Four times 30 images in batches of 16.
  assert subject.config.train.steps == round(4 * 30 / 16)
  for experiment in (
    LinearEval(subject, [0.1]),
    Sweep(linear_eval._on(subject, FIT, HELD_OUT), [0.1, 0.2]),
  ):
    batches = list(experiment.batches(0))
    assert min(int(batch["label"].min()) for batch in batches) >= 0


def test_all_is_fitted_to_in_the_end_and_epochs_are_of_that(
  config, tmp_path, monkeypatch
):
  fitted = []

  def run(experiment, run_dir):
    data, train = experiment.config.data, experiment.config.train
    fitted.append((data.train, len(experiment.inputs.train), train.steps))
    return {"of_all": [{"learning_rate": 0.2, "top_1": 0.5}]}

  monkeypatch.setattr(linear_eval, "_run", run)
  asked = changed(
    config,
    **{"data.train": "train[:64]", "data.valid": "train[64:160]"},
    **{"train.steps": None, "train.epochs": 2.0},
  )
  subject = opened(asked, tmp_path)
  linear_eval._trained(subject._replace(run_dir=RunDir(tmp_path, writes=False)))
  steps = 2 * 160 // 16
  assert fitted == [(FIT, 64, steps), ("train[:64]+train[64:160]", 160, steps)]
  # Results name both by themselves.
  assert (subject.config.data.train, subject.config.data.valid) == (
    "train[:64]",
    "train[64:160]",
  )


def test_every_test_image_counts_once_and_those_without_a_label_do_not(
  config, tmp_path, monkeypatch, caplog
):
  some = part_labelled(monkeypatch, np.s_[:0], np.s_[:5])
  subject = opened(changed(config, **some), tmp_path)
  labels = labels_of(subject.dataset.split("test"))
  experiment = LinearEval(subject, [0.1, 0.2])
  state = experiment.init()
  # A bias that always says class 3 is right as often as class 3 occurs; one that says
  # nothing is never right.
  bias = jnp.zeros((2, experiment.inputs.classes)).at[0, 3].set(1.0)
  state.classifiers["classifier"]["b"] = bias
  images, (always_3, nothing) = experiment.accuracies(state)
  assert images == 40
  assert always_3["top_1"] == pytest.approx(np.mean(labels == 3))
  assert (nothing["top_1"], nothing["top_5"]) == (0, 0)
  assert "test: 5 of 45 images have no label, and are left out" in caplog.text


def test_grey_images_are_shown_in_colour(config, tmp_path):
  subject = opened(config, tmp_path)
  grey = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 1), dtype=np.uint8)
  data = ArrayDataset("grey", {"train": (grey, np.arange(32) % 4)})
  subject.config.data.update(train="train", test="train")
  experiment = LinearEval(
    subject._replace(dataset=WithParts(data, {}, channels=3)), [0.1]
  )
  view = next(experiment.batches(0))["view1"]
  assert view.shape[-1] == 3
  np.testing.assert_array_equal(view[..., 0], view[..., 2])


def test_another_encoder_in_its_place_is_noticed(encoder, config, tmp_path, complete):
  path = tmp_path / "encoder.safetensors"
  shutil.copy(encoder, path)
  shutil.copytree(complete[0], tmp_path / "linear")
  saved = json.loads((tmp_path / "linear" / "config.json").read_text())
  saved["encoder"] = str(path)
  (tmp_path / "linear" / "config.json").write_text(json.dumps(saved))
  path.unlink()
  broken(encoders.make("group", depth=10, stem="patch"), 0.5).save(path)
  with pytest.raises(UserError, match=r"is another encoder than it was when .* began"):
    linear_eval.run(changed(config, encoder=str(path)), RunDir(tmp_path / "linear"))


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"encoder": None}, "name the encoder to evaluate"),
    ({"encoder": "/nowhere"}, "no checkpoint at /nowhere"),
    ({"data.size": 20}, r"saw images of size 16, not 20: leave out data\.size"),
    ({"data.eval_fraction": 0.5}, "saw images of eval_fraction 1.0, not 0.5: leave"),
    ({"augmentations": "all"}, "no set of augmentations 'all': choose one of crops, p"),
    (
      {"optimiser.learning_rate": (0.1, 0)},
      r"learning_rate is \(0.1, 0\): give more than 0, each",
    ),
    ({"data.held_out": 64}, "data.held_out is 64 of 64 images to train on: give 2 to"),
    ({"data.train": "train[:1]"}, "1 images to train on are too few to hold some out"),
    ({"train.steps": 0}, "train.steps is 0: give 1 to"),
    ({"logits.penalty": -1.0}, "logits.penalty is -1.0: give 0 or more"),
  ],
)
def test_mistakes_are_told_before_anything_is_written(
  config, tmp_path, settings, message
):
  with pytest.raises(UserError, match=message):
    linear_eval.run(changed(config, **settings), RunDir(tmp_path / "linear"))
  assert not (tmp_path / "linear").exists()


def test_features_are_looked_at_first(config, tmp_path, caplog):
  subject = opened(config, tmp_path)
  collapsed = subject._replace(encoder=broken(subject.encoder, 0.01))
  collapsed.look("train[:64]", images=8)
  assert "has collapsed, or was not trained: 1.0" in caplog.text
  diverged = subject._replace(encoder=broken(subject.encoder, np.nan))
  with pytest.raises(UserError, match="are NaN or infinite: the network has diverged"):
    diverged.look("train[:64]", images=8)


def test_what_labels_lack_is_said(config, tmp_path, caplog):
  subject = opened(config, tmp_path)
  classes = subject.dataset.split("train").num_classes
  every = np.arange(classes)
  caplog.clear()  # of what opening has logged, if other tests have let it
  subject.check_classes({"a": every})
  assert not caplog.text
  subject.check_classes({"a": every[2:]})
  assert (
    f"2 of {classes} classes have no image in the split 'a', such as class 0"
    in caplog.text
  )
  with pytest.raises(UserError, match=r"split 'b' has one class .* 3 images: give im"):
    subject.check_classes({"b": np.array([3, 3, 3])})
  with pytest.raises(UserError, match=r"what is held out has .*: choose settings by"):
    subject.check_classes({HELD_OUT: np.array([3, 3])})


def test_a_split_is_opened_once(config, tmp_path):
  data = opened(config, tmp_path).dataset
  assert data.split("train[:64]") is data.split("train[:64]")


def test_a_test_split_that_was_trained_on_is_said(config, tmp_path, caplog):
  opened(changed(config, **{"data.test": "train[:64]"}), tmp_path)
  assert "64 of the 64 images of 'train[:64]', to test on, are in" in caplog.text


def test_views_are_drawn(config, tmp_path):
  path = linear_eval.show_views(config, tmp_path / "figures")
  assert path.read_bytes().startswith(b"\x89PNG")
  assert [p.name for p in tmp_path.iterdir()] == ["figures"]


def test_a_step_is_that_of_all_devices_and_of_each_classifier_by_itself(
  config, tmp_path
):
  experiment = LinearEval(opened(config, tmp_path), [0.1, 0.1])
  batch = next(experiment.batches(0))
  state = experiment.init()
  diverged = state.classifiers["classifier"]["w"].at[1].set(np.nan)
  state.classifiers["classifier"]["w"] = diverged
  state, scalars = parallel.pmap(experiment.step)(parallel.replicate(state), batch)
  # The other one, by hand, of the images of all devices.
  images = np.asarray(batch["view1"]).reshape(-1, 16, 16, 3)
  labels = np.asarray(batch["label"]).reshape(-1)
  x = experiment.encoder(images)
  error = np.full((len(x), experiment.inputs.classes), 1 / experiment.inputs.classes)
  error[np.arange(len(x)), labels] -= 1
  rate = 0.1 * 16 / 256 * 1.9  # Nesterov's first step is (1 + 0.9) times the gradient
  expected = -rate * x.T @ error / len(x)
  found = state.classifiers["classifier"]["w"][0]
  np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)
  assert float(scalars["learning_rate"]) == pytest.approx(0.1 * 16 / 256)
  assert float(scalars["loss"]) == pytest.approx(np.log(experiment.inputs.classes))
  assert float(scalars["update_norm"]) > 0
