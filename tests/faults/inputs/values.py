"""Values of settings: of another type, out of range, not finite, far too large."""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.faults.inputs.bad import Bad, Command
from tests.faults.inputs.place import Place

_NAN, _HUGE, _LARGE, _WORD = "nan", "1e99", "18446744073709551616", "text"
_NEVER = ("-1", _NAN, "inf", _HUGE, _LARGE, _WORD)
_COUNT = (*_NEVER, "0", "1.5")
_FROM_0 = (*_NEVER, "1.5")
_POSITIVE = ("-1", "0", _NAN, "inf", _HUGE, _WORD)
_NOT_NEGATIVE = ("-1", _NAN, "inf", _HUGE, _WORD)
_SHARE = ("-0.1", "1.1", _NAN, "inf", _HUGE, _WORD)
_YES_OR_NO = ("-1", "2", _NAN, _WORD)

# Written down here, and not taken from the table of ranges that is under test.
_PRETRAINING = {
  "seed": _FROM_0,
  "data.size": _COUNT,
  "data.eval_fraction": ("0", *_SHARE),
  "data.workers": _FROM_0,
  "data.on_device": _YES_OR_NO,
  "data.max_unreadable": _SHARE,
  "data.mean": ("(-0.1,)", "(nan,)", "(1.1,0.5,0.5)", "(1e99,)", "()", "(text,)"),
  "data.std": ("(-1,)", "(0,)", "(nan,)", "(inf,)", "(1e99,)", "(1e-99,)", "()"),
  "views.view1.crop_area": (
    "(-1,1)",
    "(0,1)",
    "(0.5,0.2)",
    "(0.1,2)",
    "(nan,1)",
    "(1,)",
  ),
  "views.view1.crop_aspect": ("(-1,1)", "(0,1)", "(2,1)", "(1,inf)", "(1,1e99)", "()"),
  "views.view1.flip": _SHARE,
  "views.view1.hue": ("-0.1", "0.6", _NAN, _WORD),
  "views.view2.blur_sigma": ("(-1,1)", "(0,1)", "(2,1)", "(nan,nan)", "(1,1e99)"),
  "views.view2.solarise": _SHARE,
  "encoder.depth": ("-1", "0", "19", _LARGE, _WORD),
  "encoder.width": _POSITIVE,
  "encoder.groups": _COUNT,
  "encoder.standardised": _YES_OR_NO,
  "projector.depth": _FROM_0,
  "projector.hidden": _COUNT,
  "projector.outputs": _COUNT,
  "predictor.depth": _FROM_0,
  "closed_form.rho": ("1", *_SHARE),
  "closed_form.epsilon": _POSITIVE,
  "objective.simclr.temperature": _POSITIVE,
  "target.tau": _SHARE,
  "target.frozen": ("1", *_SHARE),
  "optimiser.learning_rate": _POSITIVE,
  "optimiser.predictor_multiplier": _NOT_NEGATIVE,
  "optimiser.warmup": ("1", *_SHARE),
  "optimiser.lars.weight_decay": _NOT_NEGATIVE,
  "optimiser.lars.momentum": ("1", *_SHARE),
  "optimiser.lars.trust_coefficient": _POSITIVE,
  "train.steps": _COUNT,
  "train.batch_size": _COUNT,
  "train.accumulate": ("3", *_COUNT),
  "log.every_steps": _COUNT,
  "checkpoint.every_minutes": _NOT_NEGATIVE,
  "checkpoint.keep": _COUNT,
  "eval.every_steps": _COUNT,
  "eval.batch_size": _COUNT,
}
_OF_EVALUATIONS = {
  "knn": {
    "k": ("(0,)", "(-1,)", "()", "(1.5,)", "(nan,)", "(18446744073709551616,)"),
    "temperature": ("(0.0,)", "(-1.0,)", "()", "(nan,)", "(1e99,)"),
    "eval.batch_size": _COUNT,
    "data.held_out": _COUNT,
  },
  "linear_cached": {
    "train.epochs": _POSITIVE,
    "train.batch_size": _COUNT,
    "logits.clip": _NOT_NEGATIVE,
  },
  "linear_eval": {
    "optimiser.learning_rate": ("(0.0,)", "(-1.0,)", "()", "(nan,)", "(1e99,)"),
    "train.steps": _COUNT,
    "train.epochs": _POSITIVE,
    "data.size": ("0", "15", _LARGE),
  },
  "semi_supervised": {
    "data.labels": ("0", *_SHARE),
    "rates": ("(0.0,)", "()", "(nan,)", "(1e99,)"),
    "epochs": ("(0.0,)", "()", "(nan,)", "(1e99,)"),
    "optimiser.momentum": ("1", *_SHARE),
  },
  "transfer": {"strengths": ("(0.0,)", "(-1.0,)", "()", "(nan,)", "(1e99,)")},
  "transfer_finetune": {
    "weight_decays": ("(-1.0,)", "()", "(nan,)", "(1e99,)"),
    "train.steps": _COUNT,
  },
}


def rows(place: Place) -> list[Iterator[Bad]]:
  """Of each experiment three values of each setting; the first of them is mended."""
  found = [_of_settings(_PRETRAINING, place.views)]
  for config, settings in _OF_EVALUATIONS.items():
    found.append(_of_settings(settings, functools.partial(place.evaluate, config)))
  return found


def _of_settings(
  settings: Mapping[str, Sequence[str]], command: Callable[[str], Command]
) -> Iterator[Bad]:
  for number, (name, values) in enumerate(settings.items()):
    yield from _of_setting(name, _three(values, number), command)


def _three(values: Sequence[str], number: int) -> list[str]:
  first, *others = values
  return [first, *(others[(2 * number + i) % len(others)] for i in range(2))]


def _of_setting(
  name: str, values: Sequence[str], command: Callable[[str], Command]
) -> Iterator[Bad]:
  of_name = re.escape(name)
  for number, value in enumerate(values):
    yield Bad(
      f"{name}={value}",
      command(f"--config.{name}={value}"),
      f"{of_name}.*: give |leave out {of_name}|{of_name}.*(cannot|would|are fewer)",
      None if number else lambda line: command(f"--config.{name}={_named(line)}"),
      leads_to=f"^byol_jax: (?!{of_name} )",  # to what goes with it
    )


def _named(line: str) -> str:
  """A value that a line says to give."""
  words = line.partition(": give ")[2]
  for sign, value in _WORDS.items():
    if found := re.match(sign, words):
      named = found.expand(value).replace(",", "") if "\\" in value else value
      return f"({named},)" if " is (" in line else named
  raise AssertionError(f"nothing is named: {line}")


# Words of a line -> a value that they name.
_WORDS = {
  r"([\d,]+) or more": r"\1",
  r"([\d,]+) to": r"\1",
  r"one of ([\w]+)": r"\1",
  "more than": "0.5",
  "a share": "0.5",
  "True or False": "True",
  "a whole number": "1",
  r"\(low, high\)": "0.1,0.5",
  r"a multiple of ([\d]+)": r"\1",
}
