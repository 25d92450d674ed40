"""What evaluations do, in words, and which of their settings an accuracy depends on."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from byol_jax.probes import METRICS
from byol_jax.report.systems import Line
from byol_jax.run.settings import OPERATIONAL, flat, is_one_of


class Protocol(NamedTuple):
  """An evaluation.

  Attributes:
    title: what a table calls it.
    words: what is done, in full sentences.
    shown: settings that are part of its title, by their names there.
    usual: values of others, of all presets; any else is part of a title too, so that
      no part of a protocol is taken for all of it.
  """

  title: str
  words: str
  shown: dict[str, str] = {}  # noqa: RUF012 (never changed)
  usual: dict[str, Any] = {}  # noqa: RUF012 (likewise)


_LENGTH = {"train.epochs": "epochs", "train.batch_size": "batch"}
_SGD = {
  "optimiser.name": "sgd",
  "optimiser.learning_rate": [0.4, 0.3, 0.2, 0.1, 0.05],
  "optimiser.scale_with_batch": True,
  "optimiser.schedule": "cosine",
  "optimiser.warmup": 0.0,
  "optimiser.sgd.weight_decay": 0.0,
  "optimiser.sgd.momentum": 0.9,
  "logits.clip": 0.0,
  "logits.penalty": 0.0,
}
_FINE_TUNING = {"optimiser.schedule": "cosine", "optimiser.momentum": 0.9}

PROTOCOLS = {
  "knn": Protocol(
    "kNN",
    "Each test image gets the class that its k nearest training images vote for, by"
    " cosine similarity of frozen features; a vote weighs exp(similarity / temperature)"
    " (Wu et al. 2018, section 3.4). Both k and temperature were chosen on held-out"
    " training images, unless one of each was given. BYOL's papers have no such"
    " protocol.",
    usual={
      "k": [1, 5, 10, 20, 50, 100, 200],
      "temperature": [0.02, 0.05, 0.07, 0.1, 0.2, 0.5],
    },
  ),
  "linear": Protocol(
    "linear",
    "A linear classifier on the frozen encoder, trained by SGD on augmented images"
    " (BYOL, App. C.1). Its learning rate was chosen on held-out images, and it was"
    " trained again on these too.",
    _LENGTH,
    {**_SGD, "augmentations": "crops"},
  ),
  "linear_cached": Protocol(
    "linear, cached features",
    "A linear classifier by SGD on features that were computed once, of images that are"
    " not augmented: not the papers' protocol, and not to be held against it. Its"
    " learning rate was chosen on held-out images, and it was trained again on these"
    " too.",
    _LENGTH,
    _SGD,
  ),
  "semi_supervised": Protocol(
    "fine-tuned",
    "Encoder and a linear classifier, trained together on that share of the labels"
    " (BYOL, App. C.1). Learning rate and epochs were chosen on held-out images of that"
    " share, and all was trained again on these too.",
    {"data.labels": "share of labels"},
    {
      **_FINE_TUNING,
      "optimiser.scale_with_batch": True,
      "optimiser.statistics_decay": 0.9,
      "rates": [0.005, 0.01, 0.02, 0.05, 0.1],
      "epochs": [30.0, 50.0],
    },
  ),
  "transfer_linear": Protocol(
    "transfer, linear",
    "Multinomial logistic regression, l2-regularised, on frozen features of images that"
    " are not augmented (BYOL, App. D.2). The strength was chosen on held-out images,"
    " and all was fitted again to these too.",
    usual={
      "crop": 1.0,
      "strengths": [10 ** (power / 4) for power in range(-24, 21)],
    },
  ),
  "transfer_finetune": Protocol(
    "transfer, fine-tuned",
    "Encoder and a linear classifier, trained together on the set (BYOL, App. D.3)."
    " Learning rate and weight decay were chosen on held-out images, and all was"
    " trained again on these too.",
    {"train.steps": "steps"},
    {
      **_FINE_TUNING,
      "optimiser.scale_with_batch": False,
      "rates": [10 ** (power / 2) for power in range(-8, -1)],
      "weight_decays": [0.0, *(10 ** (power / 2) for power in range(-12, -5))],
    },
  ),
}
_UNKNOWN = "This version of byol_jax does not know it: see `config` in its lines."

# What an accuracy does not depend on, is part of the encoder, or is told elsewhere.
_NOT_OF_PROTOCOL = (
  *OPERATIONAL,
  *("experiment", "encoder", "encoder_checksum", "which", "results", "eval"),
  *("data.name", "data.train", "data.test", "set", "metric"),
  *("data.size", "data.eval_fraction", "data.mean", "data.std", "data.on_device"),
)


def protocol(line: Line) -> Protocol:
  """The protocol of a result; of a newer version's, by its name alone."""
  name = line["protocol"]
  return PROTOCOLS.get(name, Protocol(name, _UNKNOWN))


def metric(line: Line) -> str:
  """The metric of a result in words."""
  name = line["metric"]
  return METRICS[name].says if name in METRICS else name


def settings(line: Line) -> dict[str, Any]:
  """Settings of an evaluation by their full names, of all that defines it.

  Results of equal ones are of the same evaluation, if on the same images. Those that
  are not given, None, are left out.
  """
  return {
    name: value
    for name, value in flat(line["config"]).items()
    if value is not None and not is_one_of(name, _NOT_OF_PROTOCOL)
  }


def of_protocol(configs: Iterable[Mapping[str, Any]]) -> list[str]:
  """Names of the settings in which runs of one evaluation must agree."""
  free = (*_NOT_OF_PROTOCOL, "seed")
  names = {name for config in configs for name in flat(config)}
  return ["data.train", *sorted(name for name in names if not is_one_of(name, free))]


def shown(value: object) -> str:
  """A setting as a table has it, also one that is not what it should be."""
  return f"{value:.4g}" if isinstance(value, float) else str(value)
