"""The configs: every preset makes an experiment; the papers' numbers."""

import jax
import numpy as np
import pytest

from byol_jax.data import sources
from byol_jax.data.augment import BYOL_VIEW1, BYOL_VIEW2, View
from byol_jax.errors import UserError
from configs import byol, byol_gn_ws, linear_eval, presets
from experiments import pretrain


@pytest.fixture
def any_data(monkeypatch):
  """Sixteen grey images in place of whatever data set is asked for."""
  images = np.full((16, 40, 40, 3), 128, np.uint8)
  source = sources.ArraySource(images, np.arange(16) % 10, 10)
  monkeypatch.setattr(sources, "open_source", lambda *_: source)
  monkeypatch.setattr(sources, "check_split", lambda *_: None)


@pytest.mark.parametrize("system", [byol, byol_gn_ws])
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_every_preset_makes_an_experiment(any_data, system, preset):
  experiment = pretrain.make(system.get_config(preset))
  state = jax.eval_shape(experiment.init)
  assert bool(state.online_stats) == (system is byol)


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
  assert config.tau_base == tau
  assert (config.encoder.depth, config.encoder.stem) == (50, "imagenet")
  for head in (config.projector, config.predictor):
    assert (head.hidden, head.outputs) == (4096, 256)


def test_the_papers_views():
  views = byol.get_config("imagenet-300").views
  assert View(**views.view1) == BYOL_VIEW1
  assert View(**views.view2) == BYOL_VIEW2


def test_without_batch_statistics_nothing_is_batch_norm():
  config = byol_gn_ws.get_config("imagenet-1000")
  for component in (config.encoder, config.projector, config.predictor):
    assert (component.norm, component.groups) == ("group", 16)
    assert component.standardised


def test_imagenets_validation_images_are_the_reference_codes():
  config = byol.get_config("imagenet-300")
  assert config.data.train == "train"
  assert config.probe.valid_test == "train[:10000]"
  held_out = linear_eval.get_config("imagenet-valid")
  assert (held_out.data.train, held_out.data.test) == ("train[10000:]", "train[:10000]")
  test = linear_eval.get_config("imagenet")
  assert (test.data.train, test.data.test) == ("train", "validation")


def test_linear_evaluation_is_the_papers():
  config = linear_eval.get_config("imagenet")
  assert config.train.steps == 80 * 1_281_167 // 1024
  assert config.train.batch_size == 1024
  assert config.optimiser.name == "sgd"
  assert config.optimiser.learning_rate == 0.2
  assert config.optimiser.sgd.to_dict() == {"weight_decay": 0.0, "momentum": 0.9}
  view = View(**config.view)
  assert (view.crop_area, view.flip) == ((0.08, 1.0), 0.5)
  assert {view.jitter, view.grayscale, view.blur, view.solarise} == {0.0}


@pytest.mark.parametrize("system", [byol, byol_gn_ws, linear_eval])
def test_unknown_presets_are_refused(system):
  with pytest.raises(UserError, match="unknown preset 'huge'; choose one of"):
    system.get_config("huge")
