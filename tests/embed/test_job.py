"""The command in this process: from a folder to features, sheets, lists and maps."""

import csv
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import byol_jax
from byol_jax.data import datasets, photos
from byol_jax.data.sources import ArrayDataset, ArraySource
from byol_jax.embed import drawings, files, job
from byol_jax.embed.job import Options
from byol_jax.errors import UserError
from tests.data.test_reduced import picture
from tests.embed.made import write_images

# A run whose encoder sees 16 x 16 pixels of three channels.
RUN = str(Path(__file__).parents[1] / "golden" / "run")
NAMES = [f"cat/{i}.png" for i in range(4)] + [f"dog/{i}.png" for i in range(4)]
NOT_UTF8 = os.fsdecode(b"dog/\xff.png")


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A folder with photos and their features; two of the photos are the same."""
  folder = tmp_path_factory.mktemp("made")
  write_images(folder / "photos", NAMES)
  shutil.copy(folder / "photos" / "cat" / "1.png", folder / "photos" / NOT_UTF8)
  out = str(folder / "f.npz")
  job.run(Options(encoder=RUN, images=str(folder / "photos"), out=out))
  return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
  """A folder of one's own with the features, whose images are where they were."""
  shutil.copy(made / "f.npz", tmp_path)
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_features_are_the_encoders(made):
  found = byol_jax.read_features(made / "f.npz")
  assert sorted(found.path.tolist()) == sorted([*NAMES, NOT_UTF8])
  assert found.class_names == ("cat", "dog")
  assert found.provenance["run"] == RUN
  encoder = byol_jax.load_encoder(RUN)
  assert found.provenance["encoder"]["checksum"] == f"sha256:{encoder.checksum}"
  for row in (0, 5):
    image = np.asarray(Image.open(made / "photos" / found.path[row]))
    np.testing.assert_allclose(found.embedding[row], encoder(image[None])[0], atol=1e-5)


