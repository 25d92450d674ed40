"""encoder.json: what it says, and what it cannot say."""

import json
import shutil
from pathlib import Path

import pytest

import byol_jax
from byol_jax import description as describe
from byol_jax.errors import UserError

GOLDEN = Path(__file__).parent / "golden"  # a run of version 0.1


@pytest.fixture
def copy(tmp_path):
  return Path(shutil.copytree(GOLDEN / "run", tmp_path / "run"))


def test_an_older_runs_description_is_that_of_its_config():
  encoder = byol_jax.load_encoder(GOLDEN / "run")
  config = json.loads((GOLDEN / "run" / "config.json").read_text())
  assert encoder.description.network == config["encoder"]
  assert encoder.description.precision == "float32"
  assert encoder.description.image == describe.ImageForm(
    16, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0
  )


def test_a_newer_format_is_refused(copy):
  (copy / "encoder.json").write_text('{"format": 3}')
  with pytest.raises(UserError, match="is of format 3, and this byol_jax reads up"):
    byol_jax.load_encoder(copy)


def test_settings_that_a_network_leaves_out_are_those_that_it_has_by_default():
  image = describe.ImageForm(8, 3, (0.5,), (0.25,), 1.0)
  network = {"norm": "none", "groups": 1, "standardised": False, "stem": "cifar"}
  found = describe.Description(network, "float32", image).settings
  assert found["depth"] == 50
  assert found["width"] == 1
  assert found["stem"] == "cifar"
  assert found["norm"] == "none"


@pytest.mark.parametrize(
  "text", ["{", "[]", '{"format": 1}', '{"format": 0}', '{"format": "1"}']
)
def test_a_damaged_description_is_refused(copy, text):
  (copy / "encoder.json").write_text(text)
  with pytest.raises(UserError, match=r"encoder\.json is damaged"):
    byol_jax.load_encoder(copy)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"experiment": "linear_eval"}, "is not the folder of a pretraining run"),
    ({"encoder": {"depth": 10}}, "the encoder has no setting 'norm'"),
    ({"encoder": {"norm": "batch"}}, r"config\.json is damaged .*depth"),
    ({"data": {"size": 16}}, r"config\.json is damaged .*mean"),
  ],
)
def test_a_config_of_something_else_is_refused(copy, change, message):
  config = json.loads((copy / "config.json").read_text()) | change
  (copy / "config.json").write_text(json.dumps(config))
  with pytest.raises(UserError, match=message):
    byol_jax.load_encoder(copy)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"size": 0}, "size of images is 0"),
    ({"size": 16.0}, "size of images is 16.0"),
    ({"size": None}, "size of images is None"),
    ({"size": 10**9}, "size of images is 1000000000: at most 16384 are possible"),
    ({"channels": "3"}, "channels of images is '3'"),
    ({"mean": ["a", "b", "c"]}, "mean of images is"),
    ({"mean": [0.5, 0.5]}, "mean of images is .*: give 3 numbers, or one for all"),
    ({"std": [0.2, 0.2, 0.0]}, "std of images is .*: give numbers above 0"),
    ({"std": [0.2, 0.2, float("nan")]}, "std of images is"),
    ({"mean": [10**400] * 3}, r"encoder\.json is damaged .*too large"),
    ({"crop": 1.5}, r"eval_fraction of images is 1.5: give a share in \(0, 1\]"),
    ({"crop": None}, "eval_fraction of images is None"),
    ({"colour": 1}, r"encoder\.json is damaged .*colour"),
  ],
)
def test_images_that_cannot_be_are_refused(copy, change, message):
  encoder = byol_jax.load_encoder(GOLDEN / "run")
  found = describe.to_json(encoder.description)
  found["image"] |= change
  (copy / "encoder.json").write_text(json.dumps(found))
  with pytest.raises(UserError, match=message):
    byol_jax.load_encoder(copy)


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("groups", "2"),
    ("groups", -1),
    ("groups", [2]),
    ("standardised", "no"),
    ("zero_last_scale", 0),
  ],
)
def test_settings_that_networks_do_not_have_are_refused(copy, name, value):
  found = describe.to_json(byol_jax.load_encoder(GOLDEN / "run").description)
  found["network"][name] = value
  (copy / "encoder.json").write_text(json.dumps(found))
  with pytest.raises(UserError, match=f"{name} of the network is .*: give "):
    byol_jax.load_encoder(copy)


@pytest.mark.parametrize(
  ("name", "value", "why"),
  [
    ("depth", 19, "there is no ResNet of depth 19"),
    ("width", float("nan"), "encoder.width is nan"),
    ("norm", "none at all", "there is no norm 'none at all'"),
  ],
)
def test_a_network_that_cannot_be_is_said_with_its_run(copy, name, value, why):
  found = describe.to_json(byol_jax.load_encoder(GOLDEN / "run").description)
  found["network"][name] = value
  (copy / "encoder.json").write_text(json.dumps(found))
  line = rf"{copy} describes no network \({why}.*\): restore it, or its encoder\.json$"
  with pytest.raises(UserError, match=line):
    byol_jax.load_encoder(copy)


def test_the_nearest_description_counts(copy):
  for folder, mean in ((copy, 0.1), (copy / "checkpoints" / "4", 0.4)):
    found = describe.to_json(byol_jax.load_encoder(GOLDEN / "run").description)
    found["image"]["mean"] = [mean]
    (folder / "encoder.json").write_text(json.dumps(found))
  assert byol_jax.load_encoder(copy, 4).description.image.mean == (0.4,)
  assert byol_jax.load_encoder(copy, 2).description.image.mean == (0.1,)


def test_without_any_description_it_is_refused(copy):
  (copy / "config.json").unlink()
  with pytest.raises(UserError, match=r"has no encoder\.json beside it: copy it there"):
    byol_jax.load_encoder(copy)
