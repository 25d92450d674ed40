"""Fine-tuning on other data sets: see configs/transfer_finetune.py."""

import functools
from typing import Any

from ml_collections import ConfigDict

from byol_jax import probes
from byol_jax.data.labelled import labels_of
from byol_jax.run.folder import RunDir
from configs import transfer_finetune
from experiments import choices
from experiments.downstream import (
  encoders,
  frozen,
  outcomes,
  sweep,
  transfer_sets,
  tuning,
)
from experiments.downstream.frozen import Subject
from experiments.downstream.sweep import Splits, Sweep, Trial
from experiments.labels import FIT, HELD_OUT, warn_of_unseen


def run(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  """Evaluates one encoder or several, each on one set or several; the summary."""
  example = tuning.example(transfer_finetune.get_config())
  frozen.check(config, example, ("data.name", "metric", *tuning.MAY_BE_OPEN))
  grids = {"rates": config.rates, "weight_decays": config.weight_decays}
  tuning.check_grid(**grids)
  on_each = functools.partial(transfer_sets.evaluate_each, evaluate=_evaluate)
  return encoders.each(config, run_dir, on_each)


def _evaluate(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  subject, splits = _opened(config, run_dir)
  config = subject.config
  trials = [
    Trial(
      each,
      rate=each["rate"],
      # So that as much is taken from a weight at all rates.
      weight_decay=each["weight_decay"] / each["rate"],
      steps=config.train.steps,
    )
    for each in sweep.grid(rate=config.rates, weight_decay=config.weight_decays)
  ]
  runs = Sweep(subject, trials, splits, [config.metric])
  with outcomes.begun(subject) as summary:
    if not summary:
      found = runs.run()
      summary = {
        "transfer_finetune": {"encoder": found.test[config.metric]},
        "set": config.set or config.data.name,
        "metric": config.metric,
        **found.trial.setting,
        "test_images": found.test_images,
        "sweep": found.of_all,
      }
    # Also of a complete run: results may go to another file by now.
    outcomes.record(
      subject,
      "transfer_finetune",
      {config.metric: "transfer_finetune"},
      summary,
      ("rate", "weight_decay"),
    )
    return outcomes.ended(subject, summary)


def _opened(config: ConfigDict, run_dir: RunDir) -> tuple[Subject, Splits]:
  """What is evaluated, and on which splits; of all of them the images with labels."""
  several = probes.METRICS[config.metric].several
  subject = frozen.subject(config, run_dir, several)
  train, test = choices.fitted_split(subject.config), subject.config.data.test
  subject = subject.labelled_alone(train, test, FIT, HELD_OUT)
  if not several:
    names = (train, test, FIT, HELD_OUT)
    labels = {name: labels_of(subject.dataset.split(name)) for name in names}
    warn_of_unseen(test, labels[test], labels[train])
    if len(config.rates) * len(config.weight_decays) > 1:
      subject.check_classes({part: labels[part] for part in (FIT, HELD_OUT)})
  subject = tuning.with_choices(subject, train)
  return subject, Splits(FIT, HELD_OUT, train)
