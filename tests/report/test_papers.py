"""The papers' numbers stand beside the same work, and beside nothing else."""

import importlib

import pytest

from byol_jax.report import papers, same_work
from byol_jax.run.settings import flat, resolved
from tests.report.made_up import result

# What may be otherwise, and the encoder is the paper's.
FREE = (
  *("seed", "log", "checkpoint", "eval", "probe", "train.precision", "train.remat"),
  *("data.workers", "data.data_dir", "data.max_unreadable", "train.epochs"),
  *("objective.isoloss", "objective.byol_prime", "objective.raft", "objective.simclr"),
  *("objective.info_nce", "optimiser.sgd", "optimiser.adam"),
  *("closed_form.rho", "closed_form.epsilon", "encoder.projected_shortcuts"),
)
GROUPS = ("encoder.groups", "projector.groups", "predictor.groups")


CROPS = [0.08, 1.0]  # what fine-tuning chooses for images of 224 pixels


def pretraining(system="byol", preset="imagenet-1000"):
  return config_of(system, preset)


def config_of(file, preset):
  """A config of configs/, as config.json has it."""
  return resolved(importlib.import_module(f"configs.{file}").get_config(preset))


def changed(config, name, value):
  """A copy with another value of a setting."""
  key, _, rest = name.partition(".")
  return config | {key: changed(config[key], rest, value) if rest else value}


def other(value):
  """A value that is not this one."""
  if isinstance(value, str):
    return f"{value}x"
  return [*value, 1] if isinstance(value, list) else (value or 0) + 1


def of(config, step=None):
  """A result of the encoder of such a run."""
  line = result(pretrained={"run": "x", "config": config})
  line["encoder"]["network"] = config["encoder"]
  line["encoder"]["step"] = config["train"]["steps"] if step is None else step
  return line


@pytest.mark.parametrize(
  ("system", "preset", "expected"),
  [
    ("byol", "imagenet-1000", same_work.BYOL),
    ("byol", "imagenet-300", same_work.BYOL_300),
    ("byol_gn_ws", "imagenet-1000", same_work.GN_WS),
  ],
)
def test_an_encoder_that_differs_in_any_setting_is_not_the_papers(
  system, preset, expected
):
  config = pretraining(system, preset)
  encoder = same_work.Encoder(expected)
  assert same_work.encoder_of(of(config)) == encoder
  free = (*FREE, "train.accumulate") if system == "byol_gn_ws" else (*FREE, *GROUPS)
  for name, value in flat(config).items():
    found = same_work.encoder_of(of(changed(config, name, other(value))))
    if any(name == each or name.startswith(f"{each}.") for each in free):
      assert found == encoder, name
    elif name in ("encoder.depth", "encoder.width"):  # other encoders, of a table
      assert found == encoder._replace(**{name[8:]: value + 1}), name
    else:
      assert found is None, name


def test_other_systems_are_not_the_papers():
  for system, preset in (
    ("byol", "imagenet-100"),
    ("byol", "cifar10"),
    ("byol_gn_ws", "imagenet-300"),  # of which the paper has no number
    ("byol_bn_init", "imagenet-1000"),
    ("simclr", "imagenet-1000"),
  ):
    assert same_work.encoder_of(of(pretraining(system, preset))) is None


def test_an_encoder_of_another_step_network_or_origin_is_not_the_papers():
  config = pretraining()
  assert same_work.encoder_of(of(config, step=9)) is None
  line = of(config)
  line["encoder"]["network"] = config["encoder"] | {"norm": "layer"}
  assert same_work.encoder_of(line) is None
  assert same_work.encoder_of(of(config) | {"pretrained": None}) is None
  assert same_work.encoder_of(of({**config, "new": 1})) is None
  assert same_work.encoder_of(of({"train": {"steps": 9}, "encoder": {}})) is None


def evaluation(experiment, preset, protocol, data, test, images, **settings):
  """A result of BYOL's encoder by a config of configs/."""
  config = config_of(experiment, preset)
  for name, value in settings.items():
    config = changed(config, name.replace("__", "."), value)
  about = {"protocol": protocol, "data": data, "test": test, "test_images": images}
  return of(pretraining()) | about | {"config": config}


def linear(**settings):
  epochs = {"train__epochs": 80.0, "train__steps": 100_091}
  where = "linear_eval", "imagenet", "linear", "imagenet2012", "validation", 50_000
  return evaluation(*where, **epochs, **settings)


def semi_supervised(labels, data):
  where = "semi_supervised", "imagenet", "semi_supervised", data, "validation", 50_000
  return evaluation(*where, data__labels=labels, view__crop_area=CROPS)


