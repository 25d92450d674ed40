"""What each setting of a config means, and what it may be.

  python -m experiments.reference > docs/settings.md

`settings.check` holds every config against this table before anything is built. A
setting that is not in it, such as one of an objective of your own, is checked by
whoever reads it.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from byol_jax import objectives, optim, probes
from byol_jax.data import views
from byol_jax.nets import layers, model, resnet
from byol_jax.nets.closed_form import CLOSED_FORMS
from byol_jax.run.writers import table
from byol_jax.valid import (
  NOT_ALL,
  NOT_NEGATIVE,
  POSITIVE,
  SHARE,
  SOME,
  TRUE_OR_FALSE,
  Valid,
  at_least,
  between,
  each,
  one_of,
)
from experiments.choices import MOST_STEPS
from experiments.systems import TARGETS, TAU_SCHEDULES

# JAX's keys are made of 32 bits: seeds above would be those below once more.
SEEDS = between(0, 2**32 - 1)
# Features of a batch are in memory, and of a few large batches no more is gained.
_EVAL_BATCH = between(1, 2**16)
_COUNT = at_least(1)
# More than anyone has tried; far more would take all memory before it is refused.
_BATCH = between(1, 2**20)
_SIDE = between(1, 2**14)
_UNITS = between(1, 2**16)
_LAYERS = between(0, 100)
_WORKERS = between(0, 2**10)


class Setting(NamedTuple):
  """What a setting means.

  Attributes:
    meaning: in a line, with unit and source.
    valid: what it may be beside being of its type; None where anything will do.
  """

  meaning: str
  valid: Valid | None = None


def _network(part: str) -> Iterator[tuple[str, Setting]]:
  """What encoder, projector and predictor have in common."""
  yield f"{part}.norm", Setting("the norm", one_of(layers.NORMS))
  yield f"{part}.groups", Setting("of channels, of group norm", _COUNT)
  standardised = "whether weights are standardised (Richemond et al., section 3.3)"
  yield f"{part}.standardised", Setting(standardised, TRUE_OR_FALSE)


def _head(part: str) -> Iterator[tuple[str, Setting]]:
  yield from _network(part)
  yield f"{part}.depth", Setting("linear layers; 0 leaves it out", _LAYERS)
  yield f"{part}.hidden", Setting("units of all layers but the last", _UNITS)
  yield f"{part}.outputs", Setting("units of the last layer", _UNITS)
  identity = "whether the last layer starts as the identity"
  yield f"{part}.identity_init", Setting(identity, TRUE_OR_FALSE)


def _view(section: str) -> Iterator[tuple[str, Setting]]:
  for name, setting in _VIEW.items():
    yield f"{section}.{name}", setting


_VIEW = {
  name: Setting(meaning, views.VALID[name])
  for name, meaning in {
    "crop_area": "range of a crop's share of the image's area",
    "crop_aspect": "range of a crop's width / height",
    "flip": "probability of a flip from left to right",
    "jitter": "probability of the four operations on colour",
    "brightness": "most that is added to or taken from a pixel",
    "contrast": "largest relative change",
    "saturation": "largest relative change",
    "hue": "largest shift, of the circle",
    "grayscale": "probability of dropping the colour",
    "blur": "probability of the Gaussian blur",
    "blur_sigma": "range of its deviation, in pixels",
    "solarise": "probability of solarisation",
  }.items()
}


def _objectives() -> Iterator[tuple[str, Setting]]:
  for name, objective in objectives.OBJECTIVES.items():
    for setting, valid in objective.settings.items():
      yield f"objective.{name}.{setting}", Setting(f"of {name}", valid)


SETTINGS: dict[str, Setting] = {
  "experiment": Setting("the file of experiments/ that is run"),
  "seed": Setting("what all chance comes from", SEEDS),
  "start_from": Setting("a run whose weights are those of step 0"),
  "continue_from": Setting("a run to go on with, by a longer schedule"),
  # Data.
  "data.name": Setting(
    "photos, folder, unlabelled_folder, or a set of tensorflow-datasets, as NAME/CONFIG"
  ),
  "data.data_dir": Setting("folder of the set; ~/tensorflow_datasets, if open"),
  "data.train": Setting("split to train on, as `train[:90%]`"),
  "data.test": Setting("split that is reported on"),
  "data.valid": Setting("split to choose settings by"),
  "data.held_out": Setting(
    "in place of `data.valid`: so many of the last images of train", at_least(2)
  ),
  "data.labels": Setting("share of the images whose labels are used", SOME),
  "data.size": Setting("pixels a side of what the networks see", _SIDE),
  "data.eval_fraction": Setting(
    "share of the shorter side that the central crop of evaluation takes", SOME
  ),
  "data.mean": Setting(
    "of pixels in [0, 1], one a channel or one for all", each(SHARE)
  ),
  "data.std": Setting("deviation of the same", each(POSITIVE)),
  "data.workers": Setting("processes that crop; 0 for threads", _WORKERS),
  "data.on_device": Setting(
    "whether the images live on the devices, and are cropped there", TRUE_OR_FALSE
  ),
  "data.max_unreadable": Setting("share of the images that may be unreadable", SHARE),
  # Views.
  **dict(_view("views.view1")),
  **dict(_view("views.view2")),
  **dict(_view("view")),
  "augmentations": Setting(
    "which of the operations: `all`, or a row of BYOL's table 17; of linear evaluation"
    " `crops` or `pretraining`"
  ),
  # Networks.
  **dict(_network("encoder")),
  "encoder.depth": Setting("layers of the ResNet", one_of(resnet.SHAPES)),
  "encoder.width": Setting("times the channels of the ResNet", resnet.WIDTHS),
  "encoder.stem": Setting("first layers", one_of(resnet.STEMS)),
  "encoder.zero_last_scale": Setting(
    "whether each block starts as the identity", TRUE_OR_FALSE
  ),
  "encoder.projected_shortcuts": Setting(
    "where a shortcut has a convolution", one_of(resnet.PROJECTED_SHORTCUTS)
  ),
  **dict(_head("projector")),
  **dict(_head("predictor")),
  "bn_init": Setting(
    "whether the affines of norms are set by a first batch's statistics", TRUE_OR_FALSE
  ),
  "closed_form.name": Setting(
    "a predictor that is computed, not learned", one_of(("none", *CLOSED_FORMS))
  ),
  "closed_form.rho": Setting("share of the moments that a step keeps", NOT_ALL),
  "closed_form.epsilon": Setting("what is added to each eigenvalue's root", POSITIVE),
  # Objective and target.
  "objective.name": Setting("what is minimised", one_of(objectives.OBJECTIVES)),
  **dict(_objectives()),
  "target.kind": Setting(
    "a moving average of the online network, or that", one_of(TARGETS)
  ),
  "target.same_init": Setting("whether it starts as the online network", TRUE_OR_FALSE),
  "target.tau": Setting("share of itself that a step keeps, at the start", SHARE),
  "target.schedule": Setting(
    "of tau: to 1 by a cosine, or none", one_of(TAU_SCHEDULES)
  ),
  "target.frozen": Setting("share of the steps before it moves", NOT_ALL),
  # Optimiser.
  "optimiser.name": Setting("the optimiser", one_of(optim.OPTIMISERS)),
  "optimiser.learning_rate": Setting(
    "the base rate; of classifiers those to choose from", each(POSITIVE)
  ),
  "optimiser.scale_with_batch": Setting(
    "whether rates are for 256 images (BYOL, section 3.3)", TRUE_OR_FALSE
  ),
  "optimiser.predictor_multiplier": Setting(
    "times the rate, of the predictor (BYOL, table 21)", NOT_NEGATIVE
  ),
  "optimiser.schedule": Setting("of the rate", one_of(optim.SCHEDULES)),
  "optimiser.warmup": Setting("share of the steps in which the rate rises", NOT_ALL),
  "optimiser.momentum": Setting("Nesterov's", NOT_ALL),
  "optimiser.statistics_decay": Setting("of batch norm's running averages", NOT_ALL),
  "optimiser.lars.weight_decay": Setting("of weights alone", NOT_NEGATIVE),
  "optimiser.lars.momentum": Setting("of updates", NOT_ALL),
  "optimiser.lars.trust_coefficient": Setting("eta of LARS", POSITIVE),
  "optimiser.sgd.weight_decay": Setting("of weights alone", NOT_NEGATIVE),
  "optimiser.sgd.momentum": Setting("Nesterov's", NOT_ALL),
  "optimiser.adam.weight_decay": Setting("decoupled, of weights alone", NOT_NEGATIVE),
  # The run.
  "train.steps": Setting("updates", between(1, MOST_STEPS)),
  "train.epochs": Setting("passes over the images, in place of steps", POSITIVE),
  "train.batch_size": Setting("images of a step, of all devices", _BATCH),
  "train.accumulate": Setting("microbatches of a device's share", _COUNT),
  "train.remat": Setting(
    "whether blocks are computed again backwards, for memory", TRUE_OR_FALSE
  ),
  "train.precision": Setting("of the networks", one_of(model.PRECISIONS)),
  "precision": Setting("of the encoder", one_of(model.PRECISIONS)),
  "log.every_steps": Setting("steps between two lines of the log", _COUNT),
  "log.writers": Setting(
    "where scalars go beside metrics.jsonl, with commas between",
    Valid(table.are_known, f"some of {', '.join(table.WRITERS)}, or {table.NONE}"),
  ),
  "checkpoint.every_minutes": Setting("minutes between two checkpoints", NOT_NEGATIVE),
  "checkpoint.keep": Setting("newest checkpoints that are kept", _COUNT),
  # Evaluation.
  "probe.train": Setting("split that the summary's probes learn from"),
  "probe.test": Setting("split that the summary is about"),
  "probe.valid_train": Setting("split that kNN looks up while training"),
  "probe.valid_test": Setting("split that the run is watched on"),
  "eval.every_steps": Setting("steps between two evaluations", _COUNT),
  "eval.batch_size": Setting("images at a time, of all devices", _EVAL_BATCH),
  "eval.baselines": Setting("beside the encoder in the summary: `untrained`, `pixels`"),
  "encoder": Setting("a run, a file of an encoder, or a pattern of several"),
  "which": Setting("of a run's checkpoints: `newest`, `best` or a step"),
  "results": Setting("file that results are added to"),
  "set": Setting("a set of BYOL's table 3, several, or `all`"),
  "metric": Setting("of accuracy", one_of(probes.METRICS)),
  "k": Setting("numbers of neighbours to choose from", each(_COUNT)),
  "temperature": Setting("of the neighbours' weights, to choose from", each(POSITIVE)),
  "strengths": Setting("of regularisation, to choose from", each(POSITIVE)),
  "rates": Setting("learning rates to choose from", each(POSITIVE)),
  "epochs": Setting("lengths of the training to choose from", each(POSITIVE)),
  "weight_decays": Setting("to choose from", each(NOT_NEGATIVE)),
  "logits.clip": Setting("a of BYOL's table 7; 0 is off", NOT_NEGATIVE),
  "logits.penalty": Setting("b of BYOL's table 7; 0 is off", NOT_NEGATIVE),
}


# Where a value at the papers' scale is from, the first that has the setting.
_EXAMPLES = (
  ("byol", "imagenet-1000"),
  ("linear_eval", "imagenet"),
  ("knn", "imagenet"),
  ("semi_supervised", "imagenet"),
  ("transfer_finetune", "dtd"),
  ("transfer", "dtd"),
)


def page() -> str:
  """docs/settings.md: all settings, as tables."""
  values: dict[str, object] = {}
  for file, preset in reversed(_EXAMPLES):
    config = importlib.import_module(f"configs.{file}").get_config(preset)
    values |= leaves(config.to_dict())
  lines = [_INTRODUCTION]
  for title, names in _by_section().items():
    lines += [f"## {title}\n", "| setting | value | may be | what it means |"]
    lines.append("|---|---|---|---|")
    for name in names:
      setting = SETTINGS[name]
      # An objective of one's own is in none of the examples.
      shown = _shown(values[name]) if name in values else "its config's"
      words = setting.valid.words if setting.valid else ""
      lines.append(f"| `{name}` | {shown} | {words} | {setting.meaning} |")
    lines.append("")
  return "\n".join(lines)


def _shown(value: object) -> str:
  return "open" if value is None else f"`{_short(value)}`"


_INTRODUCTION = """# Settings

Every setting of every config, written by `python -m experiments.reference`. Each is set
by a flag, such as `--config.train.steps=500`, and held against this table before
anything is built. NaN and infinity are allowed nowhere.

**Value** is that of ImageNet at the papers' scale, in `byol.py:imagenet-1000` or in the
evaluation that has the setting; presets differ. What is open is chosen from what is
there, or left out.
"""


def _by_section() -> dict[str, list[str]]:
  """Names of settings by the first part of them; those without any come first."""
  found: dict[str, list[str]] = {"Top level": []}
  for name in SETTINGS:
    section, dot, _ = name.partition(".")
    found.setdefault(section if dot else "Top level", []).append(name)
  return found


def _short(value: object) -> str:
  if isinstance(value, float):
    return f"{value:.6g}"
  if isinstance(value, tuple) and len(value) > 10:
    return f"({_short(value[0])}, ..., {_short(value[-1])}), {len(value)} values"
  if isinstance(value, tuple | list):
    return f"({', '.join(map(_short, value))})"
  return str(value)


def leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
  """All settings that are no sections, also those of a choice that is not made."""
  for key, value in section.items():
    if isinstance(value, Mapping):
      yield from leaves(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


if __name__ == "__main__":
  print(page(), end="")
