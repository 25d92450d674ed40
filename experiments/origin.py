"""Which run a pretraining run begins with, where there is one, and whether it can.

`start_from` takes the weights of a run: of the online network and of the target, with
the statistics of both. Optimiser, schedules and steps begin anew. `continue_from` takes
all of its state, the step and the history too, and goes on by a longer schedule.
`experiments.takeover` carries that out.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import logging
from ml_collections import ConfigDict

from byol_jax import parallel
from byol_jax.disk import read_json
from byol_jax.errors import UserError
from byol_jax.formats import saved
from byol_jax.run import settings, stored
from byol_jax.run.folder import RunDir
from byol_jax.run.settings import differences, flat, resolved
from byol_jax.valid import fits

# What a run may go on with, beside another schedule.
_FREE = (
  *settings.OPERATIONAL,
  *settings.SCHEDULE,
  *("start_from", "continue_from", "eval", "probe"),
)
# What is relied on of the other run's config.json and origin.json.
_CONFIG: dict[str, Any] = dict.fromkeys(("encoder", "projector", "predictor"), dict)
_CONFIG["data"] = {"name": str}
_OWN: dict[str, Any] = {"setting": str, "step": int}
_NETWORK = ("encoder", "projector", "predictor")
_DRAWN = ("zero_last_scale", "identity_init")  # how parameters are drawn
_FORM = ("size", "eval_fraction", "mean", "std")  # of images: it goes with a network


class Origin(NamedTuple):
  """A run to begin with.

  Attributes:
    setting: "start_from" or "continue_from".
    path: as the user names it: the run, its checkpoints/, or one step's folder.
    folder: of the run.
    config: of the run, as in config.json.
    classes: of its online classifier; None where it has none.
    own: its own origin.json; None where there is none.
  """

  setting: str
  path: str
  folder: str
  config: dict[str, Any]
  classes: int | None
  own: dict[str, Any] | None

  @property
  def continues(self) -> bool:
    """Whether all of the state is taken, and not the weights alone."""
    return self.setting == "continue_from"

  def choices(self) -> dict[str, Any]:
    """Values for what the new run's config leaves open, in the form of a config."""
    if self.continues:
      return self.config
    images = {name: self.config["data"].get(name) for name in _FORM}
    return {**{part: self.config[part] for part in _NETWORK}, "data": images}

  def value(self, name: str) -> Any:
    """A setting of the run, by its full name."""
    return (settings.ADDED | flat(self.config)).get(name)

  def has_data_of(self, config: ConfigDict) -> bool:
    """Whether the run learned from the same data set, whatever the split."""
    names = ["data.name"]
    if config.data.name in settings.FOLDERS:
      names.append("data.data_dir")
    now = flat(resolved(config))
    return all(self.value(name) == now[name] for name in names)

  def has_predictor_of(self, config: ConfigDict) -> bool:
    """Whether both have a predictor, learned in both or computed in both."""
    is_learned = self.value("closed_form.name") == "none"
    both = self.value("predictor.depth") > 0 and config.predictor.depth > 0
    return both and is_learned == (config.closed_form.name == "none")


def find(config: ConfigDict, run_dir: RunDir | None) -> Origin | None:
  """The run to begin with; None if none is named, or if this run has begun already.

  Args:
    config: of the new run; settings may be open.
    run_dir: of the new run.

  Raises:
    UserError: two are named, or what is there is no pretraining run.
  """
  given = [name for name in ("start_from", "continue_from") if config[name]]
  if len(given) > 1:
    raise UserError("start_from and continue_from are both given: give one of them")
  if not given or run_dir is None:
    return None
  found = parallel.value_from_first_host(
    lambda: None if _has_begun(run_dir) else _look(given[0], config[given[0]])
  )
  return found and Origin(*found)


def _has_begun(run_dir: RunDir) -> bool:
  is_complete = run_dir.read_summary() is not None
  return is_complete or bool(stored.step_folders(run_dir.checkpoints))


def _look(setting: str, path: str) -> Origin:
  if saved.is_file(path):
    raise UserError(
      f"{path} is a file of an encoder alone, without projector, predictor and target:"
      f" give the folder of its run as {setting}"
    )
  folders = stored.choose(path)
  place = stored.run_of(folders[0])
  if place is None:
    raise UserError(
      f"{folders[0]} has no config.json beside it: copy it there from the folder of its"
      " run"
    )
  config = read_json(place / "config.json")
  if config.get("experiment") != "pretrain":
    raise UserError(
      f"{place} is not the folder of a pretraining run: name one as {setting}"
    )
  if not fits(config, _CONFIG):
    raise UserError(f"{place / 'config.json'} is damaged: restore it")
  own = RunDir(place, writes=False).read_origin()
  if own is not None and not fits(own, _OWN):
    raise UserError(f"{place / 'origin.json'} is damaged: restore it")
  return Origin(setting, path, str(place), config, _classes(folders), own)


def _classes(folders: Sequence[Any]) -> int | None:
  try:
    return stored.shape(folders, "online:classifier:w")[-1]
  except UserError:
    return None


def check(origin: Origin, config: ConfigDict, listing: Sequence[str]) -> None:
  """Looks whether a run can begin with another; reads no weights.

  Args:
    origin: the other run.
    config: of this one, without open settings.
    listing: of its images; see `data.sources.Dataset.listing`.

  Raises:
    UserError: it cannot.
  """
  if origin.continues:
    _check_continues(origin, config)
    before = RunDir(origin.folder)
    way_out = "put them back, or give start_from in place of continue_from"
    parallel.value_from_first_host(lambda: before.check_images(listing, way_out))
  else:
    _check_starts(origin, config)


def _check_continues(origin: Origin, config: ConfigDict) -> None:
  if names := differences(origin.config, resolved(config), _FREE):
    raise UserError(
      f"{origin.path} is the run of another config (it differs in {', '.join(names)}),"
      " and continue_from changes its schedule alone: give the same values, or give"
      " start_from, which begins anew with its weights"
    )


def _check_starts(origin: Origin, config: ConfigDict) -> None:
  if config.bn_init:
    raise UserError(
      "bn_init sets the affines of the networks, and start_from brings them: give"
      " --config.bn_init=False"
    )
  parts = _NETWORK if origin.has_predictor_of(config) else _NETWORK[:-1]
  now = flat(resolved(config))
  for name in differences(origin.config, resolved(config)):
    part, _, key = name.partition(".")
    is_unused = key == "groups" and now[f"{part}.norm"] != "group"
    if part in parts and key not in _DRAWN and not is_unused:
      raise UserError(
        f"{origin.path} has another network: {name} is {origin.value(name)} there and"
        f" {now.get(name)} here; give --config.{name}={origin.value(name)}"
      )
  for name in (f"data.{key}" for key in _FORM):
    if (before := origin.value(name)) != now[name]:
      logging.warning(
        "%s is %s, and the network has learned with %s", name, now[name], before
      )
