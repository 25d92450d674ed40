"""One run of fine-tuning: its updates, its statistics, its accuracies."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from byol_jax import parallel
from byol_jax.data.parts import WithParts
from byol_jax.data.sources import ArrayDataset
from byol_jax.errors import Diverged
from byol_jax.nets import model
from experiments.downstream import finetune
from tests.formats import encoders

CLASSES, RATE, DECAY = 4, 0.2, 0.5
LABELS = np.array([0, 1, 2, 3, 0, 0, 0, 1])


TRUTH = np.arange(CLASSES) <= LABELS[:, None]  # class 0 is in every image


class OfSeveralClasses(ArrayDataset):
  """The same images, of their class and all before it."""

  def truth(self, spec):
    return TRUTH


def make(encoder, kind=ArrayDataset, **changes):
  """A run of 5 steps on eight images of noise, in batches of all of them."""
  images = encoders.images(encoder, len(LABELS))
  settings = {"weight_decay": DECAY, "statistics_decay": 0.75, "schedule": "cosine"}
  config = ConfigDict(
    {
      "seed": 0,
      "data": {
        "train": "train",
        "test": "test",
        "size": 16,
        "eval_fraction": 1.0,
        "mean": encoder.description.image.mean,
        "std": encoder.description.image.std,
        "workers": 0,
        "on_device": False,
        "max_unreadable": 0.0,
      },
      "view": {"crop_area": (0.5, 1.0), "crop_aspect": (1.0, 1.0), "flip": 0.5},
      "optimiser": {"learning_rate": RATE, "momentum": 0.9} | settings | changes,
      "train": {"steps": 5, "batch_size": len(LABELS), "accumulate": 1},
      "metrics": ("top_1", "mean_per_class"),
      "eval": {"batch_size": 4},
    }
  )
  split = images, LABELS
  dataset = kind("noise", {"train": split, "test": split})
  parts = WithParts(dataset, numbered=kind is OfSeveralClasses)
  return finetune.Finetune(config, encoder, parts)


def on_devices(experiment, state, batch, devices):
  """A step, the batch spread over so many devices."""
  split = {
    name: x[:devices] if name == "truth" else x.reshape(devices, 1, -1, *x.shape[3:])
    for name, x in batch.items()
  }
  return jax.tree.map(lambda x: x[0], mapped(experiment)(state, split))


@functools.cache
def mapped(experiment):
  step = jax.vmap(experiment.step, in_axes=(None, 0), axis_name=parallel.AXIS)
  return jax.jit(step)


@pytest.fixture(scope="module")
def first(encoder):
  """The state before and after the first step on two devices; batch and scalars."""
  experiment = make(encoder)
  state, batch = experiment.init(), next(experiment.batches(0))
  after, scalars = on_devices(experiment, state, batch, 2)
  return experiment, state, batch, after, scalars


def test_the_first_step_is_that_by_hand(first):
  # The classifier is zero: every class has probability 1 / 4, and no gradient reaches
  # the encoder, whose weights decay. Nesterov's first step is 1.9 gradients.
  _, before, _, after, scalars = first
  assert scalars["loss"] == pytest.approx(np.log(CLASSES))
  assert scalars["learning_rate"] == pytest.approx(RATE)
  share = np.bincount(LABELS) / len(LABELS)
  bias = after.online["classifier"]["b"]
  np.testing.assert_allclose(bias, 1.9 * RATE * (share - 1 / CLASSES), rtol=1e-5)
  for module, values in before.online.items():
    if module != "classifier":
      for name, value in values.items():
        left = 1 - 1.9 * RATE * DECAY if name == "w" else 1
        np.testing.assert_allclose(after.online[module][name], left * value, rtol=1e-5)


def test_running_statistics_go_on_from_those_of_the_encoder(first, encoder):
  experiment, _, batch, after, _ = first
  crops = experiment.inputs.standardise(
    np.asarray(batch["view1"]).reshape(-1, 16, 16, 3) / np.float32(255)
  )
  name = next(n for n in encoder.stats if n.endswith("mean_ema"))
  # What a network keeps that has none yet are the statistics of its first batch.
  network = model.make_encoder(encoder.description.network)
  none = jax.tree.map(jnp.zeros_like, encoder.stats)
  _, of_batch = jax.jit(network.train)(encoder.params, none, crops)
  expected = 0.75 * encoder.stats[name]["average"] + 0.25 * of_batch[name]["average"]
  np.testing.assert_allclose(after.online_stats[name]["average"], expected, atol=1e-5)


def test_one_device_learns_what_two_do(first):
  experiment, _, batch, one_step, _ = first
  two = on_devices(experiment, one_step, batch, 2)
  one = on_devices(experiment, one_step, batch, 1)
  assert two[1]["learning_rate"] == pytest.approx(RATE * (1 + np.cos(np.pi / 5)) / 2)
  for ours, theirs in zip(jax.tree.leaves(two), jax.tree.leaves(one), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_each_image_is_tested_once_and_nothing_is_on_the_way(encoder):
  experiment = make(encoder)
  state = experiment.init()
  # Of the first class alone, which half of the images are of.
  state.online["classifier"]["b"] = jnp.array([1.0, 0, 0, 0])
  found = experiment.summarise(parallel.replicate(state))
  assert found == {"test_images": 8, "top_1": 0.5, "mean_per_class": 0.25}
  assert experiment.evaluate(state) == {}
  state.online["classifier"]["b"] = jnp.array([np.nan, 0, 0, 0])
  with pytest.raises(Diverged, match="NaN or infinity of test images: lower the"):
    experiment.summarise(parallel.replicate(state))


def test_the_encoder_outlives_its_runs(encoder):
  # The loop gives a state's memory away, and the next run of a sweep starts here again.
  on_device = dataclasses.replace(
    encoder,
    params=jax.tree.map(jnp.array, encoder.params),
    stats=jax.tree.map(jnp.array, encoder.stats),
  )
  for leaf in jax.tree.leaves(make(on_device).init()):
    leaf.delete()
  kept = jax.tree.leaves((on_device.params, on_device.stats))
  assert not any(leaf.is_deleted() for leaf in kept)


def test_images_of_several_classes_have_a_sigmoid_for_each(encoder):
  # Every class has probability 1 / 2 at first.
  experiment = make(encoder, OfSeveralClasses)
  batch = next(experiment.batches(0))
  after, scalars = on_devices(experiment, experiment.init(), batch, 2)
  assert scalars["loss"] == pytest.approx(CLASSES * np.log(2))
  bias = after.online["classifier"]["b"]
  np.testing.assert_allclose(bias, 1.9 * RATE * (TRUTH.mean(0) - 1 / 2), rtol=1e-5)
  experiment.config.metrics = ("average_precision_11",)
  found = experiment.summarise(parallel.replicate(experiment.init()))
  # All images have the same scores, so that wrong ones come first.
  ranked = [np.arange(1, n + 1) / (8 - n + np.arange(1, n + 1)) for n in TRUTH.sum(0)]
  assert found["average_precision_11"] == pytest.approx(
    np.mean([each.max() for each in ranked])
  )
