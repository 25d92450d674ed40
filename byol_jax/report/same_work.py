"""Whether a result is of the same work as a paper's: same encoder, same evaluation.

All settings must be those of the paper, and one that is not known here is a difference.
BYOL is Grill et al. (2006.07733). BYOL without batch statistics is Richemond et al.
(2010.10241), of which no more is known than reviews tell: its learning rate, weight
decay and tau are taken to be those of BYOL's 1000 epochs, as in configs/.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from byol_jax.data.views import BYOL_VIEW1, BYOL_VIEW2
from byol_jax.report import evaluations, systems
from byol_jax.report.systems import Line
from byol_jax.run.settings import flat, is_one_of

_IMAGENET_TRAIN = 1_281_167  # images
_BATCH = 4096


class Encoder(NamedTuple):
  """An encoder of a paper.

  Attributes:
    pretraining: how it was trained, a key of `_PRETRAININGS`.
    depth: of its ResNet.
    width: likewise.
  """

  pretraining: str
  depth: int = 50
  width: float = 1.0


def _as_recorded(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Settings by their full names, with the types that JSON has."""
  return flat(json.loads(json.dumps(settings)))


def _head() -> dict[str, Any]:
  """Projector and predictor: BYOL, section 3.3."""
  return {
    "norm": "batch",
    "standardised": False,
    "depth": 2,
    "hidden": 4096,
    "outputs": 256,
    "identity_init": False,
  }


def _byol(epochs: int, rate: float, decay: float, tau: float) -> dict[str, Any]:
  """All that an encoder depends on but depth and width: BYOL, 3.3 and 5, App. A and B.

  The names are those of configs/presets.py.
  """
  lars = {"weight_decay": decay, "momentum": 0.9, "trust_coefficient": 1e-3}
  return {
    "experiment": "pretrain",
    "start_from": None,
    "continue_from": None,
    "data": {
      "name": "imagenet2012",
      "train": "train",
      "size": 224,
      "eval_fraction": 224 / 256,
      "mean": (0.485, 0.456, 0.406),
      "std": (0.229, 0.224, 0.225),
      "on_device": False,
    },
    "views": {"view1": BYOL_VIEW1._asdict(), "view2": BYOL_VIEW2._asdict()},
    "augmentations": "all",
    "encoder": {
      "norm": "batch",
      "standardised": False,
      "stem": "imagenet",
      "zero_last_scale": False,
    },
    "projector": _head(),
    "predictor": _head(),
    "closed_form": {"name": "none"},
    "bn_init": False,
    "objective": {"name": "byol", "byol": {"normalise": "l2", "centre_targets": False}},
    "target": {
      "kind": "ema",
      "same_init": False,
      "tau": tau,
      "schedule": "cosine",
      "frozen": 0.0,
    },
    "optimiser": {
      "name": "lars",
      "learning_rate": rate,
      "scale_with_batch": True,
      "predictor_multiplier": 1.0,
      "schedule": "cosine",
      "warmup": 10 / epochs,
      "lars": lars,
    },
    "train": {
      "steps": epochs * _IMAGENET_TRAIN // _BATCH,
      "batch_size": _BATCH,
      "accumulate": 1,
    },
  }


def _gn_ws(byol: dict[str, Any]) -> dict[str, Any]:
  """Group norm of 16 groups and standardised weights: Richemond et al., section 3.3."""
  norm = {"norm": "group", "groups": 16, "standardised": True}
  return byol | {p: byol[p] | norm for p in ("encoder", "projector", "predictor")}


BYOL, BYOL_300, GN_WS = "BYOL", "BYOL, 300 epochs", "BYOL, GN + WS"
_LONG = _byol(1000, 0.2, 1.5e-6, 0.996)
_PRETRAININGS = {
  BYOL: _as_recorded(_LONG),
  BYOL_300: _as_recorded(_byol(300, 0.3, 1e-6, 0.99)),
  GN_WS: _as_recorded(_gn_ws(_LONG)),
}
# What the encoder of none of them depends on.
_UNUSED = (
  *("objective.isoloss", "objective.byol_prime", "objective.raft"),
  *("objective.simclr", "objective.info_nce", "optimiser.sgd", "optimiser.adam"),
  *("closed_form.rho", "closed_form.epsilon"),
  "encoder.projected_shortcuts",  # each stage of bottlenecks needs one
  *("train.epochs", "train.remat"),  # `train.steps` says it; it computes the same
  "train.precision",  # of which the papers say nothing
)


def encoder_of(line: Line) -> Encoder | None:
  """The paper's encoder that a result is of, trained to its last step; None for others.

  What evaluates it does not matter.
  """
  all_settings = systems.settings(line)
  found = {k: v for k, v in all_settings.items() if not is_one_of(k, _UNUSED)}
  for part in ("encoder", "projector", "predictor"):
    if found.get(f"{part}.norm") == "batch":
      found.pop(f"{part}.groups", None)
  if found.get("encoder.norm") == "group":
    found["train.accumulate"] = 1  # no image sees another: it computes the same
  depth, width = found.pop("encoder.depth", None), found.pop("encoder.width", None)
  network = line["encoder"]["network"]
  if any(all_settings.get(f"encoder.{k}") != v for k, v in network.items()):
    return None
  if line["encoder"]["step"] != found.get("train.steps"):
    return None
  return next(
    (Encoder(k, depth, width) for k, each in _PRETRAININGS.items() if each == found),
    None,
  )


_OF_LINE = ("protocol", "data", "train", "test", "test_images")
_CROPS = {"crop_area": (0.08, 1.0), "crop_aspect": (3 / 4, 4 / 3), "flip": 0.5}


def _on_imagenet(data: str = "imagenet2012") -> dict[str, Any]:
  return {"data": data, "train": "train", "test": "validation", "test_images": 50_000}


