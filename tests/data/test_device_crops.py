"""Crops on the device, beside OpenCV's and a bicubic kernel in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax.data import crops, device_crops, reduce
from byol_jax.data.views import View
from tests.data import oracles

VIEW = View(crop_area=(0.01, 1.0), crop_aspect=(0.4, 2.5))


def _noise(*shape):
  return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _boxes(count, height, width, size):
  uniforms = np.random.default_rng(1).random((count, crops.NUM_UNIFORMS))
  boxes = crops.random_boxes(
    height, width, uniforms=[uniforms], size=size, views=[VIEW]
  )
  return uniforms, boxes[:, 0]


def _crop(images, boxes, size):
  crop = jax.jit(lambda images, boxes: device_crops.crop_flip(images, boxes, size))
  return np.asarray(crop(images, boxes))


# Mostly enlarged, mostly reduced, and both; in the form of CPUs and in that of others.
@pytest.mark.parametrize(
  ("height", "width", "channels", "size", "backend"),
  [(20, 26, 3, 24, "cpu"), (60, 40, 1, 16, "cpu"), (48, 48, 4, 24, "gpu")],
)
def test_it_is_bicubic_and_opencvs_to_a_level(
  height, width, channels, size, backend, monkeypatch
):
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  images = _noise(200, height, width, channels)
  uniforms, boxes = _boxes(len(images), height, width, max(height, width))
  found = _crop(images, boxes, size)
  assert found.dtype == np.uint8

  theirs = [
    crops.random_crop_flip(image, draw, size, VIEW)
    for image, draw in zip(images, uniforms, strict=True)
  ]
  distance = np.abs(found.astype(int) - np.stack(theirs))
  assert distance.max() <= 1
  assert (distance > 0).mean() < 0.05  # 1e-5 with Intel's IPP

  exact = [
    oracles.bicubic(image[top : top + rows, left : left + columns], size)
    for image, (top, left, rows, columns, *_) in zip(images, boxes, strict=True)
  ]
  flip = boxes[:, 5, None, None, None] == 1
  exact = np.where(flip, np.stack(exact)[:, :, ::-1], np.stack(exact))
  assert np.abs(found - np.clip(exact, 0, 255)).max() < 0.501


@pytest.mark.parametrize(("height", "width"), [(96, 96), (61, 75)])
def test_large_images_are_averaged_first_as_on_the_host(height, width):
  images = _noise(100, height, width, 3)
  uniforms, boxes = _boxes(len(images), height, width, 12)
  assert set(boxes[:, 4].tolist()) >= {1, 2, 4}
  theirs = [
    crops.random_crop_flip(reduce.averaged(image, int(box[4])), draw, 12, VIEW)
    for image, box, draw in zip(images, boxes, uniforms, strict=True)
  ]
  distance = np.abs(_crop(images, boxes, 12).astype(int) - np.stack(theirs))
  assert distance.max() <= 2
  assert distance.mean() < 0.2


@pytest.mark.parametrize("flip", [0, 1])
def test_a_box_of_the_target_size_is_cut_out_exactly(flip):
  image = _noise(1, 20, 30, 3)
  found = _crop(image, np.int32([[3, 7, 12, 12, 1, flip]]), 12)
  expected = image[:, 3:15, 7:19]
  np.testing.assert_array_equal(found, expected[:, :, ::-1] if flip else expected)


def test_single_pixels_and_edges_of_the_image():
  image = _noise(1, 9, 9, 3)
  for top, left in ((0, 0), (8, 8), (4, 0)):
    found = _crop(image, np.int32([[top, left, 1, 1, 1, 0]]), 4)
    np.testing.assert_array_equal(
      found, np.broadcast_to(image[:, top, left], (1, 4, 4, 3))
    )


def test_64_bit_types_change_nothing():
  images, (_, boxes) = _noise(8, 40, 52, 3), _boxes(8, 40, 52, 9)
  assert boxes[:, 4].max() > 1
  expected = _crop(images, boxes, 9)
  with jax.enable_x64(True):
    np.testing.assert_array_equal(_crop(images, boxes, 9), expected)


def test_a_batch_of_boxes_becomes_one_of_views():
  images = _noise(5, 12, 12, 3)
  index = np.int32([[4, 0, 4], [1, 2, 3]])  # two microbatches of three
  drawn = _boxes(6, 12, 12, 8)[1]
  boxes = np.stack([drawn, drawn[::-1]], axis=1)
  batch = {"images": images, "index": index, "label": index}
  batch["boxes"] = boxes.reshape(2, 3, 2, 6)
  found = device_crops.crop_batch(jax.tree.map(jnp.asarray, batch), 8)
  assert found.keys() == {"view1", "view2", "label"}
  for number in (0, 1):
    view = found[f"view{number + 1}"]
    assert view.shape == (2, 3, 8, 8, 3)
    alone = _crop(images[index.reshape(-1)], boxes[:, number], 8)
    np.testing.assert_array_equal(view.reshape(alone.shape), alone)
