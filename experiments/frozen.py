"""What evaluations of frozen encoders share: encoders, images, features and results."""

import contextlib
import glob
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from byol_jax import description, diagnostics, parallel
from byol_jax.data import datasets
from byol_jax.data.parts import WithParts, fit_and_held_out
from byol_jax.data.sources import Dataset
from byol_jax.disk import absolute, read_json
from byol_jax.embed import files
from byol_jax.embed.writing import write_features
from byol_jax.errors import UserError
from byol_jax.formats import saved
from byol_jax.pretrained import Encoder, load_encoder
from byol_jax.run import results
from byol_jax.run.folder import RunDir
from experiments import choices, inputs, shown

FIT, HELD_OUT = "fit", "held out"  # parts of the images to train on
MAY_BE_OPEN = ("data.train", "data.test", "data.held_out")
_COLLAPSED = 0.99  # common part of the features

Summary = dict[str, Any]


class Subject(NamedTuple):
  """An encoder, and the images that it is evaluated on.

  Attributes:
    config: of the evaluation, with no split left open.
    encoder: the encoder.
    dataset: the images, with the parts `FIT`, to fit to, and `HELD_OUT`, to choose
      settings by: of `config.data.train`, or all of that and `config.data.valid`.
    run_dir: the folder of the evaluation.
    shown: how its images become those of the encoder; see `shown.conversion`.
  """

  config: ConfigDict
  encoder: Encoder
  dataset: WithParts
  run_dir: RunDir
  shown: str | None

  def features(self, split: str) -> files.Features:
    """Features of a split or part, kept in the run's folder: a killed run goes on.

    Their label is int [N], or of a set whose images are of several classes bool [N, C].
    """
    name = "".join(c if c.isalnum() else "_" for c in split)
    path = self.run_dir.path / "features" / f"{name}.npz"
    if not parallel.agree(path.exists()):
      path.parent.mkdir(parents=True, exist_ok=True)
      batch_size = self.config.eval.batch_size
      write_features(
        self.encoder, self.dataset, path, split=split, batch_size=batch_size
      )
    found = files.read_features(path)
    if found.provenance["encoder"]["checksum"] != f"sha256:{self.encoder.checksum}":
      raise UserError(
        f"{path} is of another encoder than {self.config.encoder} is now: choose"
        " another --workdir"
      )
    common = float(diagnostics.common_part(jnp.asarray(found.embedding[:10_000])))
    if common > _COLLAPSED:
      logging.warning(
        "%s: the encoder has collapsed, or was not trained: %.4f of the features is the"
        " same for all images (common part)",
        split,
        common,
      )
    if (truth := self.dataset.truth(split)) is None:
      return _labelled(found, split)
    if not truth.any():
      raise UserError(f"the split {split!r} has no labels to evaluate with")
    return found._replace(label=truth)


def _labelled(found: files.Features, split: str) -> files.Features:
  """Those of images with a label."""
  known = found.label >= 0
  if known.all():
    return found
  logging.warning(
    "%s: %d of %d images have no label, and are left out",
    split,
    np.sum(~known),
    len(known),
  )
  if known.sum() < 2:
    raise UserError(f"the split {split!r} has no labels to evaluate with")
  return found._replace(
    embedding=found.embedding[known], path=found.path[known], label=found.label[known]
  )


def together(one: files.Features, other: files.Features) -> files.Features:
  """The features of two parts, one after the other."""
  return one._replace(
    embedding=np.concatenate([one.embedding, other.embedding]),
    path=np.concatenate([one.path, other.path]),
    label=np.concatenate([one.label, other.label]),
  )


@contextlib.contextmanager
def begun(subject: Subject) -> Iterator[Summary | None]:
  """Holds the folder for an evaluation; its summary, if it is complete."""
  with subject.run_dir as run_dir:
    run_dir.claim(subject.config, subject.dataset.listing())
    yield summary_of(run_dir)


def summary_of(run_dir: RunDir) -> Summary | None:
  """The summary of a complete run, None for any other; the same on all hosts."""
  return json.loads(
    parallel.text_from_first_host(lambda: json.dumps(run_dir.read_summary()))
  )


def ended(subject: Subject, summary: Summary) -> Summary:
  """Writes the summary, and removes the features."""
  subject.run_dir.write_summary(summary)
  if subject.run_dir.writes:
    shutil.rmtree(subject.run_dir.path / "features", ignore_errors=True)
  return summary


def each(
  config: ConfigDict, run_dir: RunDir, evaluate: Callable[[ConfigDict, RunDir], Summary]
) -> Summary:
  """Evaluates the encoder that a config names, or each of several.

  Args:
    config: its `encoder` is a run, a file, or a pattern such as "runs/*".
    run_dir: of the evaluation; of several encoders each has a folder within.
    evaluate: of one encoder, in a folder of its own.

  Returns:
    The summary, or that of each encoder by its name.

  Raises:
    UserError: there is no encoder.
  """
  pattern = config.encoder
  if not pattern:
    raise UserError(
      "name the encoder to evaluate, as in --config.encoder=runs/byol_gn_ws"
    )
  names = json.loads(parallel.text_from_first_host(lambda: json.dumps(_find(pattern))))
  config = config.copy_and_resolve_references()
  if config.results is None:
    config.results = str(run_dir.path.parent / results.FILE)
  if names is None:
    return evaluate(config, run_dir)
  found = {}
  for name, path in names.items():
    one = config.copy_and_resolve_references()
    one.encoder = path
    logging.info("%s", path)
    found[name] = evaluate(one, run_dir.inside(name))
  return found


