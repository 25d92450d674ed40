"""A config has the settings of its experiment, no others, and each of its type."""

import importlib
import math
import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from byol_jax.errors import UserError
from byol_jax.run.settings import flat
from configs import linear_eval, presets
from experiments import reference, settings
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


# What a value may be.

CONFIGS = {
  (path.stem, preset): importlib.import_module(f"configs.{path.stem}").get_config(
    preset
  )
  for path in sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
  if "def get_config" in path.read_text()
  for preset in getattr(
    importlib.import_module(f"configs.{path.stem}"), "EXAMPLES", [None]
  )
}
SCALES = ("embedded", "cifar10", "cifar10-cpu", "evidence", "imagenet-1000", "folder")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_setting_is_in_the_reference_and_valid(name):
  assert not {*flat(CONFIGS[name].to_dict())} - {*reference.SETTINGS}
  settings.check_ranges(CONFIGS[name])


@pytest.mark.parametrize("preset", SCALES)
def test_every_preset_is_valid(preset):
  settings.check_ranges(presets.get(preset))


def test_the_reference_has_nothing_that_no_config_has():
  there = {n for c in CONFIGS.values() for n in flat(c.to_dict())}
  assert set(reference.SETTINGS) == there


def test_the_page_is_that_of_the_reference():
  path = Path(__file__).parents[2] / "docs" / "settings.md"
  assert path.read_text() == reference.page(), (
    "python -m experiments.reference > " + str(path)
  )


def is_number(value):
  if isinstance(value, tuple | list):
    return bool(value) and is_number(value[0])
  return isinstance(value, int | float) and not isinstance(value, bool)


def test_every_number_has_a_unit_or_says_that_it_has_none():
  values = [
    *reference.examples().items(),
    *(one for c in CONFIGS.values() for one in flat(c.to_dict()).items()),
  ]
  numbers = {name for name, value in values if is_number(value)}
  units = {name: setting.unit for name, setting in reference.SETTINGS.items()}
  assert {name for name in numbers if not units[name]} == set()
  assert {n for n, unit in units.items() if unit.strip("-")} - numbers == set()


def named(source):
  """The short names in a source, without the places."""
  return [one.partition(", ")[0] for one in source.split("; ")]


def test_every_setting_names_a_source_that_the_key_has():
  wrong = {
    name: setting.source
    for name, setting in reference.SETTINGS.items()
    if set(named(setting.source)) - {*reference.SOURCES}
  }
  assert wrong == {}


def test_every_source_of_the_key_is_named_by_a_setting():
  found = {one for s in reference.SETTINGS.values() for one in named(s.source)}
  assert found == set(reference.SOURCES)


def test_every_source_of_the_key_is_cited_elsewhere():
  """A paper by its number on arXiv, code by its repository."""
  root = Path(__file__).parents[2]
  elsewhere = "".join(
    path.read_text()
    for folder in ("byol_jax", "configs")
    for path in sorted((root / folder).rglob("*.py"))
  )
  for name, what in reference.SOURCES.items():
    identifiers = re.findall(r"\d{4}\.\d{5}|[\w-]+/[\w-]+", what)
    assert len(identifiers) == (name != "ours"), name
    assert all(one in elsewhere for one in identifiers), name


def test_the_page_has_units_sources_and_their_key():
  head, *sections = reference.page().split("\n## ")
  for name, what in reference.SOURCES.items():
    assert f"\n| {name} | {what} |\n" in head
  rows = [row.split(" | ") for row in "".join(sections).split("\n") if "| `" in row]
  found = {row[0].strip("|` "): (row[2], row[5].strip(" |")) for row in rows}
  assert len(found) == len(reference.SETTINGS)
  assert found["data.size"] == ("pixels", "BYOL, App. B")
  assert found["checkpoint.every_minutes"] == ("minutes", "BYOL's code")
  assert found["seed"] == ("-", "ours")
  assert found["bn_init"] == ("", "BYOL without batch statistics, 3.2")


FLOAT32 = "a number that float32 can hold, or a whole one below 2^32"


