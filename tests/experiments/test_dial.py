"""What is left open is chosen, and what is given stays."""

import numpy as np
import pytest
from absl import logging

from byol_jax.data.sources import ArrayDataset
from byol_jax.data.splits import shared
from byol_jax.description import ImageForm
from byol_jax.errors import UserError
from configs import linear_eval, presets
from experiments import choices, dial
from tests import tiny

FACTS = choices.Facts(
  sizes={"train": 5000},
  test=None,
  images=5000,
  channels=3,
  side=375,
  pixels=187_500,
  mean=(0.5,),
  std=(0.2,),
  accelerated=False,
  devices=1,
  cores=2,
  memory=None,
)


def dataset(count=5000, channels=3, labels=-1, side=8, **splits):
  shape = (side, side + 4, channels)
  sizes = {"train": count, **splits}
  return ArrayDataset(
    "mine",
    {
      split: (np.full((size, *shape), 51, np.uint8), np.full(size, labels))
      for split, size in sizes.items()
    },
  )


@pytest.fixture
def filled(monkeypatch):
  """Fills the preset for some facts, with some settings given."""

  def fill(given=(), saved=None, **facts):
    monkeypatch.setattr(dial, "measure", lambda *_: FACTS._replace(**facts))
    config = presets.folder()
    config.update_from_flattened_dict(dict(given))
    count = facts.get("images", FACTS.images)
    monkeypatch.setattr(ArrayDataset, "check", lambda self, spec: count)
    return dial.fill(config, dataset(10), saved)

  return fill


def test_nothing_is_left_open(filled):
  config = filled()
  assert not [name for name in choices.CHOICES if dial._get(config, name) is None]


def test_a_cpu_gets_a_small_network_and_twelve_minutes(filled):
  config = filled()
  assert (config.data.size, config.encoder.depth, config.encoder.width) == (64, 10, 0.5)
  assert config.train.batch_size == 128
  # By hand: 1440 s of a core at 7.5 + 0.5 + 0.6 ms an image are 167 442 images.
  assert config.train.epochs == 33.49
  assert config.train.steps == round(33.49 * 5000 / 128)
  assert config.optimiser.warmup == 0.2
  assert config.optimiser.predictor_multiplier == 10.0


def test_an_accelerator_gets_the_papers_network(filled):
  facts = {"accelerated": True, "images": 1_000_000, "memory": 80 * 2**30}
  config = filled(sizes={"train": 1_000_000}, cores=64, devices=8, **facts)
  assert (config.data.size, config.encoder.depth, config.encoder.width) == (
    224,
    50,
    1.0,
  )
  assert config.train.batch_size == 2048
  assert config.train.epochs == 100
  assert config.train.steps == round(100 * 1_000_000 / 2048)
  assert config.optimiser.learning_rate == 0.5  # 4.0 in all
  assert config.optimiser.warmup == 0.1  # 10 of 100 epochs
  assert config.optimiser.predictor_multiplier == 1.0
  assert config.data.workers == 16


@pytest.mark.parametrize(
  ("side", "accelerated", "size"),
  [
    (20, False, 32),
    (32, True, 32),
    (100, True, 64),
    (160, True, 128),
    (3000, True, 224),
    (3000, False, 64),
  ],
)
def test_the_size_is_one_that_images_and_hardware_have(filled, side, accelerated, size):
  data = filled(side=side, accelerated=accelerated).data
  assert data.size == size
  assert data.eval_fraction == (1.0 if side in (20, 32) else 0.875)


@pytest.mark.parametrize("images", [10, 200, 3000, 10**6])
@pytest.mark.parametrize("devices", [1, 2, 3, 8])
@pytest.mark.parametrize("accelerated", [False, True])
def test_batches_can_be_shared_by_the_devices(filled, images, devices, accelerated):
  config = filled(
    images=images,
    sizes={"train": images},
    devices=devices,
    accelerated=accelerated,
    memory=2**34 if accelerated else None,
  )
  train = config.train
  assert train.batch_size % (devices * train.accumulate) == 0
  assert train.batch_size // (devices * train.accumulate) >= 2
  assert train.batch_size <= max(images, 2 * devices)
  assert train.steps >= 1


def test_little_memory_means_more_microbatches(filled):
  found = [
    filled(accelerated=True, memory=gib * 2**30).train.accumulate for gib in (8, 16, 80)
  ]
  assert found[0] > found[1] > found[2] == 1


