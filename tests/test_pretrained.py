"""The encoder of a run: what it gives is what the run's own evaluation saw."""

import json
import pickle
import shutil
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

import byol_jax
from byol_jax import features, parallel, pretrained
from byol_jax.errors import UserError
from byol_jax.run import loop, stored
from byol_jax.run.folder import RunDir
from experiments import evaluation, pretrain
from tests import tiny
from tests.formats import encoders

GOLDEN = Path(__file__).parent / "golden"


def noise(*shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# A run of version 0.1, which wrote no encoder.json, and what it made of some images.


@pytest.fixture(scope="module")
def golden():
  return np.load(GOLDEN / "features.npz")


@pytest.mark.parametrize(
  ("path", "which", "step"),
  [
    ("", "newest", 4),
    ("", "best", 2),
    ("", 2, 2),
    ("", "4", 4),
    ("checkpoints", "newest", 4),
    ("checkpoints/2", "newest", 2),
  ],
)
def test_a_run_of_version_0_1_opens(golden, path, which, step):
  encoder = byol_jax.load_encoder(GOLDEN / "run" / path, which)
  assert encoder.step == step
  found = encoder(golden["images"])
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, golden[f"step{step}"], atol=1e-5)


def test_the_whole_state_of_version_0_1_is_read():
  config = tiny.config("byol")
  saved = json.loads((GOLDEN / "run" / "config.json").read_text())
  for part in ("encoder", "projector", "predictor"):
    config[part].update(saved[part])
  template = jax.eval_shape(pretrain.Pretrain(config).init)
  step, state = stored.load(GOLDEN / "run", template)
  assert step == int(state.step) == 4


# A run of this version.


@pytest.fixture(scope="module", params=["byol", "byol_gn_ws"])
def run(request, tmp_path_factory):
  """A complete run, its experiment and its summary."""
  config = tiny.config(request.param)
  config.data.eval_fraction = 0.875
  config.eval.baselines = ()
  path = tmp_path_factory.mktemp("runs") / request.param
  summary = pretrain.run(config, RunDir(path))
  return path, pretrain.Pretrain(config), summary


def test_features_are_those_of_the_runs_summary(run):
  path, experiment, summary = run
  encoder = byol_jax.load_encoder(path)
  train, test = (
    features.of_encoder(encoder, experiment.inputs.source(split), batch_size=16)
    for split in (experiment.config.probe.train, experiment.config.probe.test)
  )
  for probe in evaluation.PROBES:
    assert evaluation.accuracy(probe, train, test) == summary[probe]["encoder"]
  source = experiment.inputs.source(experiment.config.probe.test)
  found = encoder(source.images)
  np.testing.assert_allclose(found, test["embedding"], atol=1e-5)
  np.testing.assert_array_equal(source.labels, test["label"])


def test_the_data_set_need_not_be_there(run, monkeypatch):
  def gone(*_):
    raise AssertionError("the data set was asked for")

  for name in ("byol_jax.data.datasets.open_dataset", "byol_jax.data.photos.load"):
    monkeypatch.setattr(name, gone)
  assert byol_jax.load_encoder(run[0])(noise(2, 20, 20, 3)).shape == (2, 64)


def test_any_size_is_cropped_as_in_evaluation(run):
  encoder = byol_jax.load_encoder(run[0])
  # Of 28 x 40 pixels the central 24 x 24, resized to 16 x 16.
  images = noise(3, 28, 40, 3)
  middle = images[:, 2:26, 8:32]
  whole = pretrained.Encoder(
    encoder.params,
    encoder.stats,
    encoder.description._replace(image=encoder.description.image._replace(crop=1.0)),
    encoder.step,
  )
  np.testing.assert_allclose(encoder(images), whole(middle), atol=1e-6)


