"""What the probes are given: every image once, in order, beside a loop by hand."""

import collections

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax import description as describe
from byol_jax import features, parallel, pretrained
from byol_jax.data.sources import ArraySource
from byol_jax.errors import UserError
from byol_jax.nets import model


class _Photographs:
  """Images of many sizes, some without a label; counts how often each is read."""

  num_classes, channels = 3, 3

  def __init__(self, count):
    rng = np.random.default_rng(count)
    sizes = rng.integers(9, 20, (count, 2))
    self.images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    self.labels = rng.integers(-1, 3, count).tolist()
    self.reads = collections.Counter()

  def __len__(self):
    return len(self.images)

  def __getitem__(self, index):
    self.reads[index] += 1
    return self.images[index], self.labels[index]


def cropped(image, size, crop):
  """The middle square, resized: as in evaluation."""
  side = int(crop * min(image.shape[:2]))
  top, left = ((length - side + 1) // 2 for length in image.shape[:2])
  square = image[top : top + side, left : left + side]
  return cv2.resize(square, (size, size), interpolation=cv2.INTER_CUBIC)


def summary(params, batch):
  """Stands for a network; the padding's black images would give zeros."""
  pixels = batch["image"].astype(jnp.float32)
  return {"sums": params * pixels.sum((1, 2)), "largest": pixels.max((1, 2, 3))}


# One device has 1, 2, 4 or 8 images at a time; the last batch is padded or full.
@pytest.mark.parametrize("count", [1, 7, 8])
@pytest.mark.parametrize("batch_size", [2, 4, 8, 16])
def test_extract_shows_a_network_every_image_once_in_order(count, batch_size):
  source = _Photographs(count)
  found = features.extract(
    features.gathered(summary),
    parallel.replicate(jnp.float32(0.5)),
    source,
    size=8,
    crop=0.75,
    batch_size=batch_size,
  )
  assert found.keys() == {"sums", "largest", "label", "index"}
  assert found["index"].tolist() == list(range(count))
  assert found["label"].tolist() == source.labels
  crops = np.stack([cropped(image, 8, 0.75) for image in source.images])
  np.testing.assert_allclose(found["sums"], crops.sum((1, 2)) * 0.5, rtol=1e-6)
  np.testing.assert_array_equal(found["largest"], crops.max((1, 2, 3)))
  assert source.reads == dict.fromkeys(range(count), 1)


FORM = describe.ImageForm(8, 3, (0.2, 0.4, 0.6), (0.5,), 0.75)


def fake_encoder():
  """Means of the channels, times a matrix, plus statistics."""
  rng = np.random.default_rng(0)
  params = {"linear": {"w": jnp.float32(rng.normal(size=(3, 5)))}}
  stats = {"norm": {"mean": jnp.float32(rng.normal(size=5))}}

  def embed(params, stats, images):
    return images.mean((1, 2)) @ params["linear"]["w"] + stats["norm"]["mean"]

  network = model.EncoderNetwork(init=None, embed=embed, train=None)
  description = describe.Description({}, "float32", FORM)
  encoder = pretrained.Encoder(params, stats, description, 0)
  vars(encoder)["network"] = network  # in place of what a description would make
  return encoder


def test_an_encoder_sees_what_a_loop_by_hand_shows_it():
  encoder, source = fake_encoder(), _Photographs(11)
  w, mean = encoder.params["linear"]["w"], encoder.stats["norm"]["mean"]

  found = features.of_encoder(encoder, source, batch_size=4)

  expected = []
  for image in source.images:
    standardised = (cropped(image, 8, 0.75) / 255 - [0.2, 0.4, 0.6]) / 0.5
    expected.append(standardised.mean((0, 1)) @ w + mean)
  np.testing.assert_allclose(found["embedding"], expected, atol=1e-5)
  assert found["embedding"].dtype == np.float32
  assert found["label"].tolist() == source.labels
  one_by_one = [encoder(image[None])[0] for image in source.images]
  np.testing.assert_allclose(found["embedding"], one_by_one, atol=1e-6)


def test_an_encoder_refuses_images_of_other_channels():
  grey = ArraySource(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, int), 1)
  with pytest.raises(UserError, match=r"1 channels, .* trained on 3"):
    features.of_encoder(fake_encoder(), grey)


@pytest.mark.parametrize("batch_size", [0, 3])
def test_all_devices_must_have_a_share_of_a_batch(batch_size):
  assert jax.device_count() == 2
  with pytest.raises(UserError, match=f"batch_size is {batch_size}: give a"):
    features.of_encoder(fake_encoder(), _Photographs(4), batch_size)


def test_small_images_are_their_own_pixels():
  images = np.random.default_rng(0).integers(0, 256, (300, 4, 4, 3), dtype=np.uint8)
  source = ArraySource(images, np.arange(300), 300)
  found = features.pixels(source, size=4, crop=1.0)
  np.testing.assert_allclose(found["embedding"], images.reshape(300, -1) / 255)
  assert found["embedding"].dtype == np.float32
  assert found["label"].tolist() == list(range(300))


def test_of_larger_images_the_pixels_are_means_of_squares():
  images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1), dtype=np.uint8)
  source = ArraySource(images, np.array([2, 0, 1]), 3)
  found = features.pixels(source, size=64, crop=1.0)
  means = images.reshape(3, 32, 2, 32, 2).mean((2, 4)).reshape(3, -1)
  # OpenCV rounds the means to whole levels.
  np.testing.assert_allclose(255 * found["embedding"], means, atol=0.51)
  assert found["label"].tolist() == [2, 0, 1]


def test_pixels_are_those_of_the_crop():
  source = _Photographs(5)
  found = features.pixels(source, size=6, crop=0.5)
  crops = [cropped(image, 6, 0.5).reshape(-1) for image in source.images]
  np.testing.assert_allclose(255 * found["embedding"], crops, rtol=1e-6)
