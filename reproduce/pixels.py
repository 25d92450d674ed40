"""What the probes make of raw pixels: what every encoder has to beat."""

from pathlib import Path
from typing import Any

from experiments import evaluation, pretrain
from reproduce import arms
from reproduce.results import PROBES


def measure(root: Path, data_dir: str | None) -> dict[str, Any]:
  """Accuracy by each probe of pixels, in [0, 1], on the splits of the arms."""
  del root
  experiment = pretrain.Pretrain(arms.first("bn").config(data_dir))
  probe = experiment.config.probe
  train, test = map(experiment.inputs.pixels, (probe.train, probe.test))
  return {name: evaluation.accuracy(name, train, test) for name in PROBES}
