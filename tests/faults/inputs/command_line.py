"""What is misspelt, left out or too much on the command line of main."""

import re
from collections.abc import Iterator

from tests.faults.inputs.bad import Bad, Command, instead
from tests.faults.inputs.place import BYOL, MAIN, Place

_NORMS = {"norm_ablation": "bn-none-none:", "simclr_norm_ablation": "bn-none:"}
_SYSTEMS = (
  *("byol", "byol_gn_ws", "byol_bn_init", "byol_prime", "raft", "simclr"),
  *_NORMS,
)
_EVALUATIONS = (
  *("knn", "linear_cached", "linear_eval", "semi_supervised"),
  *("transfer", "transfer_finetune"),
)


def rows(place: Place) -> list[Iterator[Bad]]:
  """Of each kind its rows."""
  return [
    _of_main(place),
    _presets(place),
    _evaluations(place),
  ]


def _of_main(place: Place) -> Iterator[Bad]:
  yield Bad("no config", (MAIN,), "name a config", instead(place.views()))
  for wrong in ("configs/byol_gnws.py", "byol_gn_ws.py", "configs/byol_gn_ws"):
    yield Bad(
      f"--config={wrong}",
      (MAIN, f"--config={wrong}", f"--workdir={place.new()}"),
      "did you mean configs/byol",
      lambda line: (
        *(MAIN, f"--config={re.search('mean (.*[.]py)', line)[1]}"),
        *place.views()[2:],
      ),
    )
  yield Bad(
    "an empty name", (MAIN, "--config="), "cannot read the config .*name a file"
  )
  for flag, right in {
    "optimizer.learning_rate=0.1": "optimiser",
    "trian.steps=1": "train",
    "train.stepz=1": "steps",
    "encoder.dept=10": "depth",
  }.items():
    yield Bad(
      f"--config.{flag}",
      place.pretrain(f"--config.{flag}"),
      f"no setting .*did you mean {right}",
      instead(place.views()),
    )
  for flag, says in {
    "train.steps.x=3": "no setting 'train.steps.x': docs/settings.md",
    "data.data_dir.x=3": "no setting 'data.data_dir.x': docs/settings.md",
    "nonsense=3": "no setting 'nonsense': docs/settings.md",
    "encoder.norm=batchnorm": "give one of",
    "objective.name=byoll": "give one of",
  }.items():
    yield Bad(f"--config.{flag}", place.pretrain(f"--config.{flag}"), says)
  for section in ("train", "encoder"):
    command = (MAIN, BYOL, f"--config.{section}=runs/mine")
    yield Bad(f"{section} as one", command, "give its settings one by one")
  for flag in ("--wrokdir=x", "--show_view", "--conifg=x", "-x"):
    yield Bad(
      flag,
      place.pretrain(flag),
      f"Unknown command line flag '{flag.strip('-').split('=')[0]}'",
    )
  yield Bad("a stray word", place.pretrain("train"), "unexpected argument 'train'")
  yield Bad("--show_views=maybe", place.pretrain("--show_views=maybe"), "True or False")


def _presets(place: Place) -> Iterator[Bad]:
  for name in (*_SYSTEMS, *_EVALUATIONS):
    if not name.startswith("transfer"):
      yield _preset(place, name)
  for name in ("transfer", "transfer_finetune"):
    file, encoder = f"--config=configs/{name}.py", f"--config.encoder={place.run}"
    yield Bad(
      f"{name}:nope",
      (MAIN, f"{file}:nope", encoder, f"--workdir={place.new()}"),
      "no set 'nope': choose one of food",
      instead((MAIN, f"{file}:food101", encoder, f"--workdir={place.new()}")),
      "food101 is not prepared",
    )
  for name, norms in (("norm_ablation", "bn-none"), ("simclr_norm_ablation", "")):
    yield _norms(place, f"configs/{name}.py", norms)


def _preset(place: Place, name: str) -> Bad:
  file = f"--config=configs/{name}.py:{_NORMS.get(name, '')}"
  of = [f"--config.encoder={place.run}"] if name in _EVALUATIONS else []
  given = (f"--config.data.data_dir={place.photos}", f"--workdir={place.new()}", *of)

  def way_out(line: str) -> Command:
    presets = line.partition("one of ")[2].split(", ")
    assert "cifar10" in presets
    return (MAIN, f"{file}cifar10", *given)

  says = "there is no preset 'nope': choose one of"
  command = (MAIN, f"{file}nope", *given)
  return Bad(f"{name}:nope", command, says, way_out, "cifar10 is not prepared in")


def _norms(place: Place, file: str, norms: str) -> Bad:
  given = (f"--config.data.data_dir={place.photos}", f"--workdir={place.new()}")

  def way_out(line: str) -> Command:
    return (MAIN, f"--config={file}:{line.partition(' as in ')[2]}", *given)

  command = (MAIN, f"--config={file}:{norms}", *given)
  says = "does not name the norms .* as in"
  return Bad(f"{file}:{norms}", command, says, way_out, "cifar10 is not prepared in")


def _evaluations(place: Place) -> Iterator[Bad]:
  for name in _EVALUATIONS:
    yield Bad(
      f"{name} of no encoder",
      (MAIN, f"--config=configs/{name}.py", f"--workdir={place.new()}"),
      "name the encoder to evaluate, as in --config.encoder=",
      instead(place.evaluate(name)),
    )
  for name in ("knn", "semi_supervised", "transfer"):
    yield Bad(
      f"--show_views of {name}",
      place.evaluate(name, "--show_views"),
      "leave out --show_views",
    )
  for value in ("oldest", "-1", "99"):
    yield Bad(
      f"which={value}",
      place.evaluate("knn", f"--config.which={value}"),
      "choose .* or one of the steps",
    )
