"""Puts the page of a run, or of several, together, and writes it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from byol_jax.data.sources import Dataset
from byol_jax.disk import absolute
from byol_jax.errors import UserError
from byol_jax.report import (
  comparison,
  curves,
  data,
  facts,
  output,
  pictures,
  runs,
  verdict,
)
from byol_jax.report.pictures import Picture
from byol_jax.report.runs import Run
from byol_jax.run.figures import CURVES


def write(
  folders: Sequence[str | os.PathLike[str]],
  out: str | os.PathLike[str] | None = None,
  images: str | os.PathLike[str] | None = None,
) -> Path:
  """Writes the report of a run, or the comparison of several.

  Nothing else is written, and the runs may be at work.

  Args:
    folders: of the runs.
    out: the file; by default report.html in the run's folder, of several runs
      comparison.html in the folder that holds them all.
    images: where the data set lies now, in place of the config's `data.data_dir`.

  Returns:
    The file.

  Raises:
    UserError: a folder is that of no run, or damaged; the file cannot be written, or
      is there and is no report.
  """
  if not folders:
    raise UserError("name the folder of a run, as in runs/mine")
  found = runs.read(folders)
  path = output.checked(_output(found, out))
  several = len(found) > 1
  page = _of_several(found, images) if several else _of_one(found[0], images)
  output.write(path, "comparison.html" if several else "run.html", page)
  return path


def _output(found: Sequence[Run], out: str | os.PathLike[str] | None) -> Path:
  """The file to write."""
  if out is not None:
    return absolute(out)
  if len(found) == 1:
    return found[0].path / "report.html"
  return Path(os.path.commonpath([run.path.parent for run in found]), "comparison.html")


def _of_one(run: Run, images: str | os.PathLike[str] | None) -> dict[str, Any]:
  """What the template shows of a run."""
  dataset = data.open_dataset(run, images)
  counts = data.counts(run, dataset)
  return {
    "title": f"Run {run.name}",
    "run": run,
    "findings": verdict.findings(run, counts),
    "trained": facts.trained(run, counts),
    "accuracies": facts.accuracies(run, counts),
    "health": facts.health(run),
    "curves": _curves([run]),
    "pictures": [pictures.views(run), *_of_encoder(run, dataset, counts)],
    "skipped": facts.skipped(run),
    "command": run.starts[-1].get("command") if run.starts else None,
    "made": facts.made(run),
    "starts": facts.starts(run),
    "time": facts.time(run),
    "settings": facts.settings(run),
    "rules": verdict.RULES,
  }


def _of_several(
  found: Sequence[Run], images: str | os.PathLike[str] | None
) -> dict[str, Any]:
  """What the template shows of several runs."""
  counts = [data.counts(run, data.open_dataset(run, images)) for run in found]
  return {
    "title": f"Comparison of {len(found)} runs",
    "runs": [(run, curves.sample(number)) for number, run in enumerate(found)],
    "reservations": comparison.reservations(found),
    "results": comparison.results(found, counts),
    "verdicts": comparison.verdicts(found, counts),
    "differing": comparison.settings(found),
    "curves": _curves(found),
    "made": comparison.made(found),
  }


def _curves(found: Sequence[Run]) -> list[dict[str, Any]]:
  """Each curve with its title and what it shows in words."""
  drawn = []
  for name in curves.names(found):
    several = [run.points(name) for run in found]
    words = [
      (f"{run.name}: " if len(found) > 1 else "") + curves.in_words(points)
      for run, points in zip(found, several, strict=True)
      if points
    ]
    title, unit = CURVES[name]
    svg = curves.draw(name, several)
    drawn.append({"title": title, "unit": unit, "svg": svg, "words": words})
  return drawn


def _of_encoder(
  run: Run, dataset: Dataset | str, counts: Mapping[str, int]
) -> list[Picture]:
  """The map and the neighbours, or why there are none."""
  if isinstance(dataset, str):
    return _not_drawn(f"{dataset}. --images=FOLDER says where the images are now.")
  if run.is_pretraining:
    # Where no images were kept for testing, as many as possible are shown.
    split = run.setting("data.train" if counts.get(data.SEEN) else "probe.test")
  else:
    split = run.setting("data.test")
  try:
    sample = pictures.sample(pictures.encoder_of(run), dataset, split or "test")
    return [
      pictures.embedding_map(sample),
      pictures.neighbour_rows(sample),
      pictures.untrained_rows(sample),
    ]
  except (UserError, OSError) as error:
    return _not_drawn(f"{error}.")


def _not_drawn(why: str) -> list[Picture]:
  titles = pictures.MAP, pictures.NEIGHBOURS
  return [Picture(title, f"Not drawn: {why}") for title in titles]
