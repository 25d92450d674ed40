"""Data sets by name."""

from collections.abc import Callable

from byol_jax.data import folder, photos, tfds_sets
from byol_jax.data.sources import Dataset

# Name -> what opens it, given `data_dir`. Any other name is tensorflow-datasets'.
DATASETS: dict[str, Callable[[str | None], Dataset]] = {
  "folder": folder.open_dataset,
  "photos": photos.open_dataset,
  "unlabelled_folder": folder.open_unlabelled,
}


def open_dataset(name: str, data_dir: str | None) -> Dataset:
  """Opens a data set; images are read when a split of it is opened.

  Args:
    name: a key of `DATASETS`, or a tensorflow-datasets name, with config and
      version where wanted, such as "imagenet_resized/64x64" or "cifar10:3.0.2".
    data_dir: of a folder of images, the folder; else that of the prepared data sets,
      None for TFDS's own default.

  Raises:
    UserError: no such data set or folder; it is not prepared, or prepared as
      tfrecord alone; it holds no 8-bit image.
  """
  if name in DATASETS:
    return DATASETS[name](data_dir)
  return tfds_sets.open_dataset(name, data_dir, known=tuple(DATASETS))
