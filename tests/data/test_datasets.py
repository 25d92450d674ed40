"""Embedded sets, prepared data sets and the errors that a user can meet."""

import io
import json
import pathlib
import pickle

import cv2
import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from byol_jax.data import sources
from byol_jax.errors import UserError

SHARED = pathlib.Path(__file__).parents[3] / "shared"
CIFAR10 = SHARED / "tfds"
IMAGENET = SHARED / "imagenet_samples"
FILES = CIFAR10 / "cifar10" / "3.0.2"

needs_cifar10 = pytest.mark.skipif(
  not CIFAR10.is_dir(), reason=f"no prepared CIFAR-10 in {CIFAR10}"
)
needs_imagenet = pytest.mark.skipif(
  not IMAGENET.is_dir(), reason=f"no ImageNet images in {IMAGENET}"
)


def _pillow(encoded, mode="RGB"):
  return np.asarray(PIL.Image.open(io.BytesIO(encoded)).convert(mode))


def _encode(image, kind, **options):
  buffer = io.BytesIO()
  PIL.Image.fromarray(image).save(buffer, kind, **options)
  return buffer.getvalue()


def _noise(*shape):
  return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


# Embedded sets


def _photos(split):
  return sources.open_source("photos", split, None)


def test_an_image_comes_with_its_label():
  train = _photos("train")
  image, label = train[17]
  assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)
  assert type(label) is int
  assert label == train.labels[17]


@pytest.mark.parametrize(
  ("split", "parts"),
  [
    ("train[1000:]", [("train", 1000, None)]),
    ("train[-5:]", [("train", -5, None)]),
    ("train[7:9]+test", [("train", 7, 9), ("test", 0, None)]),
    ("all", [("train", 0, None), ("test", 0, None)]),
  ],
)
def test_slices_of_an_embedded_set(split, parts):
  got = _photos(split)
  for attribute in ("images", "labels"):
    expected = [getattr(_photos(name), attribute)[a:b] for name, a, b in parts]
    np.testing.assert_array_equal(getattr(got, attribute), np.concatenate(expected))


def test_another_set_is_one_more_loader(monkeypatch):
  images, labels = _noise(6, 5, 7, 3), np.array([0, 3, 1, 2, 3, 0])
  monkeypatch.setitem(sources.EMBEDDED, "tiny", lambda: {"all_of_it": (images, labels)})
  source = sources.open_source("tiny", "all_of_it[2:]", None)
  np.testing.assert_array_equal(source.images, images[2:])
  assert (len(source), source.num_classes, source.channels) == (4, 4, 3)


# Prepared data sets


@needs_cifar10
@pytest.mark.parametrize("split", ["test[:300]", "train[49900:]+test[5:10]"])
def test_cifar10_equals_pillows_decode(split):
  source = sources.open_source("cifar10", split, str(CIFAR10))
  examples = tfds.data_source(
    "cifar10",
    split=split,
    data_dir=CIFAR10,
    download=False,
    decoders={"image": tfds.decode.SkipDecoding()},
  )
  expected = np.stack([_pillow(example["image"]) for example in examples])
  np.testing.assert_array_equal(source.images, expected)
  assert source.labels.tolist() == [example["label"] for example in examples]
  assert (source.num_classes, source.channels) == (10, 3)


@needs_cifar10
def test_streaming_gives_the_same_images_also_once_pickled(monkeypatch):
  in_memory = sources.open_source("cifar10", "test[:20]", str(CIFAR10))
  assert isinstance(in_memory, sources.ArraySource)
  monkeypatch.setattr(sources, "_MEMORY_LIMIT", 20 * 32 * 32 * 3 - 1)
  streaming = sources.open_source("cifar10", "test[:20]", str(CIFAR10))
  assert isinstance(streaming, sources.RecordSource)
  for source in (streaming, pickle.loads(pickle.dumps(streaming))):
    assert len(source) == 20
    for i in range(20):
      np.testing.assert_array_equal(source[i][0], in_memory[i][0])
      assert source[i][1] == in_memory[i][1]


@pytest.fixture
def own_set(tmp_path):
  """A data set of the user's own: known by its files, without a builder."""
  folder = tmp_path / "own_set" / "1.0.0"
  folder.mkdir(parents=True)
  info = json.loads((FILES / "dataset_info.json").read_text())
  info |= {"name": "own_set", "version": "1.0.0", "moduleName": "own"}
  (folder / "dataset_info.json").write_text(json.dumps(info))
  (folder / "features.json").write_text((FILES / "features.json").read_text())
  shard = "test.array_record-00000-of-00001"
  (folder / f"own_set-{shard}").symlink_to(FILES / f"cifar10-{shard}")
  return folder


def _drop_features(folder, *names):
  path = folder / "features.json"
  features = json.loads(path.read_text())
  for name in names:
    del features["featuresDict"]["features"][name]
  path.write_text(json.dumps(features))


def _open_own(folder):
  return sources.open_source("own_set", "test[:9]", str(folder.parents[1]))


