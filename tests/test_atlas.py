"""Maps and sheets: what is shown where, looked up in the pixels of the figures."""

import importlib.util
import sys
import types

import cv2
import matplotlib
import numpy as np
import pytest
from sklearn.decomposition import PCA

from byol_jax import atlas
from byol_jax.data import reduce
from byol_jax.data.sources import ArraySource, Unreadable
from byol_jax.errors import UserError

GAP = atlas._GAP


def pixels(figure, tmp_path):
  figure.savefig(tmp_path / "figure.png")
  return cv2.imread(str(tmp_path / "figure.png"))[..., ::-1].astype(int)


def solid(count, size=8, channels=3):
  """Images of one colour each, none of them white."""
  values = np.random.default_rng(count).integers(0, 200, (count, 1, 1, channels))
  return np.broadcast_to(values, (count, size, size, channels)).astype(np.uint8)


def test_pca_is_scikit_learns_up_to_signs():
  embedding = np.random.default_rng(0).normal(size=(50, 6)) * [9, 1, 5, 1, 1, 1] + 3
  expected = PCA(2).fit_transform(embedding)
  found = atlas.project(embedding.astype(np.float32))
  np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-3, atol=1e-3)
  assert found.dtype == np.float32


def test_pca_in_blocks_is_the_same(monkeypatch):
  embedding = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
  whole = atlas.project(embedding)
  monkeypatch.setattr(atlas, "_ROWS", 7)
  np.testing.assert_allclose(atlas.project(embedding), whole, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 4), (3, 1), (2, 4), (4, 4)])
def test_few_images_or_features_have_a_map_too(shape):
  embedding = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  for values in (embedding, np.ones_like(embedding)):
    points = atlas.project(values)
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()
    cells = atlas.layout(points)
    assert {*cells[cells >= 0]} <= {*range(shape[0])}
    assert (cells >= 0).any()


@pytest.mark.slow  # its threads wait for each other where cores are busy
def test_tsne_keeps_apart_what_is_apart():
  centres = np.repeat([[9.0, 0, 0], [0, 9.0, 0]], 5, axis=0)
  noise = np.random.default_rng(0).normal(size=centres.shape)
  points = atlas.project((centres + noise).astype(np.float32), "tsne")
  distances = np.linalg.norm(points[:, None] - points, axis=-1)
  assert distances[:5, :5].max() < distances[:5, 5:].min()


@pytest.mark.parametrize(
  ("method", "name"), [("tsne", "sklearn.manifold.TSNE"), ("umap", "umap.UMAP")]
)
def test_other_methods_are_given_what_is_of_length_1(monkeypatch, method, name):
  class Flat:
    def __init__(self, **settings):
      assert settings["random_state"] == 0
      assert settings.get("perplexity", settings.get("n_neighbors")) < 6

    def fit_transform(self, embedding):
      np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-6)
      return embedding[:, :2].astype(np.float64)

  module, _, kind = name.rpartition(".")
  monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{kind: Flat}))
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
  embedding = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
  lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
  found = atlas.project(embedding, method)
  np.testing.assert_allclose(found, (embedding / lengths)[:, :2], rtol=1e-5)
  assert found.dtype == np.float32


@pytest.mark.parametrize(
  ("method", "message"),
  [
    ("tnse", r"no map 'tnse': did you mean tsne\? There are pca, tsne, umap"),
    ("tsne", "tsne needs at least 5 images, and there are 4: choose pca"),
  ],
)
def test_a_map_that_cannot_be(method, message):
  with pytest.raises(UserError, match=message):
    atlas.project(np.ones((4, 3), np.float32), method)


@pytest.mark.parametrize(
  ("method", "package"), [("tsne", "scikit-learn"), ("umap", "umap-learn")]
)
def test_a_package_that_is_missing_is_named(monkeypatch, method, package):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(
    UserError, match=f"{method} needs {package}: pip install {package}"
  ):
    atlas.check_method(method)


def test_each_cell_shows_the_image_nearest_to_its_centre():
  # Six points are room for four cells a side: each is 1 x 1.
  points = np.array([[0, 0], [4, 4], [0.9, 0.9], [0.4, 0.6], [2.4, 0.2], [2.5, 0.4]])
  cells = atlas.layout(points, cells=4)
  assert cells.tolist() == [
    [-1, -1, -1, 1],
    [-1, -1, -1, -1],
    [-1, -1, -1, -1],
    [3, -1, 5, -1],
  ]


