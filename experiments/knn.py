"""Weighted nearest neighbours on a frozen encoder: see configs/knn.py."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from byol_jax import parallel, probes
from byol_jax.errors import UserError
from byol_jax.probes.checks import check
from byol_jax.run.folder import RunDir
from configs import knn
from experiments.downstream import encoders, frozen, outcomes
from experiments.downstream.frozen import Features, Subject
from experiments.labels import FIT, HELD_OUT, warn_of_unseen

Setting = tuple[int, float]  # k and temperature


def run(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  """Evaluates one encoder or several; the summary."""
  frozen.check(config, knn.get_config())
  return encoders.each(config, run_dir, _evaluate)


def _evaluate(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  subject = frozen.subject(config, run_dir)
  with outcomes.begun(subject) as summary:
    summary = summary or _summary(subject)
    # Also of a complete run: results may go to another file by now.
    outcomes.record(subject, "knn", {"top_1": "knn"}, summary, ("k", "temperature"))
    return outcomes.ended(subject, summary)


def _summary(subject: Subject) -> dict[str, Any]:
  config = subject.config
  fit, held_out, test = map(subject.features, (FIT, HELD_OUT, config.data.test))
  train = frozen.together(fit, held_out)
  if len(np.unique(train.label)) < 2:
    raise UserError(
      "all images to train on are of one class: name others as data.train"
    )
  warn_of_unseen(config.data.test, test.label, train.label)
  grid = list(itertools.product(config.k, config.temperature))
  if len(grid) > 1:
    subject.check_classes({FIT: fit.label, HELD_OUT: held_out.label})
  found = _accuracies(fit, held_out, grid)
  k, temperature = chosen = _best(found)
  return {
    "knn": {"encoder": _accuracies(train, test, [chosen])[chosen]},
    "k": k,
    "temperature": temperature,
    "test_images": len(test.label),
    "of_all": [
      {"k": k, "temperature": temperature, "held_out": value}
      for (k, temperature), value in found.items()
    ],
  }


def _accuracies(
  train: Features, test: Features, grid: Sequence[Setting]
) -> dict[Setting, float]:
  """Of each k with each temperature; each host takes its share of the images."""
  check(*train, *test)  # a host's share may be an image, or none
  rows = slice(*parallel.rows_of_host(len(test.label)))
  hits = probes.knn_hits(
    train.embedding,
    train.label,
    test.embedding[rows],
    test.label[rows],
    *(list(dict.fromkeys(each)) for each in zip(*grid, strict=True)),
  )
  counts = parallel.sum_over_hosts(np.array([hits[each].sum() for each in grid]))
  return {each: int(n) / len(test.label) for each, n in zip(grid, counts, strict=True)}


def _best(found: dict[Setting, float]) -> Setting:
  """That of the highest accuracy; of equal ones the smallest k and temperature."""
  return min(found, key=lambda each: (-found[each], each))