def test_the_batch_size_changes_nothing(run):
  encoder = byol_jax.load_encoder(run[0])
  images = noise(7, 16, 16, 3)
  for size in (1, 3, 7, 100):
    found = encoder(images, batch_size=size)
    np.testing.assert_allclose(found, encoder(images), atol=1e-5)
  assert encoder(images[:0]).shape == (0, encoder.features)


@pytest.mark.parametrize(
  ("images", "message"),
  [
    (
      np.zeros((2, 8, 8, 3), np.float32),
      r"images are float32\[2, 8, 8, 3\]: give",
    ),
    (np.zeros((8, 8, 3), np.uint8), r"\[8, 8, 3\].*one image as image\[None\]"),
    (np.zeros((2, 8, 8, 1), np.uint8), "1 channels, and the encoder was trained on 3"),
    (np.zeros((2, 0, 8, 3), np.uint8), r"\[2, 0, 8, 3\]"),
  ],
)
def test_images_of_another_form_are_refused(run, images, message):
  with pytest.raises(UserError, match=message):
    byol_jax.load_encoder(run[0])(images)


def test_it_may_compute_in_another_precision(run):
  encoder = byol_jax.load_encoder(run[0], precision="bfloat16")
  found = encoder(noise(4, 16, 16, 3))
  assert found.dtype == np.float32
  exact = byol_jax.load_encoder(run[0])(noise(4, 16, 16, 3))
  assert 0 < np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)


def test_the_folder_says_what_an_image_must_look_like(run):
  path, experiment, _ = run
  found = json.loads((path / "encoder.json").read_text())
  assert found == {
    "format": 2,
    "network": experiment.config.encoder.to_dict(),
    "precision": "float32",
    "image": {
      "size": 16,
      "channels": 3,
      "mean": list(experiment.config.data.mean),
      "std": list(experiment.config.data.std),
      "crop": 0.875,
    },
  }


def test_grey_images_give_a_grey_encoder(tmp_path, monkeypatch):
  from byol_jax.data import datasets, photos, sources

  grey = {s: (images[..., :1], y) for s, (images, y) in photos.load().items()}
  opened = sources.ArrayDataset("photos", grey)
  monkeypatch.setitem(datasets.DATASETS, "photos", lambda _: opened)
  config = tiny.config("byol_gn_ws", steps=2)
  config.data.update(mean=(0.5,), std=(0.25,))
  config.eval.baselines = ()
  pretrain.run(config, RunDir(tmp_path / "run"))
  for remove in ("nothing.json", "encoder.json"):  # the latter is read off config.json
    (tmp_path / "run" / remove).unlink(missing_ok=True)
    encoder = byol_jax.load_encoder(tmp_path / "run")
    assert encoder.description.image.channels == 1
    assert encoder(noise(2, 16, 16, 1)).shape == (2, 64)


def test_it_can_be_sent_to_another_process(run):
  encoder = byol_jax.load_encoder(run[0])
  images = noise(2, 16, 16, 3)
  expected = encoder(images)  # its programs stay behind
  copy = pickle.loads(pickle.dumps(encoder))
  np.testing.assert_array_equal(copy(images), expected)
  assert copy.description == encoder.description


def test_a_path_may_go_up_and_down(run, monkeypatch):
  monkeypatch.chdir(run[0] / "checkpoints")
  assert byol_jax.load_encoder("..").step == 4
  assert byol_jax.load_encoder(f"../../{run[0].name}/checkpoints/./4").step == 4


@pytest.mark.parametrize("size", [0, -1, None, 2.5, "2"])
def test_a_batch_size_that_is_none_is_refused(run, size):
  with pytest.raises(UserError, match=r"batch_size is .*: give a whole number"):
    byol_jax.load_encoder(run[0])(noise(2, 16, 16, 3), batch_size=size)


def test_images_of_several_sizes_are_refused(run):
  with pytest.raises(UserError, match=r"of several sizes: give them one by one"):
    byol_jax.load_encoder(run[0])([noise(8, 8, 3), noise(9, 8, 3)])


