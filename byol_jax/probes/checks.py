"""Whether features and labels are such that a probe can say something."""

import numpy as np

from byol_jax.errors import UserError


def check(
  train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray
) -> None:
  """Looks at features [N, D], [M, D] and the labels of each.

  Raises:
    UserError: shapes do not fit, or features are not finite.
  """
  for name, x, y in (("train", train_x, train_y), ("test", test_x, test_y)):
    if x.ndim != 2 or y.shape != x.shape[:1] or len(x) < 2:
      raise UserError(
        f"the {name} set of the probe has features {x.shape} and labels "
        f"{y.shape}; give at least two images, [N, D] and [N]"
      )
    if not np.isfinite(x).all():
      raise UserError(
        f"the {name} features hold NaN or infinite values: the network has "
        "diverged; train it with a lower learning rate"
      )
  if train_x.shape[1] != test_x.shape[1]:
    raise UserError(
      f"train features have {train_x.shape[1]} dimensions and test features "
      f"{test_x.shape[1]}; compute both with the same network"
    )


def labelled(name: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Features and labels of a set without its images of no label, which is -1.

  Raises:
    UserError: fewer than two are left.
  """
  known = y >= 0
  if known.all():
    return x, y
  if known.sum() < 2:
    raise UserError(
      f"{known.sum()} of {len(y)} images of the {name} set have a label: give a split"
      " with labels"
    )
  return x[known], y[known]
