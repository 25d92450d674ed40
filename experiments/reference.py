"""What each setting of a config means, what it may be, and where it is from.

  python -m experiments.reference > docs/settings.md

`settings.check` holds every config against this table before anything is built. A
setting that is not in it, such as one of an objective of your own, is checked by
whoever reads it.
"""

import importlib
from collections.abc import Iterator
from typing import NamedTuple

from byol_jax import objectives, optim, probes
from byol_jax.data import views
from byol_jax.nets import layers, model, resnet
from byol_jax.nets.closed_form import CLOSED_FORMS
from byol_jax.run.settings import flat
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

_OURS = "ours"
_CODE = "BYOL's code"
_NO_STATISTICS = "BYOL without batch statistics"
# Short name -> what it stands for, as in the page's key.
SOURCES = {
  "BYOL": "Grill et al., *Bootstrap Your Own Latent*, NeurIPS 2020, arXiv 2006.07733",
  _CODE: "released with it: google-deepmind/deepmind-research, folder byol",
  _NO_STATISTICS: (
    "Richemond et al., *BYOL works even without batch statistics*, arXiv 2010.10241"
  ),
  "RAFT": "Shi et al., *Run Away From your Teacher*, arXiv 2011.10944",
  "SimCLR": (
    "Chen et al., *A Simple Framework for Contrastive Learning*, ICML 2020,"
    " arXiv 2002.05709"
  ),
  "DirectPred": (
    "Tian et al., *Understanding Self-supervised Learning Dynamics without Contrastive"
    " Pairs*, ICML 2021, arXiv 2102.06810"
  ),
  "LARS": (
    "You et al. 2017, *Large Batch Training of Convolutional Networks*,"
    " arXiv 1708.03888"
  ),
  "ResNet": (
    "He et al. 2015, *Deep Residual Learning for Image Recognition*, arXiv 1512.03385"
  ),
  "Goyal et al. 2017": (
    "*Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour*, arXiv 1706.02677"
  ),
  "Wu et al. 2018": (
    "*Unsupervised Feature Learning via Non-Parametric Instance-level Discrimination*,"
    " arXiv 1805.01978"
  ),
  _OURS: "our choice, or a matter of this library alone",
}
_NO_UNIT = "-"


class Setting(NamedTuple):
  """What a setting means.

  Attributes:
    meaning: in a line, as it reads after the unit.
    source: where the value at the papers' scale is from, or else the method: a key of
      `SOURCES`, and the place in it. Several have semicolons between.
    valid: what it may be beside being of its type; None where anything will do.
    unit: of a number, `_NO_UNIT` if it has none; empty for all that is no number.
  """

  meaning: str
  source: str
  valid: Valid | None = None
  unit: str = ""


def _network(part: str) -> Iterator[tuple[str, Setting]]:
  """What encoder, projector and predictor have in common."""
  without = f"{_NO_STATISTICS}, 3.3"
  yield f"{part}.norm", Setting("the norm", "BYOL, 3.3", one_of(layers.NORMS))
  groups = "of channels, of group norm"
  yield f"{part}.groups", Setting(groups, without, _COUNT, "groups")
  standardised = "whether weights are standardised"
  yield f"{part}.standardised", Setting(standardised, without, TRUE_OR_FALSE)


def _head(part: str) -> Iterator[tuple[str, Setting]]:
  paper = "BYOL, 3.3"
  yield from _network(part)
  depth = "linear ones; 0 leaves it out"
  yield f"{part}.depth", Setting(depth, paper, _LAYERS, "layers")
  yield f"{part}.hidden", Setting("of all layers but the last", paper, _UNITS, "units")
  yield f"{part}.outputs", Setting("of the last layer", paper, _UNITS, "units")
  identity = "whether the last layer starts as the identity"
  yield f"{part}.identity_init", Setting(identity, "RAFT, figure 1", TRUE_OR_FALSE)


