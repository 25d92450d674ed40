"""What is asked of labels: which images have one, which class, and who has seen it."""

from collections.abc import Mapping

import numpy as np
from absl import logging

from byol_jax.data import splits
from byol_jax.data.labelled import labels_of
from byol_jax.data.parts import WithParts
from byol_jax.data.sources import Dataset
from byol_jax.errors import UserError

# Parts of the images to train on; no split has a name with a space.
FIT, HELD_OUT = "to fit", "held out"


def called(split: str) -> str:
  """What a message calls a split, or a part that has no name for the user."""
  parts = {FIT: "data.train without what is held out", HELD_OUT: "what is held out"}
  return parts.get(split, f"the split {split!r}")


def labelled_alone(dataset: WithParts, train: str, *others: str) -> WithParts:
  """The same images, but of some splits or parts only those with labels.

  Labels are read of all images. Where these may be of several classes, all are left,
  and numbered.

  Args:
    dataset: the images.
    train: a split or part to train on.
    others: further ones.

  Raises:
    UserError: one has no labels, or those to train on are of one class.
  """
  parts, several = {}, False
  for name in (train, *others):
    truth = dataset.truth(name)
    if truth is None:
      labels = labels_of(dataset.split(name))
      known = np.flatnonzero(labels >= 0)
      classes, images = len(np.unique(labels[known])), len(labels)
    else:
      several, images, known = True, len(truth), np.arange(len(truth))
      classes = int(truth.any(axis=0).sum())
    if not classes:
      raise UserError(f"{called(name)} has no labels to evaluate with")
    if name == train and classes < 2:
      raise UserError(
        f"all images of {train!r} are of one class: name others as data.train"
      )
    if len(known) < images:
      warn_of_unlabelled(name, images - len(known), images)
      parts[name] = name, known
  return WithParts(dataset, parts, numbered=several)


def warn_of_unlabelled(name: str, unknown: int, images: int) -> None:
  """Warns of so many images of a split or part that have no label."""
  logging.warning(
    "%s: %d of %d images have no label, and are left out", name, unknown, images
  )


def check_classes(classes: int, labels: Mapping[str, np.ndarray]) -> None:
  """Warns of classes that a split or part lacks.

  Args:
    classes: how many there are.
    labels: int [N] of each split or part, by its name.

  Raises:
    UserError: one has images of fewer than two classes.
  """
  for name, of_part in labels.items():
    there = np.unique(of_part)
    if len(there) < 2:
      is_part = name in (FIT, HELD_OUT)
      way_out = "choose settings by others, by data.held_out or data.valid"
      raise UserError(
        f"{called(name)} has one class alone on its {len(of_part)} images:"
        f" {way_out if is_part else 'give images of two classes or more'}"
      )
    if absent := sorted(set(range(classes)) - set(there.tolist())):
      logging.warning(
        "%d of %d classes have no image in %s, such as class %d",
        len(absent),
        classes,
        called(name),
        absent[0],
      )


def warn_of_unseen(name: str, labels: np.ndarray, train: np.ndarray) -> None:
  """Warns of images of classes that no image to train on has.

  Args:
    name: of the split to test on.
    labels: of its images, int [N]; -1 is no label.
    train: labels of the images to train on, int [M].
  """
  known = labels[labels >= 0]
  if len(unseen := known[~np.isin(known, train)]):
    logging.warning(
      "%s: %d of %d images are of %d classes that no image to train on has, and count"
      " as wrong",
      name,
      len(unseen),
      len(known),
      len(np.unique(unseen)),
    )


def warn_if_shared(
  dataset: Dataset,
  test: str,
  other: str,
  use: str = "to test on",
  what: str = "the accuracy",
) -> None:
  """Warns if images to test on are among others that classifiers are fitted to.

  Args:
    dataset: the images.
    test: a split.
    other: another one, to train on or to choose settings by.
    use: of the images of `test`, for the message.
    what: comes of them, likewise.
  """
  count = splits.shared(dataset.name, test, other, dataset.sizes)
  if count:
    logging.warning(
      "%s: %d of the %d images of %r, %s, are in %r too, which is fitted to: %s says"
      " nothing of new images",
      dataset.name,
      count,
      dataset.check(test),
      test,
      use,
      other,
      what,
    )