def _find(pattern: str) -> dict[str, str] | None:
  """Name -> path of the encoders that a pattern matches; None for a single path."""
  path = os.path.expanduser(pattern)
  if os.path.lexists(path) or not glob.has_magic(path):
    return None
  found = {each: each for each in sorted(glob.glob(path)) if _is_encoder(each)}
  if not found:
    raise UserError(f"there is no encoder at {pattern}: give runs or files of encoders")
  shared = os.path.commonpath([os.path.dirname(each) for each in found])
  return {os.path.relpath(each, shared).replace(os.sep, "-"): each for each in found}


def _is_encoder(path: str) -> bool:
  return saved.is_file(path) or (Path(path) / description.FILE).exists()


def subject(
  config: ConfigDict, run_dir: RunDir, several_classes: bool = False
) -> Subject:
  """Opens what a config names, and checks that one can be evaluated on the other.

  Args:
    config: of the evaluation.
    run_dir: its folder.
    several_classes: whether images are to be of several classes each, or of one.

  Raises:
    UserError: something is not there, or does not fit.
  """
  encoder = load_encoder(config.encoder, config.which, config.precision)
  dataset = datasets.open_dataset(config.data.name, config.data.data_dir)
  inputs.check_folder(run_dir, dataset)
  config = config.copy_and_resolve_references()
  with config.unlocked(), config.ignore_type():
    if config.data.train is None:
      config.data.train, _ = choices.train_split(dataset)
    if config.data.test is None:
      config.data.test, _ = choices.test_split(config, dataset.sizes)
  dataset.check(config.data.test)
  form = encoder.description.image
  with_parts = WithParts(dataset, _parts(dataset, config), form.channels)
  source = dataset.split(config.data.train)
  if several_classes and with_parts.truth(config.data.train) is None:
    raise UserError(f"{dataset.name} has no images of several classes to evaluate with")
  if not several_classes and not source.num_classes:
    raise UserError(f"{dataset.name} has no labels, one an image, to evaluate with")
  conversion = shown.conversion(source, form, dataset.name)
  for name in filter(None, (config.data.train, config.data.valid)):
    shown.warn_if_shared(dataset, config.data.test, name)
  return Subject(config, encoder, with_parts, run_dir, conversion)


def _parts(dataset: Dataset, config: ConfigDict) -> dict[str, tuple[str, np.ndarray]]:
  """The parts `FIT` and `HELD_OUT`: split and places in it."""
  train, valid, held_out = (config.data[k] for k in ("train", "valid", "held_out"))
  images = dataset.check(train)
  if valid is None:
    fit, rest = fit_and_held_out(images, held_out)
    return {FIT: (train, fit), HELD_OUT: (train, rest)}
  if held_out is not None:
    raise UserError(
      f"data.valid is {valid!r} and data.held_out {held_out}: give one of them"
    )
  return {
    FIT: (train, np.arange(images)),
    HELD_OUT: (valid, np.arange(dataset.check(valid))),
  }


def record(
  found: Subject,
  protocol: str,
  metric: str,
  value: float,
  *,
  test_images: int,
  setting: Mapping[str, Any],
) -> None:
  """Appends an accuracy to results.jsonl, on the first host alone.

  Args:
    found: what was evaluated.
    protocol: what was done, such as "knn".
    metric: a key of `probes.METRICS`.
    value: in [0, 1].
    test_images: of how many images it is.
    setting: what the sweep has chosen, and what it chose from.
  """
  if not found.run_dir.writes:
    return
  config, about = found.config, found.encoder.description
  results.append(
    config.results,
    {
      "protocol": protocol,
      "setting": dict(setting),
      "data": found.dataset.name,
      "images": found.shown,
      "train": config.data.train,
      "valid": config.data.valid,
      "test": config.data.test,
      "metric": metric,
      "value": value,
      "test_images": test_images,
      "encoder": {
        "path": config.encoder,
        "checksum": found.encoder.checksum,
        "step": found.encoder.step,
        "network": dict(about.network),
      },
      "pretrained": _pretrained(config.encoder),
      "seed": config.seed,
      "run": str(found.run_dir.path),
    },
  )


def _pretrained(path: str) -> dict[str, Any] | None:
  """Of the encoder of a run: its config, without what says where and how fast."""
  folder = absolute(path)
  for place in (folder, *folder.parents[:2]):
    if (place / "config.json").exists():
      config = read_json(place / "config.json")
      kept = ("seed", "objective", "target", "bn_init", "train", "optimiser")
      about = {name: config.get(name) for name in kept}
      return about | {
        "data": config["data"]["name"],
        "augmentations": config.get("augmentations"),
      }
  return None