def _view(section: str) -> Iterator[tuple[str, Setting]]:
  for name, (unit, meaning, place) in _VIEW.items():
    valid = views.VALID[name]
    yield f"{section}.{name}", Setting(meaning, f"BYOL, {place}", valid, unit)


_CHANCE = "probability"
_VIEW = {
  "crop_area": (
    "share",
    "of the image's area that a crop takes, from and to",
    "App. B",
  ),
  "crop_aspect": ("width / height", "of a crop, from and to", "App. B"),
  "flip": (_CHANCE, "of a flip from left to right", "table 6"),
  "jitter": (_CHANCE, "of the four operations on colour", "table 6"),
  "brightness": ("levels / 255", "most that a pixel gains or loses", "table 6"),
  "contrast": ("share", "largest relative change", "table 6"),
  "saturation": ("share", "largest relative change", "table 6"),
  "hue": ("turns", "largest shift, on the circle", "table 6"),
  "grayscale": (_CHANCE, "of dropping the colour", "table 6"),
  "blur": (_CHANCE, "of the Gaussian blur", "table 6"),
  "blur_sigma": ("pixels", "its deviation, from and to", "App. B"),
  "solarise": (_CHANCE, "of solarisation", "table 6"),
}


def _objectives() -> Iterator[tuple[str, Setting]]:
  for name, objective in objectives.OBJECTIVES.items():
    own = Setting(f"of {name}", _OURS, unit=_NO_UNIT)
    for setting, valid in objective.settings.items():
      known = _OF_OBJECTIVES.get(f"{name}.{setting}", own)
      yield f"objective.{name}.{setting}", known._replace(valid=valid)


_TEMPERATURE = "of the similarities"
_ALIGNMENT = "weight of the distance between predictions"
_OF_OBJECTIVES = {
  "byol.normalise": Setting("what is done before the distance", "BYOL, table 20"),
  "byol.centre_targets": Setting(
    "whether the batch's mean is taken off targets", _OURS
  ),
  "byol_prime.alpha": Setting(_ALIGNMENT, "RAFT, equation 7", unit=_NO_UNIT),
  "byol_prime.beta": Setting(
    "weight of that to the target of the same view", "RAFT, equation 7", unit=_NO_UNIT
  ),
  "raft.alpha": Setting(_ALIGNMENT, "RAFT, equation 9", unit=_NO_UNIT),
  "raft.beta": Setting(
    "weight of that to the target of the same view, taken off",
    "RAFT, equation 9",
    unit=_NO_UNIT,
  ),
  "simclr.temperature": Setting(_TEMPERATURE, "SimCLR, equation 1", unit=_NO_UNIT),
  "info_nce.temperature": Setting(_TEMPERATURE, "BYOL, equation 8", unit=_NO_UNIT),
  "info_nce.beta": Setting(
    "weight of the negatives: 0 is BYOL, 1 SimCLR", "BYOL, equation 8", unit=_NO_UNIT
  ),
}


