"""A config has the settings of its experiment, no others, and each of its type."""

import pytest

from byol_jax.errors import UserError
from configs import linear_eval, presets
from experiments import settings
from tests import tiny


def changed(change):
  config = presets.get(None)
  with config.ignore_type():
    change(config)
  return config


def remove(section, key):
  return lambda config: config[section].__delitem__(key)


@pytest.mark.parametrize("system", tiny.SYSTEMS)
def test_every_system_has_them(system):
  settings.check(tiny.SYSTEMS[system](None), presets.get(None))


def test_each_experiment_has_its_own():
  settings.check(linear_eval.get_config(), linear_eval.get_config())
  with pytest.raises(UserError, match="no bn_init, and linear_eval needs it"):
    settings.check(linear_eval.get_config(), presets.get(None))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda c: c.__delitem__("train"), "has no train, and pretrain needs it"),
    (remove("probe", "test"), "has no probe.test, and pretrain needs it"),
    (lambda c: c.train.update(stepz=5), "has a setting train.stepz, and pretrain has"),
    (lambda c: c.views.view1.update(spin=1.0), "a setting views.view1.spin, and"),
    (lambda c: c.train.update(steps="5"), "train.steps is '5': give a value such as"),
    (lambda c: c.train.update(steps=5.0), "train.steps is 5.0: give a value such as"),
    (lambda c: c.train.update(steps=None), "train.steps is None"),
    (lambda c: c.train.update(remat="no"), "train.remat is 'no': give a value such"),
    (lambda c: c.train.update(remat=1), "train.remat is 1"),
    (lambda c: c.target.update(tau=float("nan")), "target.tau is nan: give a value"),
    (lambda c: c.target.update(tau="1"), "target.tau is '1'"),
    (lambda c: c.objective.update(name=["byol"]), r"objective.name is \['byol'\]"),
    (lambda c: c.data.update(mean=0.5), "data.mean is 0.5: give a value such as"),
    (lambda c: c.data.update(data_dir=3), "data.data_dir is 3: give"),
    (lambda c: c.eval.update(baselines="pixels"), "eval.baselines is 'pixels': give"),
    (lambda c: c.__setitem__("augmentations", 3), "augmentations is 3"),
  ],
)
def test_another_config_is_refused(change, message):
  with pytest.raises(UserError, match=message):
    settings.check(changed(change), presets.get(None))


@pytest.mark.parametrize(
  "change",
  [
    lambda c: c.target.update(tau=1),  # a whole number for a share
    lambda c: c.data.update(data_dir="there", mean=[0.5]),
    lambda c: c.objective.update(mine={"strength": "any"}),
    lambda c: c.eval.update(baselines=()),
  ],
)
def test_these_are_fine(change):
  settings.check(changed(change), presets.get(None))
