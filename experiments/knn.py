"""Weighted nearest neighbours on a frozen encoder: see configs/knn.py."""

import itertools
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from byol_jax import parallel, probes
from byol_jax.run.folder import RunDir
from configs import knn
from experiments.downstream import encoders, frozen, outcomes
from experiments.downstream.frozen import Features

Setting = tuple[int, float]  # k and temperature


def run(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  """Evaluates one encoder or several; the summary."""
  frozen.check(config, knn.get_config())
  return encoders.each(config, run_dir, _evaluate)


def _evaluate(config: ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  subject = frozen.subject(config, run_dir)
  with outcomes.begun(subject) as summary:
    if summary:
      return summary
    fit, held_out, test = map(
      subject.features, (frozen.FIT, frozen.HELD_OUT, subject.config.data.test)
    )
    chosen = _best(_accuracies(fit, held_out, config))
    train = frozen.together(fit, held_out)
    found = _accuracies(train, test, config)
    k, temperature = chosen
    setting = {"k": k, "temperature": temperature}
    summary = {
      "knn": {"encoder": found[chosen]},
      **setting,
      "test_images": len(test.label),
      "of_all": [
        {"k": k, "temperature": temperature, "knn": value}
        for (k, temperature), value in found.items()
      ],
    }
    outcomes.record(
      subject,
      "knn",
      "top_1",
      found[chosen],
      test_images=len(test.label),
      setting=setting,
    )
    return outcomes.ended(subject, summary)


def _accuracies(
  train: Features, test: Features, config: ConfigDict
) -> dict[Setting, float]:
  """Of each k with each temperature; each host takes its share of the images."""
  rows = slice(*parallel.rows_of_host(len(test.label)))
  hits = probes.knn_hits(
    train.embedding,
    train.label,
    test.embedding[rows],
    test.label[rows],
    config.k,
    config.temperature,
  )
  grid = list(itertools.product(config.k, config.temperature))
  counts = parallel.sum_over_hosts(np.array([hits[each].sum() for each in grid]))
  return {each: int(n) / len(test.label) for each, n in zip(grid, counts, strict=True)}


def _best(found: dict[Setting, float]) -> Setting:
  """That of the highest accuracy; of equal ones the smallest k and temperature."""
  return min(found, key=lambda each: (-found[each], each))
