"""Whether a config has the settings of its experiment, and no others."""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from byol_jax.errors import UserError


def check(config: ConfigDict, example: ConfigDict) -> None:
  """Refuses a config that has other settings than an example of its experiment.

  A section with a `name` has a choice, and the sections in it, such as
  `objective.simclr`, are settings of one choice each: these are for whoever makes
  it to check.

  Raises:
    UserError: naming the first setting that is missing or unknown.
  """
  wanted, there = list(_names(example.to_dict())), list(_names(config.to_dict()))
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


def _names(section: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
  """A section's settings, each before those in it."""
  for key, value in section.items():
    is_section = isinstance(value, Mapping)
    if is_section and "name" in section:
      continue
    yield f"{prefix}{key}"
    if is_section:
      yield from _names(value, f"{prefix}{key}.")
