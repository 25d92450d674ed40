"""Whether a config has the settings of its experiment, and no others."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from byol_jax.errors import UserError
from byol_jax.run.settings import flat
from experiments.reference import SETTINGS

# Of float32; less is flushed to 0.
_LEAST, _MOST = 2.0**-126, 2.0**128 - 2.0**104
_HELD = "float32 can hold, or a whole one below 2^32"


def check(
  config: ConfigDict, example: ConfigDict, may_be_open: Collection[str] = ()
) -> None:
  """Refuses a config that has other settings than an example of its experiment.

  A section with a `name` has a choice, and the sections in it, such as
  `objective.simclr`, are settings of one choice each: these are for whoever makes
  it to check.

  Args:
    config: what is checked.
    example: a config of the same experiment, with a value for each setting.
    may_be_open: names of settings that may be None.

  Raises:
    UserError: naming the first setting that is missing, unknown, of another type or out
      of its range.
  """
  wanted, there = dict(_settings(example.to_dict())), dict(_settings(config.to_dict()))
  for name in wanted:
    if name not in there:
      raise UserError(
        f"the config has no {name}, and {config.experiment} needs it: begin with a"
        " config of configs/, and change that"
      )
  for name in there:
    if name not in wanted:
      raise UserError(
        f"the config has a setting {name}, and {config.experiment} has none of that"
        " name: take it out, or correct its name"
      )

  for name, value in wanted.items():
    is_open = there[name] is None and name in may_be_open
    if not is_open and not _is_like(there[name], value):
      raise UserError(
        f"the config's {name} is {there[name]!r}: give a value such as {value!r}"
      )
  check_ranges(config)


def check_ranges(config: ConfigDict) -> None:
  """Refuses a config of which a value is out of its range; see `reference.SETTINGS`.

  Raises:
    UserError: naming the first such setting.
  """
  for name, value in flat(config.to_dict()).items():
    valid = SETTINGS[name].valid if name in SETTINGS else None
    if valid and value is not None and value not in valid:
      raise UserError(f"{name} is {value!r}: give {valid.words}")
    if isinstance(value, str) and "\0" in value:  # which no path can have
      raise UserError(f"{name} is {value!r}: give a text without a character 0")
    for number in value if isinstance(value, tuple | list) else (value,):
      if not _can_be_computed_with(number):
        raise UserError(f"{name} is {value!r}: give a number that {_HELD}")


def _can_be_computed_with(value: Any) -> bool:
  """Whether a number is one in float32, or a whole one in uint32."""
  if isinstance(value, float):
    return value == 0 or _LEAST <= abs(value) <= _MOST
  return not isinstance(value, int) or abs(value) < 2**32


def _settings(
  section: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
  """A section's settings with their values, {} for a section, each before its own."""
  for key, value in section.items():
    is_section = isinstance(value, Mapping)
    if is_section and "name" in section:
      continue
    yield f"{prefix}{key}", {} if is_section else value
    if is_section:
      yield from _settings(value, f"{prefix}{key}.")


def _is_like(value: Any, example: Any) -> bool:
  """Whether a value has the type of an example; None stands for a text, or nothing."""
  if example is None:
    return value is None or isinstance(value, str)
  if isinstance(example, bool | int | str):
    return type(value) is type(example)
  if isinstance(example, float):
    return type(value) in (int, float) and abs(value) < float("inf")
  if isinstance(example, tuple | list):
    is_list = isinstance(value, tuple | list)
    return is_list and all(_is_like(one, example[0]) for one in value)
  return isinstance(value, Mapping)
