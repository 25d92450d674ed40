"""Colour and blur in double precision, by the standard library and SciPy."""

import colorsys

import numpy as np
import scipy.ndimage


def per_pixel(f, image):
  """Applies f((r, g, b)) -> (x, y, z) pixel by pixel, in double precision."""
  rows = [f(*pixel) for pixel in image.reshape(-1, 3).tolist()]
  return np.array(rows).reshape(image.shape)


def turned_hsv(hue=0.0, saturation=1.0):
  """Turns the hue and scales the saturation with the standard library."""

  def change(r, g, b):
    h, s, v = colorsys.rgb_to_hsv(r, g, b)
    return colorsys.hsv_to_rgb((h + hue) % 1.0, min(s * saturation, 1.0), v)

  return lambda image: per_pixel(change, image)


def blurred(image, sigma):
  radius = int(len(image) / 10 / 2)
  kernel = np.exp(-(np.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
  kernel /= kernel.sum()
  for axis in (0, 1):
    image = scipy.ndimage.correlate1d(image, kernel, axis, mode="constant")
  return image