def test_files_of_any_format_have_the_features_of_their_pixels(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  photos = tmp_path / "photos"
  photos.mkdir()
  image = picture("coffee")
  image.save(photos / "a.jpg", quality=95)
  whole = np.asarray(Image.open(photos / "a.jpg"))
  Image.fromarray(whole).save(photos / "b.png")
  out = str(tmp_path / "f.npz")
  job.run(Options(encoder=RUN, images=str(photos), out=out))
  found = byol_jax.read_features(out)
  of_file = dict(zip(found.path, found.embedding, strict=True))
  expected = byol_jax.load_encoder(RUN)(whole[None])[0]
  np.testing.assert_allclose(of_file["b.png"], expected, atol=1e-5)
  off = np.abs(of_file["a.jpg"] - expected).max()
  another = byol_jax.load_encoder(RUN)(np.asarray(picture("cat"))[None])[0]
  assert off < 0.02 * np.abs(another - expected).max()


def test_duplicates_are_listed(here):
  job.run(Options(features="f.npz", duplicates=0.99999))
  with (here / "f.duplicates-0.99999.tsv").open(errors="surrogateescape") as file:
    header, *lines = csv.reader(file, "excel-tab")
  assert header == ["similarity", "first", "second"]
  assert [{*pair} for _, *pair in lines] == [{"cat/1.png", NOT_UTF8}]
  assert float(lines[0][0]) == 1


def test_a_map_is_drawn_with_the_classes(here, monkeypatch):
  drawn = []
  draw = drawings.atlas.draw_map
  monkeypatch.setattr(
    drawings.atlas, "draw_map", lambda *given: drawn.append(given) or draw(*given)
  )
  job.run(Options(features="f.npz", map="pca"))
  assert cv2.imread(str(here / "f.map-pca.png")) is not None
  [(cells, images, labels, names, title)] = drawn
  assert len(images) == len(labels) == (cells >= 0).sum()
  assert names == ("cat", "dog")
  assert re.fullmatch(r"\d of 9 images, pca", title)


def seen(monkeypatch):
  """What sheets of neighbours are given."""
  drawn, draw = [], drawings.atlas.draw_neighbours
  monkeypatch.setattr(
    drawings.atlas,
    "draw_neighbours",
    lambda *given: drawn.append(given) or draw(*given),
  )
  return drawn


@pytest.mark.parametrize("query", ["{}/photos/cat/1.png", "linked/cat/1.png", "1.png"])
def test_an_image_of_the_set_is_no_neighbour_of_itself(made, here, monkeypatch, query):
  drawn = seen(monkeypatch)
  (here / "linked").symlink_to(made / "photos")
  (here / "1.png").symlink_to(made / "photos" / "cat" / "1.png")
  job.run(Options(features="f.npz", neighbours=query.format(made), k=8))
  assert (here / "f.neighbours-1.png").exists()
  [(queries, found, similarities, names, title)] = drawn
  np.testing.assert_allclose(similarities[0, 0], 1, atol=1e-5)  # its copy
  assert similarities[0, 1] < 0.9999
  np.testing.assert_array_equal(queries[0], found[0, 0])
  assert names == ["1.png"]
  assert title == "8 nearest of 9 images, by cosine"


def test_images_from_elsewhere_have_neighbours(made, here, monkeypatch):
  drawn = seen(monkeypatch)
  (here / "new").mkdir()
  shutil.copy(made / "photos" / "cat" / "2.png", here / "new" / "copy.png")
  write_images(here / "new", ["grey.png"], channels=1)
  job.run(Options(features="f.npz", neighbours="new", k=9))
  [(queries, found, similarities, names, _)] = drawn
  assert found.shape[:2] == (2, 9)
  row = names.index("copy.png")
  np.testing.assert_allclose(similarities[row, 0], 1, atol=1e-5)
  np.testing.assert_array_equal(queries[row], found[row, 0])


def test_of_many_queries_the_first_are_drawn(made, here, monkeypatch):
  drawn = seen(monkeypatch)
  monkeypatch.setattr(drawings, "MOST_ROWS", 3)
  job.run(Options(features="f.npz", neighbours=str(made / "photos"), k=2))
  assert len(drawn[0][0]) == 3


def test_all_in_one_command_of_an_embedded_set(here, capsys):
  # 40 images of "photos", of which the features say no more than the number.
  options = Options(
    encoder=RUN,
    images="photos",
    split="test[:40]",
    out="all.parquet",
    map="pca",
    duplicates=0.9,
  )
  job.run(options)
  assert "all.parquet: 40 images, 32 features each\n" in capsys.readouterr().out
  assert (here / "all.map-pca.png").exists()
  assert (here / "all.duplicates-0.9.tsv").exists()
  found = byol_jax.read_features("all.parquet")
  assert found.provenance["images"]["split"] == "test[:40]"


@pytest.mark.parametrize("given", [{"split": "train"}, {"images": "cifar10"}])
def test_numbers_are_of_the_split_that_was_embedded(here, monkeypatch, given):
  job.run(Options(encoder=RUN, images="photos", split="test[:9]", out="n.npz"))
  other = ArrayDataset("cifar10", photos.load())
  monkeypatch.setitem(datasets.DATASETS, "cifar10", lambda data_dir: other)
  with pytest.raises(UserError, match=r"are of photos, test\[:9\], whose images have"):
    job.run(Options(features="n.npz", map="pca", **given))
  job.run(Options(features="n.npz", map="pca", images="photos", split="test[:9]"))


def options(**given):
  return Options(**{"features": "f.npz"} | given)


@pytest.mark.parametrize(
  ("given", "message"),
  [
    (options(), "say what to draw: --map, --duplicates or --neighbours=IMAGE"),
    (Options(), "give either --out=features.npz"),
    (options(out="g.npz"), "give either --out=features.npz"),
    (Options(out="g.npz", images="photos"), "name the encoder, --encoder=RUN"),
    (Options(out="g.npz", encoder=RUN), "the images, --images=FOLDER"),
    (Options(out="f.npz", encoder=RUN, images="photos"), "f.npz is there already"),
    (Options(out="g.npz", encoder=RUN, images="./none"), "none does not exist"),
    (Options(out="g.npz", encoder="nowhere", images="photos"), "no checkpoint at"),
    (
      Options(out="g.npz", encoder=RUN, images="photos", batch_size=0),
      "batch_size is 0: give 1 or more",
    ),
    (options(map="tnse"), "There are pca, tsne, umap"),
    (options(duplicates=2.0), "similarity is 2.0"),
    (options(neighbours="f.npz"), "f.npz is no image that can be read"),
    (options(neighbours="nothing.jpg"), "nothing.jpg does not exist"),
    (
      options(neighbours="PHOTO", k=9),
      "9 neighbours are wanted of 8 images: give 1 to",
    ),
    (options(neighbours="PHOTO", k=0), "k is 0: give 1 or more"),
    (
      options(neighbours="PHOTO", which="2"),
      "is not the encoder that made .* of step 4",
    ),
    (options(map="pca", images="photos"), "of the features is not among these images"),
    (options(features="none.npz", map="pca"), "none.npz is not there"),
  ],
)
def test_mistakes_are_one_line_and_leave_nothing(made, here, given, message):
  if given.neighbours == "PHOTO":
    given = given._replace(neighbours=str(made / "photos" / "cat" / "1.png"))
  with pytest.raises(UserError, match=message) as error:
    job.run(given)
  assert "\n" not in str(error.value)
  assert [path.name for path in here.iterdir()] == ["f.npz"]


def test_nothing_is_overwritten(here):
  (here / "f.map-pca.png").write_text("precious")
  with pytest.raises(UserError, match=r"f\.map-pca\.png is there already: move it"):
    job.run(options(map="pca", duplicates=0.9))
  assert (here / "f.map-pca.png").read_text() == "precious"
  assert not (here / "f.duplicates-0.9.tsv").exists()


def test_images_that_were_moved_are_named(made, here):
  shutil.copytree(made / "photos", here / "moved")
  os.rename(made / "photos", made / "gone")
  try:
    with pytest.raises(
      UserError, match=r"photos does not exist.* say where by --images"
    ):
      job.run(options(map="pca"))
    job.run(options(map="pca", images="moved"))
  finally:
    os.rename(made / "gone", made / "photos")


def test_features_of_a_python_program_do_not_say_where_things_are(made, here):
  data = datasets.open_dataset("folder", str(made / "photos"))
  byol_jax.write_features(byol_jax.load_encoder(RUN), data, "g.npz")
  with pytest.raises(UserError, match="do not say where their images are: give --im"):
    job.run(options(features="g.npz", map="pca"))
  with pytest.raises(UserError, match=r"do not say what encoder .*: give --encoder"):
    job.run(options(features="g.npz", neighbours=str(made / "photos")))
  job.run(options(features="g.npz", map="pca", images=str(made / "photos")))


def test_features_do_not_lie_among_the_images(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  (tmp_path / "photos").mkdir()
  pixels = np.zeros((8, 8, 3), np.uint8)
  Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
  monkeypatch.setattr(job, "load_encoder", lambda *_: None)
  photos = str(tmp_path / "photos")
  options = job.Options(encoder="run", images=photos, out=f"{photos}/f.npz")
  with pytest.raises(UserError, match=r"f\.npz lies among the images of"):
    job.run(options)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_makes_no_map(value):
  embedding = np.ones((4, 3), np.float32)
  embedding[1, 2] = value
  names = np.array(list("abcd"))
  found = files.Features(embedding, names, np.zeros(4, np.int32), (), {})
  source = ArraySource(np.zeros((4, 8, 8, 3), np.uint8), found.label, None)
  with pytest.raises(UserError, match="NaN or infinite values: the network has diverg"):
    drawings.draw_map(found, source, "pca")
