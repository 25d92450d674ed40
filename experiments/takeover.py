"""Carries out `start_from` and `continue_from`: see `experiments.origin`.

What is taken of the other run becomes the first checkpoint of the new one, from which
the loop goes on as from any other: the other run is looked at once. origin.json says

setting            "start_from" or "continue_from"
run, step          the other run's folder, and the step that was taken
checksum           SHA-256 of the encoder that was taken, as in results.jsonl
taken, fresh       parts of the state: those of the other run, and those that are new;
                   a new target is a copy of the online network
one_schedule       of `continue_from`: whether learning rates and tau up to here were
                   those of the longer schedule, so that this is as one run
renewals           of `continue_from`: how often the target was renewed up to here
config, origin     what is in config.json and in origin.json of the other run
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from byol_jax import optim, parallel
from byol_jax.errors import UserError
from byol_jax.nets import model
from byol_jax.pretrained import Encoder
from byol_jax.run import stored
from byol_jax.run.checkpoints import Checkpoints
from byol_jax.run.folder import RunDir
from byol_jax.run.settings import SCHEDULE
from experiments import optimisers, systems
from experiments.origin import Origin
from experiments.state import State

if TYPE_CHECKING:
  from experiments.pretrain import Pretrain

_HEADS = ("projector", "predictor", "classifier")


class Taken(NamedTuple):
  """What was read of a run.

  Attributes:
    step: updates that had been made.
    fields: by names of `State`: all of them, or for `start_from` those that were taken,
      with the networks that were taken.
  """

  step: int
  fields: dict[str, Any]


def read(experiment: "Pretrain") -> Taken | None:
  """Reads what a run begins with, on every host; None where it begins by itself.

  Raises:
    UserError: it is damaged or does not fit, or no step is left to make.
  """
  origin = experiment.origin
  if origin is None:
    return None
  template = jax.eval_shape(experiment.init)
  if origin.continues:
    wanted = template._asdict()
  else:
    wanted = _weights(origin, template, experiment.config)
  step, fields = stored.load(origin.path, wanted)
  steps = experiment.config.train.steps
  if origin.continues and steps <= step:
    raise UserError(
      f"{origin.path} has reached step {step}, and train.steps is {steps}: give more"
    )
  return Taken(step, fields)


def _weights(origin: Origin, template: State, config: ConfigDict) -> dict[str, Any]:
  """The fields and networks of a state that the other run has too."""
  parts = ["encoder", "projector"]
  if origin.has_predictor_of(config):
    parts.append("predictor")
  classifier = template.online.get("classifier")
  classes = classifier and classifier["w"].shape[-1]
  if classes and classes == origin.classes and origin.has_data_of(config):
    parts.append("classifier")

  def chosen(networks: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tree for name, tree in networks.items() if _part(name) in parts}

  wanted: dict[str, Any] = {
    "online": chosen(template.online),
    "online_stats": chosen(template.online_stats),
  }
  if template.target and origin.value("target.kind") == "ema":
    wanted |= {"target": template.target, "target_stats": template.target_stats}
  if template.moments and "predictor" in parts:
    wanted["moments"] = template.moments
  return wanted


def _part(module: str) -> str:
  """The part of the network that a module belongs to."""
  head = module.split("/")[0]
  return head if head in _HEADS else "encoder"


def begin(experiment: "Pretrain", taken: Taken, run_dir: RunDir) -> None:
  """Makes what was taken the beginning of a run.

  Args:
    experiment: of the run.
    taken: as `read` has it.
    run_dir: the run's folder, claimed.
  """
  origin = experiment.origin
  assert origin is not None
  state = State(**taken.fields) if origin.continues else _started(experiment, taken)
  record = _record(experiment, origin, taken, state)
  _say(record, experiment)
  # First, so that no run has a checkpoint of which nothing says where it is from.
  run_dir.write_origin(record)
  metrics = {}
  if origin.continues and run_dir.writes:
    is_same = _is_watched_on_same_images(origin, experiment.config)
    _copy_history(RunDir(origin.folder, writes=False), run_dir, taken.step, is_same)
    [folder] = stored.choose(origin.path, taken.step)
    if is_same and (score := stored.score(folder)) is not None:
      metrics[stored.SCORE] = score
  checkpoints = Checkpoints(run_dir.checkpoints, experiment.config.checkpoint.keep)
  try:
    checkpoints.save(int(state.step), state, metrics)
  finally:
    checkpoints.close()


def _started(experiment: "Pretrain", taken: Taken) -> State:
  """The state at step 0, with what was taken; a target that is not is the online one.

  A target at random would draw the online network away from what it has learned.
  """
  fresh, fields = experiment.init(), dict(taken.fields)
  fields["online"] = fresh.online | fields["online"]
  fields["online_stats"] = fresh.online_stats | fields["online_stats"]
  if experiment.has_target and "target" not in fields:
    fields["target"] = model.target_part(fields["online"])
    fields["target_stats"] = model.target_part(fields["online_stats"])
  optimiser = jax.jit(experiment.optimiser.init)(fields["online"])
  return fresh._replace(**fields, optimiser=optimiser)


def _is_watched_on_same_images(origin: Origin, config: ConfigDict) -> bool:
  """Whether scores of the other run are to be held against those of this one."""
  names = ("valid_train", "valid_test")
  return all(origin.value(f"probe.{name}") == config.probe[name] for name in names)


def _copy_history(
  before: RunDir, run_dir: RunDir, last: int, with_watched: bool
) -> None:
  """Logs what the other run has logged up to a step.

  Args:
    before: the other run.
    run_dir: of the new one.
    last: that step.
    with_watched: whether that includes what it was watched by.
  """
  run_dir.rewind(-1)
  for record in before.records():
    if (step := record.pop("step")) <= last:
      if not with_watched:
        record = {k: v for k, v in record.items() if not _is_watched_by(k)}
      run_dir.log(step, record)


def _is_watched_by(scalar: str) -> bool:
  return scalar == stored.SCORE or scalar.startswith("valid_")


def _record(
  experiment: "Pretrain", origin: Origin, taken: Taken, state: State
) -> dict[str, Any]:
  """What is in origin.json."""
  found = {
    "setting": origin.setting,
    "run": origin.folder,
    "step": taken.step,
    "checksum": _checksum(experiment, state, taken.step),
    "taken": ["all"],
    "fresh": [],
    "config": origin.config,
    "origin": origin.own,
  }
  if origin.continues:
    return found | _schedules(experiment, origin, taken.step)
  parts = {_part(name) for name in state.online}
  there = {_part(name) for name in taken.fields["online"]}
  for field in ("target", "moments"):
    parts |= {field} if getattr(state, field) else set()
    there |= {field} if field in taken.fields else set()
  return found | {"taken": sorted(there), "fresh": sorted(parts - there)}


def _checksum(experiment: "Pretrain", state: State, step: int) -> str:
  """That of the encoder in a state; see `Encoder.checksum`."""
  params, stats = (
    {name: tree for name, tree in networks.items() if _part(name) == "encoder"}
    for networks in (state.online, state.online_stats)
  )
  return Encoder(params, stats, experiment.encoder_description(), step).checksum


def _schedules(experiment: "Pretrain", origin: Origin, step: int) -> dict[str, Any]:
  """How the other run's schedule went, and whether it was this one's."""
  config = experiment.config.copy_and_resolve_references()
  with config.unlocked(), config.ignore_type():
    for name in SCHEDULE:
      section, key = name.split(".")
      config[section][key] = origin.value(name)
  _, rate = optimisers.from_config(config)
  tau = systems.tau_from_config(config)
  own = origin.own if origin.own and origin.own["setting"] == "continue_from" else {}
  first = own.get("step", 0)
  pairs = [(rate, experiment.learning_rate)]
  if experiment.has_target:
    pairs.append((tau, experiment.tau))
  made = optim.renewals(tau, step)
  return {
    "one_schedule": own.get("one_schedule", True)
    and all(_agree(*pair, range(first, step)) for pair in pairs),
    "renewals": own.get("renewals", 0.0) + float(made[-1] - made[first]),
  }


def _agree(one: optim.Schedule, other: optim.Schedule, steps: range) -> bool:
  at = np.array(steps)
  return bool(np.all(np.asarray(one(at)) == np.asarray(other(at))))


def _say(record: dict[str, Any], experiment: "Pretrain") -> None:
  run, step, steps = record["run"], record["step"], experiment.config.train.steps
  if record["setting"] == "start_from":
    logging.info(
      "the weights are those of %s at step %d (SHA-256 %s): %s",
      *(run, step, record["checksum"][:12], ", ".join(record["taken"])),
    )
    copied = {"target": "target (a copy of the online network)"}
    if fresh := [copied.get(part, part) for part in record["fresh"]]:
      logging.info("it has no weights for, and these are new: %s", ", ".join(fresh))
    return
  logging.info(
    "all is as in %s at step %d (SHA-256 %s)", run, step, record["checksum"][:12]
  )
  if not record["one_schedule"]:
    logging.warning(
      "the first %d steps were made by a schedule of %d steps, with its learning rates"
      " and tau: the result is not that of one run of %d steps",
      *(step, record["config"]["train"]["steps"], steps),
    )


def renewed(run_dir: RunDir) -> tuple[int, float]:
  """Up to which step a run was another one, and how often its target was renewed."""
  found = parallel.value_from_first_host(run_dir.read_origin) or {}
  return (found["step"], found["renewals"]) if "renewals" in found else (0, 0.0)
