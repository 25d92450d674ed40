"""What is said of images that are not like an encoder's, or that it was fitted to."""

import numpy as np
import pytest

from byol_jax.data import sources
from byol_jax.description import ImageForm
from byol_jax.errors import UserError
from experiments.downstream import shown


def images(height, width, channels, count=100):
  pixels = np.zeros((count, height, width, channels), np.uint8)
  return sources.ArrayDataset("made", {"train": (pixels, np.arange(count))})


def form(size, channels):
  return ImageForm(size, channels, (0.5,), (0.25,), 1.0)


def conversion(height, width, channels, seen):
  return shown.conversion(images(height, width, channels).split("train"), seen, "made")


@pytest.mark.parametrize(
  ("image", "seen", "expected"),
  [
    ((32, 32, 3), (32, 3), None),
    ((64, 40, 3), (32, 3), None),
    ((28, 28, 1), (28, 1), None),
    ((28, 28, 1), (32, 3), "28 x 28 x 1 shown as 32 x 32 x 3"),
    ((64, 48, 1), (32, 3), "64 x 48 x 1 shown as 32 x 32 x 3"),
    ((64, 31, 3), (32, 3), "64 x 31 x 3 shown as 32 x 32 x 3"),
  ],
)
def test_images_of_other_forms_are_said(image, seen, expected, caplog):
  assert conversion(*image, form(*seen)) == expected
  assert len(caplog.records) == (expected is not None)


@pytest.mark.parametrize(("channels", "seen"), [(3, 1), (4, 3), (1, 4)])
def test_other_channels_are_refused(channels, seen):
  message = f"made have {channels} channels, and the encoder was trained on {seen}"
  with pytest.raises(UserError, match=message):
    conversion(32, 32, channels, form(32, seen))


class Damaged(sources.ArraySource):
  def __getitem__(self, index):
    raise sources.Unreadable("damaged")


def test_images_that_cannot_be_read_have_no_size():
  source = images(8, 8, 3).split("train")
  damaged = Damaged(source.images, source.labels, source.num_classes)
  with pytest.raises(UserError, match="none of 64 images can be read"):
    shown.conversion(damaged, form(8, 3), "made")