SETTINGS: dict[str, Setting] = {
  "experiment": Setting("the file of experiments/ that is run", _OURS),
  "seed": Setting("what all chance comes from", _OURS, SEEDS, _NO_UNIT),
  "start_from": Setting("a run whose weights are those of step 0", _OURS),
  "continue_from": Setting("a run to go on with, by a longer schedule", _OURS),
  # Data.
  "data.name": Setting(
    "photos, folder, unlabelled_folder, or a set of tensorflow-datasets, as"
    " NAME/CONFIG",
    "BYOL",
  ),
  "data.data_dir": Setting("folder of the set; ~/tensorflow_datasets, if open", _OURS),
  "data.train": Setting("split to train on, as `train[:90%]`", _CODE),
  "data.test": Setting("split that is reported on", "BYOL, App. C.1"),
  "data.valid": Setting(
    "split to choose settings by, and to fit to in the end", "BYOL, table 10"
  ),
  "data.held_out": Setting(
    "in place of `data.valid`: so many of the last of train",
    "BYOL, App. C.1",
    at_least(2),
    "images",
  ),
  "data.labels": Setting(
    "of the images whose labels are used", "BYOL, App. C.1", SOME, "share"
  ),
  "data.size": Setting(
    "a side of what the networks see", "BYOL, App. B", _SIDE, "pixels"
  ),
  "data.eval_fraction": Setting(
    "of the shorter side that the central crop of evaluation takes",
    _CODE,
    SOME,
    "share",
  ),
  "data.mean": Setting(
    "of pixels, one a channel or one for all",
    "BYOL, App. B",
    each(SHARE),
    "levels / 255",
  ),
  "data.std": Setting(
    "deviation of the same", "BYOL, App. B", each(POSITIVE), "levels / 255"
  ),
  "data.workers": Setting("that crop; 0 for threads", _OURS, _WORKERS, "processes"),
  "data.on_device": Setting(
    "whether the images live on the devices, and are cropped there",
    _OURS,
    TRUE_OR_FALSE,
  ),
  "data.max_unreadable": Setting(
    "of the images that may be unreadable", _OURS, SHARE, "share"
  ),
  # Views.
  **dict(_view("views.view1")),
  **dict(_view("views.view2")),
  **dict(_view("view")),
  "augmentations": Setting(
    "which of the operations: `all`, or another row of table 17; of linear evaluation"
    " `crops` or `pretraining`",
    "BYOL, table 17",
  ),
  # Networks.
  **dict(_network("encoder")),
  "encoder.depth": Setting(
    "of the ResNet", "BYOL, 3.3", one_of(resnet.SHAPES), "layers"
  ),
  "encoder.width": Setting(
    "the channels of the ResNet", "BYOL, 3.3", resnet.WIDTHS, "times"
  ),
  "encoder.stem": Setting("first layers", "ResNet", one_of(resnet.STEMS)),
  "encoder.zero_last_scale": Setting(
    "whether each block starts as the identity",
    f"Goyal et al. 2017; {_CODE}",
    TRUE_OR_FALSE,
  ),
  "encoder.projected_shortcuts": Setting(
    "where a shortcut has a convolution",
    "ResNet, option B",
    one_of(resnet.PROJECTED_SHORTCUTS),
  ),
  **dict(_head("projector")),
  **dict(_head("predictor")),
  "bn_init": Setting(
    "whether the affines of norms are set by a first batch's statistics",
    f"{_NO_STATISTICS}, 3.2",
    TRUE_OR_FALSE,
  ),
  "closed_form.name": Setting(
    "a predictor that is computed, not learned",
    "DirectPred",
    one_of(("none", *CLOSED_FORMS)),
  ),
  "closed_form.rho": Setting(
    "of the moments that a step keeps", "DirectPred", NOT_ALL, "share"
  ),
  "closed_form.epsilon": Setting(
    "what is added to each eigenvalue's root",
    "DirectPred, equations 18 and 19",
    POSITIVE,
    _NO_UNIT,
  ),
  # Objective and target.
  "objective.name": Setting(
    "what is minimised", "BYOL, equation 2", one_of(objectives.OBJECTIVES)
  ),
  **dict(_objectives()),
  "target.kind": Setting(
    "a moving average of the online network, or that",
    "BYOL, equation 1",
    one_of(TARGETS),
  ),
  "target.same_init": Setting(
    "whether it starts as the online network", _CODE, TRUE_OR_FALSE
  ),
  "target.tau": Setting(
    "of itself that a step keeps, at the start", "BYOL, 3.3", SHARE, "share"
  ),
  "target.schedule": Setting(
    "of tau: to 1 by a cosine, or none", "BYOL, 3.3", one_of(TAU_SCHEDULES)
  ),
  "target.frozen": Setting("of the steps before it moves", _OURS, NOT_ALL, "share"),
  # Optimiser.
  "optimiser.name": Setting(
    "the optimiser", "LARS; BYOL, 3.3", one_of(optim.OPTIMISERS)
  ),
  "optimiser.learning_rate": Setting(
    "the base rate; of classifiers those to choose from",
    "BYOL, 3.3",
    each(POSITIVE),
    _NO_UNIT,
  ),
  "optimiser.scale_with_batch": Setting(
    "whether rates are for 256 images", "BYOL, 3.3", TRUE_OR_FALSE
  ),
  "optimiser.predictor_multiplier": Setting(
    "the rate, of the predictor", "BYOL, table 21", NOT_NEGATIVE, "times"
  ),
  "optimiser.schedule": Setting("of the rate", "BYOL, 3.3", one_of(optim.SCHEDULES)),
  "optimiser.warmup": Setting(
    "of the steps in which the rate rises", "BYOL, 3.3", NOT_ALL, "share"
  ),
  "optimiser.momentum": Setting(
    "of past updates that a step keeps; Nesterov's", "BYOL, App. C.1", NOT_ALL, "share"
  ),
  "optimiser.statistics_decay": Setting(
    "of batch norm's running averages that a step keeps",
    f"{_CODE}; BYOL, App. D.3",
    NOT_ALL,
    "share",
  ),
  "optimiser.lars.weight_decay": Setting(
    "of weights alone", "BYOL, 3.3", NOT_NEGATIVE, _NO_UNIT
  ),
  "optimiser.lars.momentum": Setting(
    "of past updates that a step keeps", "BYOL, App. J", NOT_ALL, "share"
  ),
  "optimiser.lars.trust_coefficient": Setting(
    "eta of LARS", "LARS; BYOL, App. J", POSITIVE, _NO_UNIT
  ),
  "optimiser.sgd.weight_decay": Setting(
    "of weights alone", "BYOL, App. C.1", NOT_NEGATIVE, _NO_UNIT
  ),
  "optimiser.sgd.momentum": Setting(
    "of past updates that a step keeps; Nesterov's", "BYOL, App. C.1", NOT_ALL, "share"
  ),
  "optimiser.adam.weight_decay": Setting(
    "decoupled, of weights alone", _OURS, NOT_NEGATIVE, _NO_UNIT
  ),
  # The run.
  "train.steps": Setting("updates", "BYOL, App. J", between(1, MOST_STEPS), "steps"),
  "train.epochs": Setting(
    "passes over the images, in place of steps", _OURS, POSITIVE, "epochs"
  ),
  "train.batch_size": Setting(
    "of a step, of all devices", "BYOL, 3.3", _BATCH, "images"
  ),
  "train.accumulate": Setting(
    "of a device's share", "BYOL, table 16", _COUNT, "microbatches"
  ),
  "train.remat": Setting(
    "whether blocks are computed again backwards, for memory", _OURS, TRUE_OR_FALSE
  ),
  "train.precision": Setting("of the networks", _OURS, one_of(model.PRECISIONS)),
  "precision": Setting("of the encoder", _OURS, one_of(model.PRECISIONS)),
  "log.every_steps": Setting("between two lines of the log", _OURS, _COUNT, "steps"),
  "log.writers": Setting(
    "where scalars go beside metrics.jsonl, with commas between",
    _OURS,
    Valid(table.are_known, f"some of {', '.join(table.WRITERS)}, or {table.NONE}"),
  ),
  "checkpoint.every_minutes": Setting(
    "between two checkpoints", _CODE, NOT_NEGATIVE, "minutes"
  ),
  "checkpoint.keep": Setting("the newest, that are kept", _OURS, _COUNT, "checkpoints"),
  # Evaluation.
  "probe.train": Setting("split that the summary's probes learn from", _OURS),
  "probe.test": Setting("split that the summary is about", "BYOL, App. C.1"),
  "probe.valid_train": Setting("split that kNN looks up while training", _OURS),
  "probe.valid_test": Setting("split that the run is watched on", _CODE),
  "eval.every_steps": Setting("between two evaluations", _OURS, _COUNT, "steps"),
  "eval.batch_size": Setting("at a time, of all devices", _OURS, _EVAL_BATCH, "images"),
  "eval.baselines": Setting(
    "beside the encoder in the summary: `untrained`, `pixels`", _OURS
  ),
  "encoder": Setting("a run, a file of an encoder, or a pattern of several", _OURS),
  "which": Setting("of a run's checkpoints: `newest`, `best` or a step", _OURS),
  "results": Setting("file that results are added to", _OURS),
  "set": Setting("a set of table 3, several, or `all`", "BYOL, table 3"),
  "metric": Setting("of accuracy", "BYOL, table 10", one_of(probes.METRICS)),
  "k": Setting("to choose from", "Wu et al. 2018, 3.4", each(_COUNT), "neighbours"),
  "temperature": Setting(
    "of the neighbours' weights, to choose from",
    "Wu et al. 2018, 3.4",
    each(POSITIVE),
    _NO_UNIT,
  ),
  "crop": Setting(
    "of the shorter side that the central crop takes", "SimCLR, B.8.1", SOME, "share"
  ),
  "strengths": Setting(
    "of regularisation, to choose from", "BYOL, App. D.2", each(POSITIVE), _NO_UNIT
  ),
  "rates": Setting(
    "learning rates to choose from", "BYOL, App. C.1", each(POSITIVE), _NO_UNIT
  ),
  "epochs": Setting(
    "lengths of the training to choose from", "BYOL, App. C.1", each(POSITIVE), "epochs"
  ),
  "weight_decays": Setting(
    "to choose from", "BYOL, App. D.3", each(NOT_NEGATIVE), _NO_UNIT
  ),
  "logits.clip": Setting(
    "a of a tanh(x / a), which logits x become; 0 is off",
    "BYOL, table 7",
    NOT_NEGATIVE,
    _NO_UNIT,
  ),
  "logits.penalty": Setting(
    "b, times their mean square; 0 is off", "BYOL, table 7", NOT_NEGATIVE, _NO_UNIT
  ),
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


def examples() -> dict[str, object]:
  """Values of settings at the papers' scale."""
  values: dict[str, object] = {}
  for file, preset in reversed(_EXAMPLES):
    config = importlib.import_module(f"configs.{file}").get_config(preset)
    values |= flat(config.to_dict())
  return values


def page() -> str:
  """docs/settings.md: all settings, as tables."""
  values = examples()
  lines = [_INTRODUCTION, "| source | what it is |", "|---|---|"]
  lines += [f"| {name} | {what} |" for name, what in SOURCES.items()]
  lines.append("")
  for title, names in _by_section().items():
    lines += [f"## {title}\n", _HEADING, "|---|---|---|---|---|---|"]
    for name in names:
      setting = SETTINGS[name]
      # An objective of one's own is in none of the examples.
      shown = _shown(values[name]) if name in values else "its config's"
      words = setting.valid.words if setting.valid else ""
      cells = (f"`{name}`", shown, setting.unit, setting.meaning, words, setting.source)
      lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
  return "\n".join(lines)


def _shown(value: object) -> str:
  return "open" if value is None else f"`{_short(value)}`"


_INTRODUCTION = """# Settings

Every setting of every config, written by `python -m experiments.reference`. Each is set
by a flag, such as `--config.train.steps=500`, and held against this table before
anything is built. NaN and infinity are allowed nowhere.

**Value** is that of ImageNet at the papers' scale, in `byol.py:imagenet-1000` or in the
evaluation that has the setting; presets differ, and `--show_config` prints the values
of one. What is open is chosen from what is there, or left out. **Unit** is a number's,
`-` if it has none.

**Source** is where that value is from, or else the method. A number alone is a section:
`BYOL, 3.3`. The short names:
"""
_HEADING = "| setting | value | unit | what it means | may be | source |"


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


if __name__ == "__main__":
  print(page(), end="")
