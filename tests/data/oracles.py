"""Colour, blur and resizing in double precision, by the standard library and SciPy."""

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


def cubic_weights(size_in, size_out):
  """Keys' bicubic kernel (1981) with a = -0.75, half-pixel centres."""
  a, weights = -0.75, np.zeros((size_out, size_in))
  for i in range(size_out):
    centre = (i + 0.5) * size_in / size_out - 0.5
    for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
      x = abs(centre - tap)
      near = (a + 2) * x**3 - (a + 3) * x**2 + 1
      far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
      weights[i, np.clip(tap, 0, size_in - 1)] += near if x <= 1 else far
  return weights


def bicubic(image, size):
  """An image [H, W, C] at [size, size, C], not rounded, not clipped."""
  rows, columns = (cubic_weights(pixels, size) for pixels in image.shape[:2])
  return np.einsum("iy,yxc,jx->ijc", rows, image, columns)
