"""What a name on the command line stands for."""

import os

import numpy as np
import pytest
from PIL import Image

from byol_jax.embed import images
from byol_jax.errors import UserError
from tests.embed.made import write_images


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_folder_wins_over_a_data_set_unless_that_ones_place_is_given(
  tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  assert images.find("photos", None) == ("photos", None)
  write_images(tmp_path, ["photos/1.png"])
  assert images.find("photos", None) == ("folder", str(tmp_path / "photos"))
  assert images.find("photos", "DIR") == ("photos", "DIR")
  assert images.open_found("photos", None).name == "photos"
  opened = images.open_found("folder", str(tmp_path / "photos"))
  assert opened.sizes == {"train": 1}


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("./none", "the folder .*/none does not exist"),
    ("1.png", r"1\.png is a file: name the folder that it is in"),
    ("fotos/", r"the folder .*/fotos does not exist"),
    ("fotos", "no folder fotos; as a data set: there is no data set fotos: did you"),
    ("empty", "empty holds no image that can be read: it is empty"),
    ("texts", "texts holds no image that can be read: 0 unreadable and 1 other"),
  ],
)
def test_what_is_neither(tmp_path, monkeypatch, name, message):
  monkeypatch.chdir(tmp_path)
  write_images(tmp_path, ["1.png"])
  (tmp_path / "empty").mkdir()
  (tmp_path / "texts").mkdir()
  (tmp_path / "texts" / "a.txt").write_text("no image")
  with pytest.raises(UserError, match=message):
    images.open_found(*images.find(name, None))


def test_a_query_is_one_image_or_a_folder_of_them(tmp_path):
  write_images(tmp_path, ["a/1.png", "a/2.png"])
  one = images.queries(str(tmp_path / "a" / "1.png"))
  assert [one.name(i) for i in range(len(one))] == ["1.png"]
  image, label = one[0]
  np.testing.assert_array_equal(image, np.asarray(Image.open(tmp_path / "a" / "1.png")))
  assert label == -1
  assert len(images.queries(str(tmp_path))) == 2


def test_grey_queries_take_the_encoders_channels(tmp_path):
  write_images(tmp_path, ["1.png"], channels=1)
  path = str(tmp_path / "1.png")
  grey = np.asarray(Image.open(path))
  assert images.queries(path).channels == 1
  found = images.queries(path, 3)[0][0]
  np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, -1))
  with pytest.raises(UserError, match=r"has 1 channels, and the encoder .* on 4"):
    images.queries(path, 4)


def test_a_query_that_is_none(tmp_path):
  (tmp_path / "1.jpg").write_text("no image")
  with pytest.raises(UserError, match=r"1\.jpg is no image that can be read: \.jpg is"):
    images.queries(str(tmp_path / "1.jpg"))
  with pytest.raises(UserError, match="name an image or a folder of images"):
    images.queries("")
  with pytest.raises(UserError, match=r"2\.jpg does not exist: name an image or"):
    images.queries(str(tmp_path / "2.jpg"))
  os.mkfifo(tmp_path / "3.jpg")
  with pytest.raises(UserError, match=r"3\.jpg is no file: name an image or"):
    images.queries(str(tmp_path / "3.jpg"))
