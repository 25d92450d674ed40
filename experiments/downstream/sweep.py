"""Fine-tuning with a sweep: a run for each setting, then one on all images to train on.

sweep/SETTING/   a run on the images to fit to, tested on those that are held out; its
                 checkpoints are removed once its summary is there
final/           the run with the settings of the best, tested on the test split; it is
                 the run of an encoder too, the fine-tuned one
"""

import itertools
import shutil
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from absl import logging
from ml_collections import ConfigDict

from byol_jax import description, progress
from byol_jax.errors import Diverged
from byol_jax.run import hosts, loop
from byol_jax.run.folder import RunDir
from experiments import settings
from experiments.downstream import outcomes
from experiments.downstream.encoders import Summary
from experiments.downstream.finetune import Finetune
from experiments.downstream.frozen import Subject


class Trial(NamedTuple):
  """What one run of a sweep is made with.

  Attributes:
    setting: what the sweep varies, by name, as it is reported.
    rate: learning rate of a batch of 256 images; see `optimiser.scale_with_batch`.
    weight_decay: of all weights.
    epochs: passes over the images to train on; None where `steps` are given.
    steps: of the run.
  """

  setting: Mapping[str, float]
  rate: float
  weight_decay: float = 0.0
  epochs: float | None = None
  steps: int = 0

  @property
  def name(self) -> str:
    """Of its folder."""
    return "-".join(f"{key}-{value:g}" for key, value in self.setting.items())


class Splits(NamedTuple):
  """Splits or parts: to fit to, to choose by, and both of them."""

  fit: str
  held_out: str
  train: str


class Found(NamedTuple):
  """What a sweep has come to.

  Attributes:
    trial: that of the highest accuracy on held-out images; of equals the first.
    test: accuracy on the test split, by each metric.
    test_images: of how many images.
    of_all: each setting, with its accuracy on held-out images; None if it diverged.
  """

  trial: Trial
  test: dict[str, float]
  test_images: int
  of_all: list[dict[str, float | None]]


def grid(**values: Sequence[float]) -> list[dict[str, float]]:
  """Every combination of values, by their names."""
  return [
    dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())
  ]


