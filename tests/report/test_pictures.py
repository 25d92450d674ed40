"""Pictures of what an encoder makes of images."""

import types

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax.data.sources import ArrayDataset
from byol_jax.description import Description, ImageForm
from byol_jax.errors import UserError
from byol_jax.report import pictures, runs
from tests.formats import encoders
from tests.report import made_up

FORM = ImageForm(8, 3, (0.0,), (1.0,), 1.0)


def an_encoder(embed):
  return types.SimpleNamespace(
    description=Description({}, "float32", FORM),
    params={"trained": 1.0},
    stats={},
    step=7,
    embed=lambda params, stats, crop: params["trained"] * embed(crop),
    untrained=lambda crop: ({"trained": 0.0}, {}),
  )


MEANS = an_encoder(lambda crop: crop.mean((1, 2)).astype(jnp.float32))


def a_dataset(count=30, channels=3, labelled=True):
  """Images of one colour each: the class is the colour that is strongest."""
  rng = np.random.default_rng(0)
  labels = np.arange(count) % 3
  colours = rng.integers(0, 40, (count, channels))
  colours[range(count), labels % channels] = 250
  images = np.broadcast_to(colours[:, None, None], (count, 8, 8, channels))
  shown = labels if labelled else np.full(count, -1)
  return ArrayDataset("colours", {"test": (images.astype(np.uint8), shown)})


def test_a_sample_is_what_the_encoder_makes_of_its_images():
  dataset = a_dataset()
  found = pictures.sample(MEANS, dataset, "test")
  images, labels = dataset.arrays["test"]
  order = [int(name) for name in found.names]
  assert sorted(order) == list(range(30))
  assert order != list(range(30))
  np.testing.assert_allclose(found.embedding, images[order].mean((1, 2)), rtol=1e-6)
  np.testing.assert_array_equal(found.labels, labels[order])
  np.testing.assert_array_equal(found.thumbnails[:, 0, 0], images[order][:, 0, 0])
  assert found.untrained.shape == found.embedding.shape
  assert not found.untrained.any()
  again = pictures.sample(MEANS, dataset, "test")
  assert again.names == found.names


def test_a_sample_ends_in_time(monkeypatch):
  monkeypatch.setattr(pictures, "SECONDS", -1.0)
  assert len(pictures.sample(MEANS, a_dataset(250), "test").names) == 100
  monkeypatch.undo()
  monkeypatch.setattr(pictures, "MOST", 120)
  assert len(pictures.sample(MEANS, a_dataset(250), "test").names) == 120


def test_what_cannot_be_sampled_is_one_line():
  with pytest.raises(UserError, match="1 channels, and the encoder was trained on 3"):
    pictures.sample(MEANS, a_dataset(channels=1), "test")
  with pytest.raises(UserError, match="nothing for the split"):
    pictures.sample(MEANS, a_dataset(), "validation")
  broken = an_encoder(lambda crop: jnp.full((len(crop), 3), jnp.nan))
  with pytest.raises(UserError, match="not finite"):
    pictures.sample(broken, a_dataset(), "test")


def test_map_and_neighbours_are_pictures_and_words():
  found = pictures.sample(MEANS, a_dataset(), "test")
  drawn = (pictures.embedding_map, pictures.neighbour_rows, pictures.untrained_rows)
  for picture in (draw(found) for draw in drawn):
    image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    assert min(image.shape[:2]) > 100
    assert picture.caption in picture.alt
  # Nine of a colour's ten: all neighbours are of its class.
  assert "54 of these 54 have its class" in pictures.neighbour_rows(found).caption
  before = pictures.untrained_rows(found)  # all alike: those of any class
  assert "54 of these 54" not in before.caption
  assert " of these 54 have its class" in before.caption
  assert "A border says the class" in pictures.embedding_map(found).caption


def test_no_image_is_its_own_neighbour():
  images, labels = a_dataset(10).arrays["test"]
  alone = ArrayDataset("alone", {"test": (images, np.arange(len(labels)))})
  found = pictures.sample(MEANS, alone, "test")
  assert "0 of these 54 have its class" in pictures.neighbour_rows(found).caption


def test_without_labels_no_class_is_spoken_of():
  found = pictures.sample(MEANS, a_dataset(labelled=False), "test")
  for picture in (pictures.embedding_map(found), pictures.neighbour_rows(found)):
    assert picture.data
    assert "class" not in picture.caption


def test_one_image_has_no_neighbours():
  found = pictures.sample(MEANS, a_dataset(1), "test")
  assert pictures.embedding_map(found).data
  assert pictures.neighbour_rows(found).data is None


def test_views_are_those_of_the_run(tmp_path):
  (run,) = runs.read([made_up.write(tmp_path / "x")])
  assert pictures.views(run).data is None
  path = run.path / "figures" / "views.png"
  path.parent.mkdir()
  path.write_bytes(b"no picture")
  assert "damaged" in pictures.views(run).caption
  path.write_bytes(b"\x89PNG and so on")
  assert pictures.views(run).data == b"\x89PNG and so on"


def test_the_encoder_of_a_run_that_has_none_is_one_line(tmp_path):
  for settings in (made_up.config(), {"experiment": "linear_eval"}):
    folder = tmp_path / settings["experiment"]
    (run,) = runs.read([made_up.write(folder, settings)])
    with pytest.raises(UserError, match=r"no checkpoint at|name the run"):
      pictures.encoder_of(run)


def test_an_evaluation_has_the_encoder_that_it_evaluated(tmp_path):
  path = tmp_path / "encoder.safetensors"
  encoder = encoders.make(depth=10)
  encoder.save(path)
  settings = {"experiment": "knn", "encoder": path.name}  # where the command was given
  start = made_up.START | {"folder": str(tmp_path)}
  for name, step in (("first", encoder.step), ("second", 5)):
    summary = {"evaluated": {"step": step}}
    made_up.write(tmp_path / name, settings, summary=summary, starts=(start,))
  first, second = runs.read([tmp_path / "first", tmp_path / "second"])
  assert pictures.encoder_of(first).checksum == encoder.checksum
  with pytest.raises(UserError, match="has one encoder, of step 1234, and not 5"):
    pictures.encoder_of(second)
  for name, checksum in (("same", encoder.checksum), ("other", "0" * 64)):
    noted = settings | {"encoder_checksum": checksum}
    made_up.write(tmp_path / name, noted, summary=None, starts=(start,))
  same, other = runs.read([tmp_path / "same", tmp_path / "other"])
  assert pictures.encoder_of(same).checksum == encoder.checksum
  with pytest.raises(UserError, match="is another encoder than was evaluated"):
    pictures.encoder_of(other)