def set_to(name, value):
  config = ConfigDict()
  *sections, key = name.split(".")
  section = config
  for part in sections:
    section[part] = ConfigDict()
    section = section[part]
  section[key] = value
  return config


@pytest.mark.parametrize(
  ("name", "value", "words"),
  [
    ("seed", -1, "0 to 4,294,967,295"),
    ("seed", 2**32, "0 to 4,294,967,295"),
    ("data.eval_fraction", 256 / 224, "a share in (0, 1]"),
    ("data.eval_fraction", 0.0, "a share in (0, 1]"),
    ("data.max_unreadable", 1.5, "a share in [0, 1]"),
    ("data.workers", -1, "0 to 1,024"),
    ("data.std", (0.2, 0.0, 0.2), "more than 0, each if several"),
    ("optimiser.learning_rate", -0.1, "more than 0, each if several"),
    ("optimiser.learning_rate", (), "more than 0, each if several"),
    ("optimiser.learning_rate", (0.1, math.nan), "more than 0, each if several"),
    ("optimiser.predictor_multiplier", -1.0, "0 or more"),
    ("optimiser.lars.weight_decay", -1e-6, "0 or more"),
    ("optimiser.lars.momentum", 1.0, "a share in [0, 1)"),
    ("optimiser.warmup", 1.0, "a share in [0, 1)"),
    ("optimiser.schedule", "linear", "one of cosine, constant"),
    ("target.tau", 1.5, "a share in [0, 1]"),
    ("target.kind", "none", "one of ema, online"),
    ("encoder.depth", 19, "one of 10, 18, 34, 50, 101, 152, 200"),
    ("encoder.width", 1 / 128, "more than 1/128, at most 64"),
    ("encoder.groups", 0, "1 or more"),
    ("projector.hidden", 0, "1 to 65,536"),
    ("objective.simclr.temperature", "warm", "more than 0"),
    ("checkpoint.every_minutes", math.nan, "0 or more"),
    ("checkpoint.every_minutes", math.inf, "0 or more"),
    ("checkpoint.keep", 0, "1 or more"),
    ("eval.batch_size", 10**9, "1 to 65,536"),
    ("train.steps", 0, "1 to 2,147,483,647"),
    ("views.view2.hue", 0.6, "0 to 0.5"),
    ("views.view1.crop_area", (0.5, 0.2), "(low, high), 0 < low <= high <= 1.0"),
    ("views.view1.blur_sigma", (0.1,), "(low, high), 0 < low <= high"),
    ("metric", "f1", "one of top_1, top_5, mean_per_class, average_precision_11"),
    ("objective.mine.margin", math.inf, FLOAT32),
    ("optimiser.learning_rate", 1e99, FLOAT32),
    ("data.std", (0.2, 1e-99, 0.2), FLOAT32),
    ("checkpoint.keep", 2**64, FLOAT32),
    ("projector.hidden", 2**64, "1 to 65,536"),
    ("encoder.width", 1e9, "more than 1/128, at most 64"),
    ("results", "a\0b", "a text without a character 0"),
    ("data.data_dir", "\0", "a text without a character 0"),
  ],
)
def test_a_value_out_of_range_is_refused(name, value, words):
  with pytest.raises(UserError) as error:
    settings.check_ranges(set_to(name, value))
  assert str(error.value).startswith(f"{name} is ")
  assert str(error.value).endswith(f": give {words}")


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("seed", 2**32 - 1),
    ("data.eval_fraction", 1),
    ("optimiser.predictor_multiplier", 0),
    ("optimiser.warmup", 0.0),
    ("target.tau", 1.0),
    ("checkpoint.every_minutes", 0.0),
    ("data.held_out", None),
    ("objective.mine.margin", -1.0),
  ],
)
def test_the_ends_of_a_range_and_what_is_open_are_not(name, value):
  settings.check_ranges(set_to(name, value))


def test_every_number_has_a_range():
  """NaN is in none, whatever the setting."""
  for name, value in flat(presets.get("imagenet-1000").to_dict()).items():
    if isinstance(value, float):
      with pytest.raises(UserError, match=name.replace(".", r"\.")):
        settings.check_ranges(set_to(name, math.nan))
