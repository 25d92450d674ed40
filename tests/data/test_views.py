import subprocess
import sys

import pytest

from byol_jax.data import views
from byol_jax.errors import UserError


def test_byol_views_are_those_of_table_6():
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
  assert views.BYOL_VIEW1._asdict() == {**both, "blur": 1.0, "solarise": 0.0}
  assert views.BYOL_VIEW2._asdict() == {**both, "blur": 0.1, "solarise": 0.2}


def test_settings_change_what_they_name():
  settings = {"hue": 0.3, "crop_area": [0.5, 1.0]}
  found = views.from_settings(settings)
  assert found == views.View()._replace(**settings)


def test_an_unknown_setting_is_named_with_those_that_there_are():
  with pytest.raises(UserError, match=r"no setting 'colour'; it has crop_area, .*flip"):
    views.from_settings({"hue": 0.1, "colour": 1.0})


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("flip", 1.5),
    ("jitter", -0.1),
    ("contrast", 2.0),
    ("hue", 0.6),
    ("solarise", float("nan")),
    ("blur_sigma", 1.0),
    ("blur_sigma", (0.0, 2.0)),
    ("blur_sigma", (2.0, 1.0)),
    ("crop_area", (0.5, 1.1)),
    ("crop_aspect", (1.0, 1.0, 1.0)),
  ],
)
def test_a_value_out_of_range_is_named(field, value):
  with pytest.raises(UserError, match=f"view.{field} is"):
    views.from_settings({field: value})


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("hue", 0.5),
    ("solarise", 1),
    ("blur_sigma", (3.0, 9.0)),
    ("crop_area", (1, 1)),
    ("crop_aspect", [2.0, 2.0]),
  ],
)
def test_the_ends_of_a_range_belong_to_it(field, value):
  assert getattr(views.from_settings({field: value}), field) == value


# What is left besides the crop.
LEFT = {
  "all": {"flip", "jitter", "grayscale", "blur", "solarise"},
  "no_flip": {"jitter", "grayscale", "blur", "solarise"},
  "no_blur": {"flip", "jitter", "grayscale", "solarise"},
  "no_colour": {"flip", "blur", "solarise"},
  "no_jitter": {"flip", "grayscale", "blur", "solarise"},
  "no_grayscale": {"flip", "jitter", "blur", "solarise"},
  "crop_only": set(),
  "crop_flip": {"flip"},
  "crop_colour": {"jitter", "grayscale"},
  "crop_blur": {"blur"},
}


@pytest.mark.parametrize("name", views.REMOVED)
def test_rows_of_byols_table_17_take_operations_away_and_change_nothing_else(name):
  before = views.BYOL_VIEW2
  gone = LEFT["all"] - LEFT[name]
  assert views.reduced(before, name) == before._replace(**dict.fromkeys(gone, 0.0))


def test_a_row_that_there_is_not():
  with pytest.raises(UserError, match=r"no set of augmentations 'no_crop': .*all,"):
    views.reduced(views.View(), "no_crop")


# The workers that crop are processes of their own, and the launcher reads the
# configs first. Grain does import JAX by itself.
@pytest.mark.parametrize("module", ["views", "crops", "batches"])
def test_host_side_modules_import_no_jax(module):
  check = (
    "import sys, unittest.mock; sys.modules['grain'] = unittest.mock.MagicMock();"
    f"import byol_jax.data.{module}; assert 'jax' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", check], check=True)
