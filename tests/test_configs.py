"""The configs: every preset makes an experiment; the papers' numbers."""

import itertools

import numpy as np
import pytest

from byol_jax import optim
from byol_jax.data import datasets, sources
from byol_jax.data.views import View
from byol_jax.errors import UserError
from configs import (
  byol,
  byol_bn_init,
  byol_gn_ws,
  byol_prime,
  linear_eval,
  norm_ablation,
  presets,
  raft,
  semi_supervised,
  simclr,
  simclr_norm_ablation,
)
from experiments import dial, optimisers, pretrain, settings, systems
from tests import tiny


class Any(sources.ArrayDataset):
  """Has whatever split is asked for."""

  def check(self, spec):
    return super().check("train")

  def split(self, spec):
    return super().split("train")


GREY = np.full((40, 80, 80, 3), 128, np.uint8), np.arange(40) % 10
ANY = Any("any", {"train": GREY, "test": GREY})


@pytest.fixture
def any_data(monkeypatch):
  """Forty grey images in place of whatever data set is asked for."""
  monkeypatch.setattr(datasets, "open_dataset", lambda *_: ANY)
  # Places in splits such as "train[45000:]" are not looked for among forty.
  monkeypatch.setattr(pretrain, "warn_if_shared", lambda *_: None)


WITH_EPOCHS = presets.get(None)
WITH_EPOCHS.train.epochs = 1.0


