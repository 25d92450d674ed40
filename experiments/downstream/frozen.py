"""What evaluations of frozen encoders share: encoders, images, features and results."""

import urllib.parse
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from byol_jax import diagnostics, features, parallel
from byol_jax.data import datasets
from byol_jax.data.parts import Part, WithParts, fit_and_held_out
from byol_jax.data.sources import Dataset
from byol_jax.embed import files
from byol_jax.embed.writing import write_features
from byol_jax.errors import UserError
from byol_jax.pretrained import Encoder, load_encoder
from byol_jax.run.folder import RunDir
from experiments import choices, inputs, labels, settings
from experiments.downstream import shown
from experiments.labels import FIT, HELD_OUT, called

_MAY_BE_OPEN = ("data.train", "data.test", "data.held_out")
_COLLAPSED = 0.99  # common part of the features


class Features(NamedTuple):
  """Of the images of a split that have a label: float32 [N, D], and int [N].

  The label of a set whose images are of several classes each is bool [N, C].
  """

  embedding: np.ndarray
  label: np.ndarray


class Subject(NamedTuple):
  """An encoder, and the images that it is evaluated on.

  Attributes:
    config: of the evaluation, with no split left open, and the encoder's checksum.
    encoder: the encoder.
    dataset: the images, with the parts `FIT`, to fit to, and `HELD_OUT`, to choose
      settings by: of `config.data.train`, or all of that and `config.data.valid`.
    run_dir: the folder of the evaluation.
    shown: how its images become those of the encoder; see `shown.conversion`.
    unreadable: name -> reason, of the images that have been left out so far.
  """

  config: ConfigDict
  encoder: Encoder
  dataset: WithParts
  run_dir: RunDir
  shown: str | None
  unreadable: dict[str, str]

  def features(self, split: str) -> Features:
    """Features of a split or part, kept in the run's folder: a killed run goes on.

    Images that cannot be read are left out, and listed in skipped.tsv.

    Raises:
      UserError: they are more than `data.max_unreadable`; the split has no labels.
    """
    name = urllib.parse.quote(split, safe="")
    path = self.run_dir.path / "features" / f"{name}.npz"
    if not parallel.value_from_first_host(path.exists):
      if self.run_dir.writes:
        path.parent.mkdir(parents=True, exist_ok=True)
      batch_size = self.config.eval.batch_size
      write_features(
        self.encoder, self.dataset, path, split=split, batch_size=batch_size
      )
    self._note(
      parallel.value_from_first_host(lambda: files.read_provenance(path)["left_out"])
    )
    found = Features(**parallel.from_first_host(lambda: self._read(path)))
    _say_if_collapsed(found.embedding[:10_000], split)
    if (truth := self.dataset.truth(split)) is None:
      return _labelled(found, split)
    if not truth.any():
      raise UserError(f"{called(split)} has no labels to evaluate with")
    return found._replace(label=truth)

  def _read(self, path: Path) -> dict[str, np.ndarray]:
    found = files.read_features(path)
    return {"embedding": found.embedding, "label": found.label}

  def _note(self, left_out: Mapping[str, str]) -> None:
    """Keeps which images could not be read, and why."""
    for name, reason in left_out.items():
      if name not in self.unreadable:
        logging.warning("%s is left out: %s", name, reason)
    self.unreadable.update(left_out)
    self.run_dir.write_skipped(self.unreadable)
    most = self.config.data.max_unreadable
    inputs.check_unreadable(self.dataset, self.unreadable, most)

  def look(self, split: str, images: int = 256) -> None:
    """Says whether the encoder has collapsed, by the first images of a split.

    Raises:
      UserError: its features of them are not finite.
    """
    source = self.dataset.split(split)
    part = Part(source, np.arange(min(images, len(source))))
    batch_size = parallel.device_multiple(len(part))
    embedding = features.of_encoder(self.encoder, part, batch_size)["embedding"]
    if not np.isfinite(embedding).all():
      raise UserError(
        f"features of {self.config.encoder} are NaN or infinite: the network has"
        " diverged; take an earlier checkpoint of its run"
      )
    _say_if_collapsed(embedding, split)

  def labelled_alone(self, train: str, *others: str) -> "Subject":
    """With splits or parts that have only images with labels; see `labels`."""
    dataset = labels.labelled_alone(self.dataset, train, *others)
    return self._replace(dataset=dataset)

  def check_classes(self, of_parts: Mapping[str, np.ndarray]) -> None:
    """Warns of classes that a split or part lacks; see `labels.check_classes`."""
    classes = self.dataset.split(self.config.data.train).num_classes or 0
    labels.check_classes(classes, of_parts)