def _linear(augmentations: str, clip: float, penalty: float) -> dict[str, Any]:
  """Linear evaluation: BYOL, App. C.1, and the variants of table 7."""
  settings = {
    "data": {"held_out": 10_009},
    "view": _CROPS if augmentations == "crops" else BYOL_VIEW1._asdict(),
    "augmentations": augmentations,
    "optimiser": {
      "name": "sgd",
      "learning_rate": (0.4, 0.3, 0.2, 0.1, 0.05),
      "scale_with_batch": True,
      "schedule": "cosine",
      "warmup": 0.0,
      "sgd": {"weight_decay": 0.0, "momentum": 0.9},
    },
    "logits": {"clip": clip, "penalty": penalty},
    "train": {"batch_size": 1024, "epochs": 80.0},
  }
  return {"protocol": "linear", **_on_imagenet(), "config": _as_recorded(settings)}


def _semi_supervised(data: str, labels: float) -> dict[str, Any]:
  """Fine-tuning on a share of the labels: BYOL, App. C.1."""
  settings = {
    "data": {"labels": labels},
    "view": _CROPS,
    "optimiser": {
      "schedule": "cosine",
      "scale_with_batch": True,
      "momentum": 0.9,
      "statistics_decay": 0.9,
    },
    "train": {"batch_size": 1024, "accumulate": 1},
    "rates": (0.005, 0.01, 0.02, 0.05, 0.1),
    "epochs": (30.0, 50.0),
  }
  return {
    "protocol": "semi_supervised",
    **_on_imagenet(data),
    "config": _as_recorded(settings),
  }


class Set(NamedTuple):
  """A data set of transfer: what is held out, and what is tested on (BYOL, table 10).

  Attributes:
    test: the split.
    images: in it.
    held_out: images of train to choose by; or the name of a split.
  """

  test: str
  images: int
  held_out: int | str


# By their names in tensorflow-datasets. Those that are not there are folders of users,
# and nobody knows of what.
SETS = {
  "food101": Set("validation", 25_250, 7_575),
  "cifar10": Set("test", 10_000, 5_000),
  "cifar100": Set("test", 10_000, 5_067),
  "sun397/standard-part1-120k": Set("test", 19_850, 3_970),
  "cars196": Set("test", 8_041, 1_650),
  "voc/2007": Set("test", 4_952, "validation"),
  "dtd": Set("test", 1_880, "validation"),
  "oxford_iiit_pet": Set("test", 3_669, 740),
  "caltech101": Set("test", 6_084, 510),
  "oxford_flowers102": Set("test", 6_149, "validation"),
}


def _transfer(protocol: str, name: str, settings: dict[str, Any]) -> dict[str, Any]:
  found = SETS[name]
  held_out = "valid" if isinstance(found.held_out, str) else "held_out"
  return {
    "protocol": protocol,
    "data": name,
    "train": "train",
    "test": found.test,
    "test_images": found.images,
    "config": _as_recorded({"data": {held_out: found.held_out}, **settings}),
  }


def _transfer_linear(name: str) -> dict[str, Any]:
  """Logistic regression on a set: BYOL, App. D.2."""
  strengths = [10 ** (power / 4) for power in range(-24, 21)]
  return _transfer("transfer_linear", name, {"crop": 1.0, "strengths": strengths})


def _transfer_finetune(name: str) -> dict[str, Any]:
  """Fine-tuning on a set: BYOL, App. D.3."""
  settings = {
    "view": _CROPS,
    "optimiser": {"schedule": "cosine", "scale_with_batch": False, "momentum": 0.9},
    "train": {"steps": 20_000, "batch_size": 256, "accumulate": 1},
    "rates": [10 ** (power / 2) for power in range(-8, -1)],
    "weight_decays": [0.0, *(10 ** (power / 2) for power in range(-12, -5))],
  }
  return _transfer("transfer_finetune", name, settings)


LINEAR = ("linear", "linear, augmented", "linear, regularised", "linear, both")
SEMI_SUPERVISED = ("1 % of labels", "10 % of labels", "all labels")
_EVALUATIONS = {
  LINEAR[0]: _linear("crops", 0.0, 0.0),
  LINEAR[1]: _linear("pretraining", 0.0, 0.0),
  LINEAR[2]: _linear("crops", 20.0, 0.01),
  LINEAR[3]: _linear("pretraining", 20.0, 0.01),
  SEMI_SUPERVISED[0]: _semi_supervised("imagenet2012_subset/1pct", 0.01),
  SEMI_SUPERVISED[1]: _semi_supervised("imagenet2012_subset/10pct", 0.1),
  SEMI_SUPERVISED[2]: _semi_supervised("imagenet2012", 1.0),
  **{f"transfer, linear: {name}": _transfer_linear(name) for name in SETS},
  **{f"transfer, fine-tuned: {name}": _transfer_finetune(name) for name in SETS},
}
_FREE = ("seed", "precision")


def evaluation_of(line: Line) -> str | None:
  """The paper's evaluation that a result is of, a key of `_EVALUATIONS`, or None.

  Of which encoder it is does not matter.
  """
  found = {k: v for k, v in evaluations.settings(line).items() if k not in _FREE}
  if "train.epochs" in found:
    found.pop("train.steps", None)  # which follow from them
  if line["protocol"] == "linear":
    found.pop("train.accumulate", None)  # of a frozen encoder it computes the same
  if found.get("augmentations") == "crops":
    seen = {f"view.{name}" for name in _CROPS}
    found = {k: v for k, v in found.items() if k in seen or not k.startswith("view.")}
  recorded = {
    **{name: line[name] for name in _OF_LINE},
    "config": found,
  }
  return next((k for k, each in _EVALUATIONS.items() if each == recorded), None)