def test_what_is_given_stays_and_decides_the_rest(filled):
  given = {"data.size": 128, "train.batch_size": 32, "train.epochs": 3.0}
  config = filled(given)
  assert (config.data.size, config.train.batch_size) == (128, 32)
  assert config.train.steps == round(3 * 5000 / 32)
  assert config.views.view1.crop_area == (0.08, 1.0)
  assert filled({"train.steps": 7}).train.steps == 7
  assert filled({"train.steps": 7}).train.epochs is None


def test_a_run_that_goes_on_keeps_its_choices(filled):
  first = filled()
  again = filled(saved=first.to_dict(), accelerated=True, cores=64)
  assert again.to_dict() == first.to_dict()


def test_decoding_of_large_photographs_is_part_of_the_time(filled):
  # 1440 s at 7.5 + 0.5 + 38.4 ms an image.
  assert filled(pixels=12_000_000, side=3000).train.epochs == 6.21
  # Four times the pixels of a view.
  assert filled({"data.size": 128}).train.epochs == round(1440 / 0.0311 / 5000, 2)


def test_each_choice_is_logged_with_its_reason(filled, caplog):
  logging.set_verbosity(logging.INFO)
  with caplog.at_level("INFO", logger="absl"):
    filled()
  assert (
    "data.size = 64: a CPU takes 64, and images have about 375 pixels" in caplog.text
  )
  assert "train.epochs = 33.49: 2 cores see 167442 images in 12 minutes" in caplog.text


@pytest.mark.parametrize("channels", [1, 4])
def test_pixels_are_measured_where_they_are_not_the_colours_of_photographs(channels):
  config = dial.fill(presets.folder(), dataset(20, channels=channels))
  assert config.data.mean == (0.2,) * channels  # 51 of 255
  assert config.data.std == (0.01,) * channels  # at least
  assert config.data.size == 32


@pytest.mark.parametrize(
  ("given", "wanted"),
  [
    ({}, ("train", "train[:20]", "train[20:180]", "train[:20]")),
    ({"labels": 1}, ("train[:90%]", "train[90%:]", "train[20:180]", "train[:20]")),
    ({"labels": 1, "val": 9}, ("train", "val", "train[20:180]", "train[:20]")),
    ({"val": 9, "test": 9}, ("train", "test", "train[20:180]", "train[:20]")),
    (
      {"unlabelled": 50, "test": 9},
      ("train+unlabelled", "test", "train[20:180]", "train[:20]"),
    ),
    (
      {"unlabelled": 50, "labels": 1},
      ("train[:90%]+unlabelled", "train[90%:]", "train[20:180]", "train[:20]"),
    ),
  ],
)
def test_splits(given, wanted):
  config = dial.fill(presets.folder(), dataset(200, **given))
  probe = config.probe
  assert (config.data.train, probe.test, probe.valid_train, probe.valid_test) == wanted


@pytest.mark.parametrize(
  ("labelled", "wanted"),
  [
    (("train",), None),  # Kaggle's test split
    (("train", "val"), "val"),
    (("train", "val", "test"), "test"),
    (("val",), "val"),
    ((), "test"),
  ],
)
def test_images_without_labels_are_not_for_testing_where_others_have_some(
  labelled, wanted
):
  images = np.zeros((40, 8, 8, 3), np.uint8)
  labels = {name: np.arange(40) % 2 for name in labelled}
  of_set = ArrayDataset(
    "mine",
    {
      name: (images, labels.get(name, np.full(40, -1)))
      for name in ("train", "val", "test")
    },
  )
  assert choices.testing(of_set) == wanted
  config = dial.fill(presets.folder(), of_set)
  assert config.probe.test == (wanted or "train[90%:]")
  assert config.data.train == ("train" if wanted else "train[:90%]")


@pytest.mark.parametrize("train", [None, "train"])
def test_probes_do_not_learn_the_labels_that_they_are_tested_on(train):
  config = presets.folder()
  config.data.train = train
  of_set = dataset(200, labels=1)
  probe = dial.fill(config, of_set).probe
  assert shared("made", probe.test, probe.train, of_set.sizes) == 0


def test_too_few_images():
  with pytest.raises(UserError, match=r"too few images to train on \(9\): give 10 or"):
    dial.fill(presets.folder(), dataset(9))
  config = dial.fill(presets.folder(), dataset(10))
  assert config.train.batch_size <= 10