def _check_finite(encoder: Encoder, path: str) -> None:
  """Looks at the weights: of NaN a rectifier may make 0, and features look sound."""
  leaves = jax.tree.leaves((encoder.params, encoder.stats))
  if not all(np.isfinite(leaf).all() for leaf in leaves):
    raise UserError(
      f"weights of {path} are NaN or infinite: the network has diverged; take an"
      " earlier checkpoint of its run"
    )


def _say_if_collapsed(embedding: np.ndarray, split: str) -> None:
  if len(embedding) < 2:  # one has all in common with itself
    return
  common = float(diagnostics.common_part(jnp.asarray(embedding)))
  if not embedding.any():  # which have no direction
    common = 1.0
  if common > _COLLAPSED:
    logging.warning(
      "%s: the encoder has collapsed, or was not trained: %.4f of the features is the"
      " same for all images (common part)",
      split,
      common,
    )


def _labelled(found: Features, split: str) -> Features:
  """Those of images with a label."""
  known = found.label >= 0
  if known.all():
    return found
  labels.warn_of_unlabelled(split, int(np.sum(~known)), len(known))
  if known.sum() < 2:
    raise UserError(f"{called(split)} has no labels to evaluate with")
  return Features(*(values[known] for values in found))


def together(one: Features, other: Features) -> Features:
  """The features of two parts, one after the other."""
  return Features(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))


def check(
  config: ConfigDict, example: ConfigDict, may_be_open: Collection[str] = ()
) -> None:
  """Refuses a config that has not the settings of an example; see `settings.check`."""
  example.data.held_out = 1
  settings.check(config, example, {*_MAY_BE_OPEN, *may_be_open})


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
  _check_finite(encoder, config.encoder)
  logging.info(
    "the encoder is that of %s at step %d (SHA-256 %s)",
    *(config.encoder, encoder.step, encoder.checksum[:12]),
  )
  dataset = datasets.open_dataset(config.data.name, config.data.data_dir)
  inputs.check_unreadable(dataset, dataset.unreadable, config.data.max_unreadable)
  # No run goes on, or is taken for complete, with another encoder.
  before = inputs.check_folder(run_dir, dataset, config.data.name) or {}
  checksums = before.get("encoder_checksum"), encoder.checksum
  if before.get("encoder") == config.encoder and checksums[0] != checksums[1]:
    raise UserError(
      f"{config.encoder} is another encoder than it was when {run_dir.path} began:"
      " choose another --workdir"
    )
  config = config.copy_and_resolve_references()
  with config.unlocked(), config.ignore_type():
    if config.data.train is None:
      config.data.train, _ = choices.train_split(dataset, labelled=True)
    if config.data.test is None:
      there = choices.testing(dataset)
      config.data.test, _ = choices.test_split(config, dataset.sizes, there)
    config.encoder_checksum = encoder.checksum
  for split in filter(None, (config.data.valid, config.data.test)):
    if dataset.check(split) < 2:
      raise UserError(f"the split {split!r} has one image: give two or more")
  form = encoder.description.image
  with_parts = WithParts(dataset, _parts(dataset, config), form.channels)
  source = with_parts.as_it_is(config.data.train)
  if several_classes and with_parts.truth(config.data.train) is None:
    raise UserError(f"{dataset.name} has no images of several classes to evaluate with")
  if not several_classes and (source.num_classes or 0) < 2:
    what = "one class alone" if source.num_classes else "no labels, one an image"
    raise UserError(f"{dataset.name} has {what}: give images of two classes or more")
  conversion = shown.conversion(source, form, dataset.name)
  train, valid, test = (config.data[k] for k in ("train", "valid", "test"))
  labels.warn_if_shared(dataset, test, train)
  if valid is not None:
    labels.warn_if_shared(dataset, test, valid)
    labels.warn_if_shared(dataset, valid, train, "to choose settings by", "the choice")
  unreadable = dict(dataset.unreadable)
  return Subject(config, encoder, with_parts, run_dir, conversion, unreadable)


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