@needs_cifar10
def test_an_unregistered_set_is_read_by_its_files(own_set):
  source = _open_own(own_set)
  expected = sources.open_source("cifar10", "test[:9]", str(CIFAR10))
  np.testing.assert_array_equal(source.images, expected.images)
  np.testing.assert_array_equal(source.labels, expected.labels)


@needs_cifar10
def test_a_set_without_labels(own_set):
  _drop_features(own_set, "label")
  source = _open_own(own_set)
  assert source.num_classes is None
  assert source.labels.tolist() == [-1] * 9


@needs_cifar10
def test_a_set_without_images(own_set):
  _drop_features(own_set, "image")
  with pytest.raises(UserError, match="own_set has no 8-bit image feature"):
    _open_own(own_set)


# Decoding


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_is_decoded_exactly(channels):
  image = _noise(9, 14, channels)
  encoded = _encode(image.squeeze(-1) if channels == 1 else image, "PNG")
  np.testing.assert_array_equal(sources.decode_image(encoded, channels), image)


@pytest.mark.parametrize("kind", ["BMP", "PPM", "TIFF", "WEBP"])
def test_other_lossless_files_are_decoded_to_rgb(kind):
  image = _noise(9, 14, 3)
  options = {"lossless": True} if kind == "WEBP" else {}
  encoded = _encode(image, kind, **options)
  np.testing.assert_array_equal(sources.decode_image(encoded, 3), image)


def test_grey_and_alpha_become_three_channels():
  grey, rgba = _noise(9, 14), _noise(9, 14, 4)
  np.testing.assert_array_equal(
    sources.decode_image(_encode(grey, "PNG"), 3), np.stack([grey] * 3, axis=-1)
  )
  np.testing.assert_array_equal(
    sources.decode_image(_encode(rgba, "PNG"), 3), rgba[..., :3]
  )


def test_exif_orientation_is_ignored():
  exif = PIL.Image.Exif()
  exif[0x0112] = 6  # "rotate by 90 degrees"
  encoded = _encode(np.zeros((8, 24, 3), np.uint8), "JPEG", exif=exif)
  assert sources.decode_image(encoded, 3).shape == (8, 24, 3)


@pytest.mark.parametrize("encoded", [b"", b"no image at all"])
def test_bytes_that_are_no_image(encoded):
  with pytest.raises(UserError, match="cannot be decoded"):
    sources.decode_image(encoded, 3)


def test_an_image_with_other_channels_than_declared():
  encoded = cv2.imencode(".png", _noise(4, 4, 3))[1].tobytes()
  with pytest.raises(UserError, match="has 3 channels of uint8, not 4"):
    sources.decode_image(encoded, 4)


@needs_imagenet
def test_imagenet_jpegs_decode_to_rgb_as_in_pillow():
  files = [path.read_bytes() for path in sorted(IMAGENET.glob("*.JPEG"))]
  modes = [PIL.Image.open(io.BytesIO(file)).mode for file in files]
  grey = [file for file, mode in zip(files, modes, strict=True) if mode == "L"]
  assert len(grey) == 4
  for encoded in grey + files[::20]:
    got = sources.decode_image(encoded, 3)
    # Both decode with libjpeg-turbo; builds differ by one step of rounding.
    np.testing.assert_allclose(got.astype(int), _pillow(encoded), atol=2)


# Errors


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("photoz", "no data set photoz: did you mean photos"),
    ("cifar1O", "no data set cifar1O: did you mean cifar10"),
    ("imagnet2012/x:1.0.0", "did you mean imagenet2012"),
    ("qqqqqq", "no data set qqqqqq: check its name"),
    ("two words", r"write name\[/config\]\[:version\]"),
    ("cifar100", "cifar100 is not prepared in .*prepare --name=cifar100 --data"),
    ("cifar10:1.0.0", "prepare --name=cifar10:1.0.0"),
  ],
)
def test_names_that_cannot_be_opened(tmp_path, name, message):
  with pytest.raises(UserError, match=message):
    sources.open_source(name, "train", str(tmp_path))


def test_a_set_that_is_not_in_the_default_folder(tmp_path, monkeypatch):
  monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
  with pytest.raises(UserError, match=r"prepare --name=cifar100$"):
    sources.open_source("cifar100", "train", None)


def test_a_folder_that_does_not_exist(tmp_path):
  with pytest.raises(UserError, match="nowhere does not exist"):
    sources.open_source("cifar10", "train", str(tmp_path / "nowhere"))


BAD_SPLITS = [
  "validation",
  "train[",
  "train[3]",
  "train[5:5]",
  "train[9:5]",
  "train[:99999]",
]


@pytest.mark.parametrize("split", BAD_SPLITS)
def test_bad_splits_of_an_embedded_set(split):
  with pytest.raises(UserError, match=r"nothing .* it has train \("):
    _photos(split)


@needs_cifar10
@pytest.mark.parametrize("split", BAD_SPLITS)
def test_bad_splits_of_a_prepared_set(split):
  with pytest.raises(UserError, match=r"nothing .* it has train \(50000 images"):
    sources.open_source("cifar10", split, str(CIFAR10))