def test_a_set_without_a_split_to_train_on():
  images = np.zeros((20, 8, 8, 3), np.uint8), np.zeros(20, int)
  with pytest.raises(UserError, match=r"no split train, but test: set data.train"):
    dial.fill(presets.folder(), ArrayDataset("mine", {"test": images}))


@pytest.mark.parametrize("preset", sorted(presets.PRESETS.keys() - {"folder"}))
def test_other_presets_leave_nothing_open(preset):
  config = presets.get(preset)
  assert dial._open(config) == []
  assert dial.fill(config, dataset(100)).to_dict() == config.to_dict()


def test_epochs_in_any_preset():
  config = presets.get("embedded")
  config.train.epochs = 2.5
  config.data.train = "train[:80%]"
  steps = dial.fill(config, dataset(1000)).train.steps
  assert steps == round(2.5 * 800 / 128)


@pytest.mark.parametrize("system", tiny.SYSTEMS)
def test_every_system_takes_the_preset(system):
  config = dial.fill(tiny.SYSTEMS[system]("folder"), dataset(40))
  assert dial._open(config) == []


FORM = ImageForm(64, 3, (0.4,), (0.3,), 0.875)


@pytest.mark.parametrize(
  ("given", "splits"),
  [
    ({"labels": 1}, ("train[:90%]", "train[90%:]")),
    ({"labels": 1, "val": 9}, ("train", "val")),
    ({"labels": 1, "val": 9, "unlabelled": 50}, ("train", "val")),
    ({"labels": 1, "unlabelled": 50}, ("train[:90%]", "train[90%:]")),
  ],
)
def test_a_linear_evaluation_sees_what_the_encoder_saw(given, splits):
  config = linear_eval.get_config("folder")
  filled = dial.fill_evaluation(config, dataset(200, **given), FORM)
  data = filled.data
  assert (data.size, data.eval_fraction) == (64, 0.875)
  assert (data.mean, data.std) == ((0.4,), (0.3,))
  assert (data.train, data.test) == splits
  pretraining = dial.fill(presets.folder(), dataset(200, **given))
  pretraining.data.size = 64  # whose crops are those of 64 pixels
  assert filled.view.to_dict() == pretraining.views.view1.to_dict()
  images = 180 if splits[0] == "train[:90%]" else 200
  assert filled.train.batch_size == 32
  assert filled.train.steps == 80 * images / 32


@pytest.mark.parametrize(
  ("devices", "accumulate", "size"), [(8, 1, 32), (6, 1, 36), (64, 1, 64), (3, 4, 36)]
)
def test_batches_of_evaluations_can_be_shared_by_the_devices(
  monkeypatch, devices, accumulate, size
):
  monkeypatch.setattr(dial.jax, "device_count", lambda: devices)
  config = linear_eval.get_config("folder")
  config.train.accumulate = accumulate
  filled = dial.fill_evaluation(config, dataset(200, labels=1), FORM)
  assert filled.train.batch_size == size


@pytest.mark.parametrize(
  ("given", "steps"), [({}, 1000), ({"epochs": 8.0}, 100), ({"steps": 20}, 20)]
)
def test_a_linear_evaluation_makes_80_epochs_unless_told_otherwise(given, steps):
  config = linear_eval.get_config()
  config.train.update(batch_size=16, **given)
  filled = dial.fill_evaluation(config, dataset(200, test=9), FORM)
  assert (filled.train.steps, filled.eval.every_steps) == (steps, -(-steps // 8))
  assert "train.epochs" in dial.EVALUATION_CHOICES
  left_open = {n for n in dial.EVALUATION_CHOICES if dial._get(filled, n) is None}
  assert left_open <= {"train.epochs"}


def test_probes_on_a_cpu_learn_from_some_of_many_images(filled):
  assert filled().probe.train == "train[500:]"
  many = {"images": 50_000, "sizes": {"train": 50_000}}
  assert filled(**many).probe.train == "train[1000:11000]"
  assert filled(**many, accelerated=True).probe.train == "train[1000:]"
  many |= {"sizes": {"train": 50_000, "test": 100}, "test": "test"}
  assert filled(**many).probe.train == "train[:10000]"
  assert filled(**many, accelerated=True).probe.train == "train"