# What can be wrong with a folder.


@pytest.fixture
def copy(tmp_path):
  return Path(shutil.copytree(GOLDEN / "run", tmp_path / "run"))


@pytest.mark.parametrize(
  ("which", "message"),
  [
    (3, r"no checkpoint 3: choose \"newest\", \"best\" or one of the steps 2, 4"),
    ("last", "no checkpoint 'last': choose"),
  ],
)
def test_a_checkpoint_that_is_not_there(which, message):
  with pytest.raises(UserError, match=message):
    byol_jax.load_encoder(GOLDEN / "run", which)


def test_a_folder_that_is_no_run(tmp_path):
  with pytest.raises(UserError, match=r"no checkpoint at .*: give the folder of a run"):
    byol_jax.load_encoder(tmp_path)


def test_best_needs_scores(copy):
  for step in (2, 4):
    shutil.rmtree(copy / "checkpoints" / str(step) / "metrics")
  with pytest.raises(UserError, match="has a score, as before a run's first eval"):
    byol_jax.load_encoder(copy, "best")
  assert byol_jax.load_encoder(copy).step == 4


def test_the_best_is_not_replaced_by_another(copy):
  for path in (copy / "checkpoints" / "2").rglob("d/*"):
    path.write_bytes(b"")
  with pytest.raises(
    UserError, match=r"no checkpoint in .* used; step 2: it is damaged"
  ):
    byol_jax.load_encoder(copy, "best")
  assert byol_jax.load_encoder(copy).step == 4


def test_the_newest_is_the_newest_that_is_whole(copy):
  for path in (copy / "checkpoints" / "4").rglob("d/*"):
    path.write_bytes(b"")
  assert byol_jax.load_encoder(copy).step == 2


def test_a_checkpoint_by_another_name(copy):
  (copy / "checkpoints" / "4").rename(copy / "mine")
  with pytest.raises(UserError, match=r"mine is a checkpoint: rename it to its step"):
    byol_jax.load_encoder(copy / "mine")


@pytest.mark.parametrize("run", [None, "", 5, b"x", ["x"]])
def test_what_is_no_path_is_refused(run):
  with pytest.raises(UserError):
    byol_jax.load_encoder(run)


def test_a_run_goes_on_where_version_0_1_left_it(tmp_path):
  config = tiny.config("byol", steps=6)
  saved = json.loads((GOLDEN / "run" / "config.json").read_text())
  assert saved["train"]["steps"] == 4
  folder = Path(shutil.copytree(GOLDEN / "run", tmp_path / "run"))
  (folder / "summary.json").unlink()
  for part in ("encoder", "projector", "predictor", "data", "probe"):
    config[part].update(saved[part])
  experiment = pretrain.Pretrain(config)
  with RunDir(folder) as run_dir:
    loop.run(experiment, config, run_dir)
    assert [r["step"] for r in run_dir.records()][-3:] == [4, 5, 6]
  assert parallel.is_first_host()


@pytest.mark.parametrize("norm", ["batch", "group", "affine", "none"])
def test_before_training_images_differ_too(norm):
  encoder = encoders.make(norm)
  crops = encoders.images(encoder, 8)
  params, stats = encoder.untrained(crops)
  chex.assert_trees_all_equal_shapes_and_dtypes(
    (params, stats), (encoder.params, encoder.stats)
  )
  found = np.asarray(encoder.embed(params, stats, encoders.images(encoder, 4, seed=2)))
  assert np.isfinite(found).all()
  apart = np.linalg.norm(found[:, None] - found, axis=-1)[np.triu_indices(4, 1)]
  assert apart.min() > 1e-3 * np.linalg.norm(found)
  if norm == "batch":  # with statistics of its own the batch is as in training
    trained, _ = encoder.network.train(params, stats, encoder._standardised(crops))
    np.testing.assert_allclose(encoder.embed(params, stats, crops), trained, atol=1e-4)