def test_a_map_shows_each_thumbnail_in_its_cell(tmp_path):
  cells = np.array([[-1, 7], [5, 2]])
  images = solid(3)
  image = pixels(atlas.draw_map(cells, images), tmp_path)
  pitch = 8 + GAP
  middles = [
    image[GAP + 4 + row * pitch, GAP + 4 + column * pitch].tolist()
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1))
  ]
  assert middles == [[255] * 3, *images[:, 0, 0].tolist()]
  assert image.shape == (2 * pitch + GAP, 2 * pitch + GAP, 3)


def test_classes_have_borders_that_differ_without_colours():
  cells = np.arange(atlas.MOST_CLASSES)[None]
  images, labels = solid(cells.size), np.arange(cells.size)
  names = [f"class {label}" for label in labels]
  figure = atlas.draw_map(cells, images, labels, names)
  [axis] = figure.axes
  shown = {
    (
      round(float(np.dot(c.get_edgecolor()[0, :3], (0.3, 0.6, 0.1))), 1),
      str(c.get_ls()),
    )
    for c in axis.collections
  }
  assert len(shown) == atlas.MOST_CLASSES
  assert [text.get_text() for text in axis.get_legend().get_texts()] == names


def test_too_many_classes_have_no_borders_and_the_title_says_so():
  count = atlas.MOST_CLASSES + 1
  cells = np.arange(count)[None]
  figure = atlas.draw_map(cells, solid(count), np.arange(count), title="all")
  [axis] = figure.axes
  assert not axis.collections
  assert f"all ({count} classes: too many for borders)" in axis.texts[0].get_text()


def test_images_without_a_label_have_no_border():
  figure = atlas.draw_map(np.array([[0, 1, 2]]), solid(3), np.array([-1, 4, -1]), ["a"])
  [axis] = figure.axes
  [boxes] = axis.collections
  assert len(boxes.get_paths()) == 1
  assert [text.get_text() for text in axis.get_legend().get_texts()] == ["4"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_a_sheet_shows_queries_and_their_neighbours(tmp_path, channels):
  queries, found = solid(2, 16, channels), solid(6, 16, channels)
  figure = atlas.draw_neighbours(
    queries,
    found.reshape(2, 3, *found.shape[1:]),
    np.array([[0.9, 0.8, 0.7], [0.6, 0.5, -0.25]]),
    ["one", "two"],
  )
  image = pixels(figure, tmp_path)
  shown = {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}
  for one in [*queries[:, 0, 0], *found[:, 0, 0]]:
    assert tuple(one[:3] if channels >= 3 else one[[0, 0, 0]]) in shown
  texts = [text.get_text() for text in figure.axes[0].texts]
  assert texts == ["0.900", "0.800", "0.700", "0.600", "0.500", "-0.250", "one", "two"]


@pytest.mark.parametrize(
  "name", ["a$b$c^", "\udcff.jpg", "tab\tend\n", "日本" * 90, ""]
)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_name_can_be_drawn(tmp_path, name):
  figure = atlas.draw_neighbours(
    solid(1), solid(1)[None], np.ones((1, 1)), [name], title=name
  )
  pixels(figure, tmp_path)
  figure = atlas.draw_map(np.array([[0]]), solid(1), np.array([0]), [name], title=name)
  pixels(figure, tmp_path)


class _Fading(ArraySource):
  """The second image can no longer be read."""

  def __getitem__(self, index):
    if index == 1:
      raise Unreadable("gone")
    return super().__getitem__(index)


@pytest.mark.parametrize("size", [4, 16, 40])
def test_thumbnails_are_squares_of_the_images(size):
  images = np.random.default_rng(0).integers(0, 256, (3, 16, 20, 3), dtype=np.uint8)
  source = _Fading(images, np.zeros(3, int), 1)
  found = atlas.thumbnails(source, np.array([2, 1]), size)
  if size == 4:  # 4 x 5 averages of 4 x 4 pixels, of which the middle
    expected = reduce.averaged(images[2], 4)[:, 1:]
  else:
    how = cv2.INTER_NEAREST if size > 16 else cv2.INTER_AREA
    expected = cv2.resize(images[2, :, 2:18], (size, size), interpolation=how)
  np.testing.assert_array_equal(found[0], expected)
  assert not found[1].any()


def test_no_backend_is_chosen():
  before = matplotlib.rcParams._get_backend_or_none()
  atlas.draw_map(np.array([[0]]), solid(1))
  assert matplotlib.rcParams._get_backend_or_none() == before
