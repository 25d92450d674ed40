"""The settings of a run, as its config.json has them, and in what two runs differ."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_collections

# What may change between two starts of one run, as it changes nothing that the
# run learns.
OPERATIONAL = (
  "log",
  "checkpoint",
  "data.workers",
  "data.data_dir",
  "data.max_unreadable",
  "results",
)
# What a run may go on by for longer, in a folder of its own: `continue_from`.
SCHEDULE = (
  "train.steps",
  "train.epochs",
  "optimiser.learning_rate",
  "optimiser.schedule",
  "optimiser.warmup",
  "target.tau",
  "target.schedule",
  "target.frozen",
)
# Values of data.name that stand for whatever lies in data.data_dir; of other sets that
# only says where they lie.
FOLDERS = ("folder", "unlabelled_folder")
# Settings that later versions added: what an older run, which lacks them, had.
ADDED = {
  "start_from": None,
  "continue_from": None,
  "data.on_device": False,
  "train.epochs": None,
  "encoder.projected_shortcuts": "as_needed",
  "target.frozen": 0.0,
  "closed_form.name": "none",
  "closed_form.rho": 0.3,
  "closed_form.epsilon": 0.01,
  "objective.byol.centre_targets": False,
}


def resolved(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """A config as config.json has it."""
  return json.loads(config.to_json_best_effort())


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """The settings of a config by their full names, such as "train.steps"."""
  found: dict[str, Any] = {}
  for key, value in tree.items():
    name = f"{prefix}{key}"
    found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
  return found


def is_one_of(name: str, names: Iterable[str]) -> bool:
  """Whether a setting is among `names`, or in a section that is."""
  return any(name == each or name.startswith(f"{each}.") for each in names)


def differences(
  one: Mapping[str, Any], other: Mapping[str, Any], free: Sequence[str] = OPERATIONAL
) -> list[str]:
  """Names of the settings in which two configs differ, but for `free` and sections."""
  first, second = ADDED | flat(one), ADDED | flat(other)
  missing = object()
  return sorted(
    name
    for name in first.keys() | second.keys()
    if first.get(name, missing) != second.get(name, missing)
    and not is_one_of(name, free)
  )