def transfer(key, data, test, images, **settings):
  where = "transfer", key, "transfer_linear", data, test, images
  return evaluation(*where, **settings)


def finetuned(key, data, test, images, **settings):
  where = "transfer_finetune", key, "transfer_finetune", data, test, images
  return evaluation(*where, view__crop_area=CROPS, **settings)


# Evaluation -> metric -> the paper's number (PAPERS: 2006.07733, 1.5 of its protocols).
EVALUATIONS = {
  "linear": (linear, {"top_1": 74.3, "top_5": 91.6}),
  "augmented": (lambda: linear(augmentations="pretraining"), {"top_1": 74.4}),
  "regularised": (
    lambda: linear(logits__clip=20.0, logits__penalty=0.01),
    {"top_1": 74.7},
  ),
  "1 %": (
    lambda: semi_supervised(0.01, "imagenet2012_subset/1pct"),
    {"top_1": 53.2, "top_5": 78.4},
  ),
  "10 %": (
    lambda: semi_supervised(0.1, "imagenet2012_subset/10pct"),
    {"top_1": 68.8, "top_5": 89.0},
  ),
  "100 %": (
    lambda: semi_supervised(1.0, "imagenet2012"),
    {"top_1": 77.7, "top_5": 93.9},
  ),
  "cifar10": (
    lambda: transfer("cifar10", "cifar10", "test", 10_000, data__held_out=5000),
    {"top_1": 91.3},
  ),
  "voc07": (
    lambda: transfer("voc07", "voc/2007", "test", 4952, data__valid="validation"),
    {"average_precision_11": 82.5},
  ),
  "dtd, fine-tuned": (
    lambda: finetuned("dtd", "dtd", "test", 1880, data__valid="validation"),
    {"top_1": 76.2},
  ),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluations_as_their_configs_have_them_are_the_papers(name):
  make, numbers = EVALUATIONS[name]
  line = make()
  for metric in ("top_1", "top_5", "mean_per_class", "average_precision_11"):
    found = papers.number(line | {"metric": metric})
    assert (found and found.percent) == numbers.get(metric)


@pytest.mark.parametrize(
  "name", ["linear", "augmented", "1 %", "cifar10", "dtd, fine-tuned"]
)
def test_an_evaluation_that_differs_in_any_setting_is_not_the_papers(name):
  line = EVALUATIONS[name][0]()
  free = ("experiment", "encoder", "which", "seed", "results", "precision", "eval")
  free += ("log", "checkpoint", "metric", "set")
  free += ("data.data_dir", "data.workers", "data.max_unreadable", "data.on_device")
  free += ("data.size", "data.eval_fraction", "data.mean", "data.std")  # the encoder's
  free += ("data.name", "data.train", "data.test")  # which the line itself has
  if name == "linear":
    free += tuple(f"view.{key}" for key in flat(line["config"]["view"]))
  if name in ("linear", "augmented"):
    free += ("train.accumulate", "train.steps")
  crops = ("view.crop_area", "view.crop_aspect", "view.flip")
  for setting, value in flat(line["config"]).items():
    config = changed(line["config"], setting, other(value))
    found = same_work.evaluation_of(line | {"config": config})
    is_free = any(setting == each or setting.startswith(f"{each}.") for each in free)
    assert (found is not None) == (is_free and setting not in crops), setting
  for key in ("protocol", "data", "train", "test", "test_images"):
    assert same_work.evaluation_of(line | {key: other(line[key])}) is None, key


def test_numbers_are_those_of_the_papers():
  """Some of each table, read again from the papers; each has its source."""
  byol = same_work.Encoder(same_work.BYOL)
  for encoder, evaluation, metric, percent in (
    (same_work.Encoder(same_work.BYOL_300), "linear", "top_1", 72.5),
    (same_work.Encoder(same_work.BYOL_300), "linear", "top_5", 90.8),
    (same_work.Encoder(same_work.GN_WS), "linear", "top_1", 73.9),
    (byol._replace(depth=200, width=2.0), "linear", "top_1", 79.6),
    (byol._replace(width=4.0), "linear, both", "top_1", 79.0),
    (byol._replace(width=2.0), "1 % of labels", "top_5", 84.1),
    (byol, "transfer, linear: food101", "top_1", 75.3),
    (byol, "transfer, linear: oxford_flowers102", "mean_per_class", 96.1),
  ):
    assert papers.NUMBERS[encoder, evaluation, metric].percent == percent
  assert all(
    0 < n.percent < 100 and "BYOL" in n.source for n in papers.NUMBERS.values()
  )
  assert (same_work.Encoder(same_work.GN_WS), "linear", "top_5") not in papers.NUMBERS


def test_knn_has_no_number():
  assert papers.number(of(pretraining())) is None