class Sweep:
  """The runs of a protocol, on one encoder."""

  def __init__(
    self,
    subject: Subject,
    trials: Sequence[Trial],
    splits: Splits,
    metrics: Sequence[str],
  ):
    """Checks all that can be checked; compiles and writes nothing.

    Args:
      subject: the encoder and the images.
      trials: to choose from; of a single one there is no sweep.
      splits: splits or parts of `subject.dataset`.
      metrics: keys of `probes.METRICS`; the first one decides.

    Raises:
      UserError: a setting is out of its range, or the images do not fit.
    """
    self._subject = subject
    self._trials = trials
    self._splits = splits
    self._metrics = tuple(metrics)
    for trial in trials:
      settings.check_ranges(self._final_config(trial))
    self._experiment(self._final_config(trials[0]))

  def run(self) -> Found:
    """Carries out all runs, or goes on with them.

    Raises:
      Diverged: the final run has, or all others.
      UserError: see `loop.run`.
      Stopped: likewise.
    """
    self._subject.look(self._splits.train)
    of_all = self._held_out_accuracies() if len(self._trials) > 1 else {}
    trial = max(self._trials, key=lambda each: _score(of_all.get(each.name)))
    if of_all and of_all[trial.name] is None:
      raise Diverged(
        f"all {len(of_all)} runs of the sweep have diverged: give lower rates, and"
        " another --workdir"
      )
    logging.info("%s, on all images to train on", trial.name)
    found = self._run(self._folder("final"), self._final_config(trial), final=True)
    return Found(
      trial,
      {name: found[name] for name in self._metrics},
      found["test_images"],
      [{**t.setting, self._metrics[0]: of_all[t.name]} for t in self._trials]
      if of_all
      else [],
    )

  def _held_out_accuracies(self) -> dict[str, float | None]:
    """Trial's name -> its accuracy; None if it has diverged."""
    found = {}
    with progress.shown("sweep", len(self._trials), "runs", lines=False) as bar:
      for number, trial in enumerate(self._trials, 1):
        logging.info("%d of %d: %s", number, len(self._trials), trial.name)
        folder = self._folder("sweep").inside(trial.name)
        config = self._config(trial, self._splits.fit, self._splits.held_out)
        summary = self._run(folder, config)
        found[trial.name] = summary.get(self._metrics[0])
        if folder.writes:
          shutil.rmtree(folder.checkpoints, ignore_errors=True)
        bar.add()
    return found

  def _folder(self, name: str) -> RunDir:
    return self._subject.run_dir.inside(name)

  def _experiment(self, config: ConfigDict) -> Finetune:
    return Finetune(config, self._subject.encoder, self._subject.dataset)

  def _run(self, folder: RunDir, config: ConfigDict, final: bool = False) -> Summary:
    """One run's summary: from its folder, or once it has ended.

    One of a sweep may diverge, and has a summary that says so.
    """
    if (summary := outcomes.summary_of(folder)) is not None:
      return summary
    experiment = self._experiment(config)
    with folder:
      hosts.claim(folder, config, ())
      if final:
        folder.write_encoder(description.to_json(self._subject.encoder.description))
      experiment.inputs.on_unreadable = folder.write_skipped
      try:
        return loop.run(experiment, config, folder)
      except Diverged as error:
        if final:
          raise
        logging.warning("%s has diverged: %s", folder.path.name, error)
        summary = {"diverged": str(error)}
        folder.write_summary(summary)
        return summary

  def _final_config(self, trial: Trial) -> ConfigDict:
    return self._config(trial, self._splits.train, self._subject.config.data.test)

  def _config(self, trial: Trial, train: str, test: str) -> ConfigDict:
    """The config of a run, as `Finetune` and the loop read it."""
    config, form = self._subject.config, self._subject.encoder.description.image
    batch_size = config.train.batch_size
    images = self._subject.dataset.check(train)
    steps = trial.steps
    if trial.epochs is not None:
      steps = max(round(trial.epochs * images / batch_size), 1)
    scale = batch_size / 256 if config.optimiser.scale_with_batch else 1.0
    kept = config.optimiser.statistics_decay
    return ConfigDict(
      {
        "experiment": config.experiment,
        "encoder": config.encoder,
        "checksum": self._subject.encoder.checksum,
        "seed": config.seed,
        "data": {
          **{key: config.data[key] for key in ("name", "data_dir", "workers")},
          **{key: config.data[key] for key in ("on_device", "max_unreadable")},
          "train": train,
          "test": test,
          "size": form.size,
          "eval_fraction": form.crop,
          "mean": tuple(form.mean),
          "std": tuple(form.std),
        },
        "view": config.view.to_dict(),
        "optimiser": {
          "learning_rate": trial.rate * scale,
          "weight_decay": trial.weight_decay,
          "momentum": config.optimiser.momentum,
          "schedule": config.optimiser.schedule,
          "statistics_decay": statistics_decay(batch_size, images)
          if kept is None
          else kept,
        },
        "train": {
          "steps": steps,
          "batch_size": batch_size,
          "accumulate": config.train.accumulate,
        },
        "metrics": self._metrics,
        "log": config.log.to_dict(),
        "eval": {"every_steps": steps, "batch_size": config.eval.batch_size},
        "checkpoint": config.checkpoint.to_dict(),
      }
    )


def _score(accuracy: float | None) -> float:
  return -1.0 if accuracy is None else accuracy


def statistics_decay(batch_size: int, images: int) -> float:
  """max(1 - 10 / s, 0.9), s being the steps of an epoch (BYOL, App. D.3)."""
  return max(1 - 10 * batch_size / images, 0.9)
