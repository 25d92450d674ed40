"""The data set of a run, as far as it can still be opened."""

import contextlib
import os

from byol_jax.data import datasets, splits
from byol_jax.data.sources import Dataset
from byol_jax.errors import UserError
from byol_jax.report.runs import Run

_SPLITS = ("data.train", "data.test", "probe.train", "probe.test", "probe.valid_test")
# Keys beside those of the splits.
SEEN = "test images that were trained on"
LEARNED = "test images of which probes learned the labels"


def open_dataset(run: Run, images: str | os.PathLike[str] | None) -> Dataset | str:
  """The data set of a run, or why it cannot be opened.

  Args:
    run: whose it is.
    images: where it lies now; None for where the run had it.
  """
  name = run.setting("data.name")
  try:
    if not isinstance(name, str):
      raise UserError("config.json names no data set")
    where = run.located("data.data_dir") if images is None else os.fspath(images)
    return datasets.open_dataset(name, where)
  except (UserError, OSError) as error:
    return str(error)


def counts(run: Run, dataset: Dataset | str) -> dict[str, int]:
  """Numbers of images, where they can be known.

  Returns:
    For settings of splits, such as "probe.test"; for `SEEN` and for `LEARNED`.
  """
  found: dict[str, int] = {}
  if isinstance(dataset, str):
    return found
  specs = {setting: run.setting(setting) for setting in _SPLITS}
  for setting, spec in specs.items():
    if isinstance(spec, str):
      with contextlib.suppress(UserError):
        found[setting] = dataset.check(spec)
  for key, setting in ((SEEN, "data.train"), (LEARNED, "probe.train")):
    if {setting, "probe.test"} <= found.keys():
      with contextlib.suppress(UserError):
        found[key] = splits.shared(
          dataset.name, specs[setting], specs["probe.test"], dataset.sizes
        )
  return found