@pytest.mark.parametrize("system", tiny.SYSTEMS)
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_every_preset_has_a_schedule(system, preset):
  config = tiny.SYSTEMS[system](preset)
  config = dial.fill(config, ANY)  # of the preset `folder`
  settings.check(config, WITH_EPOCHS, {"train.epochs"})
  _, rate = optimisers.from_config(config)
  assert np.isfinite(rate(config.train.steps // 2))
  assert 0 <= systems.tau_from_config(config)(1) <= 1


def networks():
  """A system and a preset for each network and data set; others differ in length."""
  cases = {}
  for system, preset in itertools.product(tiny.SYSTEMS, presets.PRESETS):
    config = tiny.SYSTEMS[system](preset).to_dict()
    parts = ("data", "encoder", "projector", "predictor", "objective", "bn_init")
    key = str([config[part] for part in parts])
    cases.setdefault(key, (system, preset))
  return cases.values()


@pytest.mark.parametrize(("system", "preset"), networks())
def test_every_preset_makes_an_experiment(any_data, system, preset):
  # Its networks are built, as shapes alone; what does not fit is refused here.
  pretrain.Pretrain(tiny.SYSTEMS[system](preset))


def test_a_system_is_a_few_lines_away_from_byol():
  base = byol.get_config("imagenet-300")
  for module, lines in ((byol_gn_ws, 6), (simclr, 4), (byol_bn_init, 4), (raft, 8)):
    assert 0 < changes(base, module.get_config("imagenet-300")) <= lines
  assert changes(raft.get_config("cifar10"), byol_prime.get_config("cifar10")) == 1


def changes(one, other):
  if not hasattr(one, "items"):
    return one != other
  assert one.keys() == other.keys()
  return sum(changes(one[key], other[key]) for key in one)


def test_norms_are_given_one_by_one():
  config = norm_ablation.get_config("bn-none-ln:cifar10")
  kinds = [config[part].norm for part in ("encoder", "projector", "predictor")]
  assert kinds == ["batch", "none", "layer"]
  assert config.data.name == "cifar10"
  control = simclr_norm_ablation.get_config("gn-none")
  assert (control.encoder.norm, control.projector.norm) == ("group", "none")
  assert control.encoder.groups == 8  # of the embedded preset


@pytest.mark.parametrize(
  ("module", "argument", "message"),
  [
    (norm_ablation, None, "'' does not name the norms of encoder, projector,"),
    (norm_ablation, "bn-none", "give one of bn, ln, gn, in, none for each"),
    (norm_ablation, "bn-wn-none", "'bn-wn-none' does not name the norms"),
    (norm_ablation, "bn-none-none:huge", "no preset 'huge'"),
    # SimCLR has no predictor that could have a norm.
    (simclr_norm_ablation, "none-none-bn", "norms of encoder, projector: give"),
  ],
)
def test_norms_that_mean_nothing_are_refused(module, argument, message):
  with pytest.raises(UserError, match=message):
    module.get_config(argument)


@pytest.mark.parametrize(("preset", "epochs"), [("cifar10", 300), ("cifar10-800", 800)])
def test_raft_on_cifar10_is_the_papers(preset, epochs):
  config = raft.get_config(preset)  # Shi et al., App. B
  assert config.data.size == 96
  assert config.encoder.depth == 18
  assert (config.projector.hidden, config.projector.outputs) == (512, 128)
  assert (config.train.batch_size, config.train.steps) == (128, epochs * 390)
  assert (config.optimiser.name, config.optimiser.learning_rate) == ("adam", 3e-4)
  assert (config.optimiser.schedule, config.optimiser.warmup) == ("constant", 0.0)
  assert not config.optimiser.scale_with_batch
  assert config.target.to_dict() == {
    "kind": "ema",
    "same_init": False,
    "tau": 0.996,
    "schedule": "constant",
    "frozen": 0.0,
  }
  assert config.objective.raft.to_dict() == {"alpha": 1.0, "beta": 1.0}


# BYOL, sections 3.3 and 5; 1 281 167 images in batches of 4096.
@pytest.mark.parametrize(
  ("preset", "steps", "rate", "decay", "tau"),
  [
    ("imagenet-100", 31_278, 0.45, 1e-6, 0.99),
    ("imagenet-300", 93_835, 0.3, 1e-6, 0.99),
    ("imagenet-1000", 312_784, 0.2, 1.5e-6, 0.996),
  ],
)
def test_the_papers_schedules(preset, steps, rate, decay, tau):
  config = byol.get_config(preset)
  assert config.train.steps == steps
  assert config.train.batch_size == 4096
  assert config.optimiser.learning_rate == rate
  assert config.optimiser.lars.weight_decay == decay
  assert config.optimiser.lars.trust_coefficient == 1e-3
  assert config.optimiser.predictor_multiplier == 1.0
  assert int(config.optimiser.warmup * steps + 1e-6) == 3127
  assert config.target.tau == tau
  assert (config.encoder.depth, config.encoder.stem) == (50, "imagenet")
  for head in (config.projector, config.predictor):
    assert (head.hidden, head.outputs) == (4096, 256)


def test_the_papers_views():
  # BYOL, App. B, table 6; crops and flips as in its text.
  both = {
    "crop_area": (0.08, 1.0),
    "crop_aspect": (3 / 4, 4 / 3),
    "flip": 0.5,
    "jitter": 0.8,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.2,
    "hue": 0.1,
    "grayscale": 0.2,
    "blur_sigma": (0.1, 2.0),
  }
  views = byol.get_config("imagenet-300").views
  assert views.view1.to_dict() == both | {"blur": 1.0, "solarise": 0.0}
  assert views.view2.to_dict() == both | {"blur": 0.1, "solarise": 0.2}


def test_without_batch_statistics_nothing_is_batch_norm():
  config = byol_gn_ws.get_config("imagenet-1000")
  for component in (config.encoder, config.projector, config.predictor):
    assert (component.norm, component.groups) == ("group", 16)
    assert component.standardised


def test_imagenets_validation_images_are_the_reference_codes():
  config = byol.get_config("imagenet-300")
  assert config.data.train == "train"
  assert config.probe.valid_test == "train[:10000]"
  test = linear_eval.get_config("imagenet")
  assert (test.data.train, test.data.test) == ("train", "validation")


def test_the_reference_codes_resnet18_is_where_its_recipe_is():
  kinds = {name: presets.get(name).encoder for name in presets.PRESETS}
  every = [n for n, e in kinds.items() if e.projected_shortcuts == "every_stage"]
  assert every == ["imagenette"]


def test_imagenette_is_the_reference_codes_recipe():
  config = byol.get_config("imagenette")
  # 1000 and 10 epochs of 9469 images in batches of 256, each rounded down once.
  assert config.train.steps == 36_988
  assert optim.share_of_steps(config.optimiser.warmup, config.train.steps) == 369
  # In its crop of evaluation 224 / (224 + 32), each 224 is a 128.
  assert config.data.eval_fraction == 0.8
  lars = {"weight_decay": 1e-6, "momentum": 0.9, "trust_coefficient": 1e-3}
  assert config.optimiser.lars.to_dict() == lars
  assert (config.optimiser.learning_rate, config.target.tau) == (2.0, 0.996)


def test_linear_evaluation_is_the_papers():
  config = linear_eval.get_config("imagenet")
  assert config.train.batch_size == 1024
  assert config.data.held_out == 10_009
  assert config.optimiser.name == "sgd"
  assert config.optimiser.learning_rate == (0.4, 0.3, 0.2, 0.1, 0.05)
  assert config.optimiser.sgd.to_dict() == {"weight_decay": 0.0, "momentum": 0.9}
  assert View(**config.view) == View()  # of which crops and flips are left
  assert (config.augmentations, config.logits.clip, config.logits.penalty) == (
    "crops",
    0.0,
    0.0,
  )


def test_semi_supervised_evaluation_is_the_papers():
  config = semi_supervised.get_config("imagenet")  # BYOL, App. C.1
  assert set(config.rates) == {0.01, 0.02, 0.05, 0.1, 0.005}
  assert config.epochs == (30.0, 50.0)
  assert config.train.batch_size == 1024
  assert config.optimiser.momentum == 0.9
  assert (config.data.train, config.data.test) == ("train", "validation")


@pytest.mark.parametrize("get_config", [*tiny.SYSTEMS.values(), linear_eval.get_config])
def test_unknown_presets_are_refused(get_config):
  with pytest.raises(UserError, match="no preset 'huge': choose one of"):
    get_config("huge")
