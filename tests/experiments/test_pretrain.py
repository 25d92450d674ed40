"""Pretraining end to end, on the embedded set with a tiny network."""

import functools
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import costs
from byol_jax import parallel
from byol_jax.data.sources import NO_LABEL
from byol_jax.errors import UserError
from byol_jax.run import loop
from byol_jax.run.folder import RunDir
from experiments import pretrain
from tests import tiny


def start(path, config):
  with RunDir(path) as run_dir:
    run_dir.claim(config)
    return loop.run(pretrain.Pretrain(config), config, run_dir)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A complete run of the tiny config: its folder and its summary."""
  path = tmp_path_factory.mktemp("runs") / "byol"
  return path, start(path, tiny.config("byol"))


def test_summary_has_accuracies_beside_both_baselines(run):
  path, summary = run
  assert json.loads((path / "summary.json").read_text()) == summary
  for probe in ("knn", "linear"):
    assert summary[probe].keys() == {"encoder", "untrained", "pixels"}
    assert all(0 <= value <= 1 for value in summary[probe].values())
  assert isinstance(summary["collapsed"], bool)
  assert {"spread", "effective_rank", "seconds", "images_per_second"} <= (
    summary.keys()
  )
  assert (summary["steps"], summary["images_seen"]) == (4, 64)
  assert summary["test_images"] == 40


def test_baselines_are_those_asked_for(run):
  config = tiny.config("byol_gn_ws")
  config.eval.baselines = ("pixels",)
  experiment = pretrain.Pretrain(config)
  summary = experiment.summarise(parallel.replicate(experiment.init()))
  for probe in ("knn", "linear"):
    assert summary[probe].keys() == {"encoder", "pixels"}
    assert summary[probe]["pixels"] == run[1][probe]["pixels"]


def test_an_unknown_baseline_is_refused():
  config = tiny.config()
  config.eval.baselines = ("untrained", "trained")
  with pytest.raises(UserError, match=r"unknown baseline 'trained' in eval\.baselines"):
    pretrain.Pretrain(config)


def test_a_probe_that_learns_what_it_is_tested_on_is_said(caplog):
  config = tiny.config()
  pretrain.Pretrain(config)
  assert "says nothing of new images" not in caplog.text
  config.probe.test = "train[60:70]"
  pretrain.Pretrain(config)
  assert "4 of the 10 images of 'train[60:70]', to test on, are in" in caplog.text
  config.probe.valid_train = "train[30:50]"
  pretrain.Pretrain(config)
  assert "10 of the 24 images of 'train[40:64]', to watch the run by" in caplog.text


def test_everything_is_watched_from_the_start(run):
  records = RunDir(run[0]).records()
  assert {"valid_spread", "valid_effective_rank", "valid_knn"} <= records[0].keys()
  assert records[0]["step"] == 0
  assert {
    "loss",
    "learning_rate",
    "tau",
    "gradient_norm",
    "update_norm",
    "spread",
    "alignment",
    "uniformity",
    "train_linear_online",
  } <= records[1].keys()


def test_splits_are_checked_before_anything_runs():
  config = tiny.config()
  config.probe.test = "validation"
  with pytest.raises(UserError, match="nothing for the split 'validation'"):
    pretrain.Pretrain(config)


def test_one_image_a_device_is_refused():
  message = r"is 2, one image for each of 2 microbatches .*: give 4 or more"
  with pytest.raises(UserError, match=message):
    pretrain.Pretrain(tiny.config(batch_size=jax.device_count()))


def test_views_are_drawn(tmp_path):
  path = pretrain.Pretrain(tiny.config()).show_views(tmp_path)
  assert path.read_bytes().startswith(b"\x89PNG")


def test_a_collapse_is_told_in_plain_words(caplog):
  experiment = pretrain.Pretrain(tiny.config())
  state = experiment.init()
  dead = jax.tree.map(jnp.zeros_like, state.online)
  with caplog.at_level("WARNING"):
    found = experiment.evaluate(state._replace(online=dead))
  assert found["valid_collapsed"]
  assert "the representation has collapsed" in caplog.text


def test_an_untrained_batch_norm_network_has_usable_statistics():
  experiment = pretrain.Pretrain(tiny.config("byol"))
  found = experiment.evaluate(experiment.init())
  assert 0.1 < found["valid_spread"] <= 1


@functools.cache
def three_steps(microbatches, on_device=False):
  """An experiment, its state after three steps and the batch of the third."""
  config = tiny.config(batch_size=4 * jax.device_count(), accumulate=microbatches)
  config.data.on_device = on_device
  experiment = pretrain.Pretrain(config)
  state = parallel.replicate(experiment.init())
  update = parallel.pmap(experiment.step)
  for batch, _ in zip(experiment.batches(0), range(3), strict=False):
    state, _ = update(state, batch)
  assert int(state.step) == 3
  return experiment, state, batch


def test_accumulation_gives_the_whole_batchs_update():
  # Where no statistics are shared, microbatches and the whole are the same.
  states = [three_steps(microbatches)[1] for microbatches in (1, 2)]
  chex.assert_trees_all_close(states[0].online, states[1].online, atol=1e-4)
  chex.assert_trees_all_close(states[0].target, states[1].target, atol=1e-4)


def test_the_online_classifier_goes_by_labelled_images_however_they_are_spread():
  found = []
  for microbatches in (1, 2):
    size = 4 * jax.device_count()
    config = tiny.config(batch_size=size, accumulate=microbatches)
    experiment = pretrain.Pretrain(config)
    batch = dict(next(experiment.batches(0)))
    # One image of the whole batch has a label, on the first device.
    labels = np.full(batch["label"].size, NO_LABEL, np.int32)
    labels[0] = batch["label"].reshape(-1)[0]
    batch["label"] = labels.reshape(batch["label"].shape)
    state = parallel.replicate(experiment.init())
    after, scalars = parallel.pmap(experiment.step)(state, batch)
    found.append((after.online["classifier"], scalars["classifier_loss"]))
  chex.assert_trees_all_close(*found, rtol=1e-4)
  assert float(found[0][1]) > 1  # of 16 classes, untrained: not a share of it


def test_of_a_batch_without_labels_there_is_no_accuracy():
  experiment = pretrain.Pretrain(tiny.config(batch_size=4 * jax.device_count()))
  batch = dict(next(experiment.batches(0)))
  batch["label"] = np.full_like(batch["label"], NO_LABEL)
  state = parallel.replicate(experiment.init())
  before = jax.device_get(state.online["classifier"])
  after, scalars = parallel.pmap(experiment.step)(state, batch)
  assert np.isnan(scalars["train_linear_online"])
  assert np.isnan(scalars["classifier_loss"])
  assert np.isfinite(scalars["loss"])
  for weight in jax.tree.leaves(after.online):
    assert np.isfinite(weight).all()
  biases = [jax.tree.leaves(t)[0] for t in (before, after.online["classifier"])]
  np.testing.assert_array_equal(*biases)  # which have no weight decay


def test_images_that_live_on_the_device_make_the_same_run():
  experiment, state, batch = three_steps(2, on_device=True)
  expected = three_steps(2)[1]
  chex.assert_trees_all_close(state.online, expected.online, atol=1e-4)
  chex.assert_trees_all_close(state.target, expected.target, atol=1e-4)
  chex.assert_trees_all_equal(next(experiment.batches(2)), batch)  # a restart
  # They are an argument of the program and no constant in it.
  program = parallel.pmap(experiment.step).lower(state, batch).as_text()
  assert max(map(len, program.splitlines())) < batch["images"].size


def test_bfloat16_keeps_what_is_learned_and_logged_in_float32():
  config = tiny.config("byol", precision="bfloat16")
  config.optimiser.name = "adam"  # it has two moments of each parameter
  experiment = pretrain.Pretrain(config)
  update = parallel.pmap(experiment.step)
  state, scalars = jax.eval_shape(update, *costs.step_shapes(experiment))
  assert {leaf.dtype for leaf in jax.tree.leaves(scalars)} == {jnp.dtype("float32")}
  counts = [leaf for leaf in jax.tree.leaves(state) if leaf.dtype != jnp.float32]
  assert {(leaf.shape, str(leaf.dtype)) for leaf in counts} == {((), "int32")}


def test_target_follows_the_new_online_parameters():
  experiment = pretrain.Pretrain(tiny.config())
  before = parallel.replicate(experiment.init())
  update = parallel.pmap(experiment.step)
  batches = experiment.batches(0)
  middle, _ = update(before, next(batches))
  after, scalars = update(middle, next(batches))
  tau = float(scalars["tau"])
  expected = jax.tree.map(
    lambda t, o: tau * t + (1 - tau) * o,
    middle.target,
    {module: after.online[module] for module in after.target},
  )
  chex.assert_trees_all_close(after.target, expected, atol=1e-6)
  assert not any(m.startswith("predictor") for m in after.target)
