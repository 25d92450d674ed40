"""What is misspelt, left out or too much on the command line."""

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


def rows(place: Place) -> Iterator[Bad]:
  """All of them."""
  yield from _of_main(place)
  yield from _presets(place)
  yield from _evaluations(place)
  yield from _of_embed(place)
  yield from _of_export(place)
  yield from _of_report(place)
  yield from _of_prepare(place)
  yield from _of_reproduce(place)


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

  says = "unknown preset 'nope'; choose one of"
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


def _of_embed(place: Place) -> Iterator[Bad]:
  embed = "byol_jax.embed"
  making = (embed, f"--encoder={place.run}", f"--images={place.photos}")
  drawing = (embed, f"--features={place.features}")
  out = f"--out={place.new('.npz')}"
  made = f"--out={place.new('.npz')}"
  yield Bad("embed", (embed,), "give either --out", instead((*making, made)))
  yield Bad("both", (*drawing, out), "give either --out")
  yield Bad("no drawing", drawing, "say what to draw", instead((*drawing, "--map")))
  yield Bad("a map again", (*drawing, "--map"), "is there already")
  yield Bad("no encoder", (embed, out), "name the encoder")
  yield Bad("no such form", (*making, f"--out={place.new('.csv')}"), r"\.npz")
  for flag, says in {
    "--map=globe": "pca, tsne or umap|choose one of",
    "--duplicates=2": "give",
    "--duplicates=nan": "give",
    "--duplicates=many": "give a number",
    "--neighbours=": "name an image",
    f"--neighbours={place.folder}/none.png": "does not exist",
  }.items():
    yield Bad(f"embed {flag}", (*drawing, flag), says)
  one = f"--neighbours={place.photos}/test/a/0.png"
  for value in ("0", "-1"):
    yield Bad(
      f"embed --k={value}",
      (*drawing, one, f"--k={value}"),
      "k is .*: give 1 or more",
      instead(
        (*drawing, f"--neighbours={place.photos}/test/b/{len(value)}.png", "--k=1")
      ),
    )
  for flag, says in {
    "--k=many": "give a whole number",
    "--batch_size=0": "batch_size is 0: give 1 or more",
    "--batch_size=-1": "give 1 or more",
    "--batch_size=1.5": "give a whole number",
    "--which=best best": "choose",
    "--which=99": "choose",
    "--split=trian": "has nothing for the split 'trian'",
    "--split=train[200:]": "has nothing for the split",
    "--split=": "has nothing for the split",
    "--imagse=x": "Unknown command line flag 'imagse'",
    "stray": "unexpected argument",
  }.items():
    yield Bad(f"embed {flag}", (*making, out, flag), says)


def _of_export(place: Place) -> Iterator[Bad]:
  export, encoder = "byol_jax.export", f"--encoder={place.run}"
  out = place.new(".safetensors")
  given = (encoder, "--to=safetensors", f"--out={out}")
  for number, flag in enumerate(("--encoder", "--to", "--out")):
    left = [each for i, each in enumerate(given) if i != number]
    right = (export, *given[:2], f"--out={place.new('.safetensors')}")
    yield Bad(
      f"export without {flag}", (export, *left), f"{flag}|{flag[2:]}", instead(right)
    )
  for to in ("onnx", "", "TORCH!"):
    yield Bad(
      f"--to={to}",
      (export, encoder, f"--to={to}", f"--out={place.new()}"),
      "<torch.safetensors.jax>",
      instead((export, encoder, "--to=torch", f"--out={place.new()}")),
    )
  for which in ("99", "oldest"):
    yield Bad(f"export {which}", (export, *given, f"--which={which}"), "choose")
  yield Bad(
    "export over a run", (export, *given[:2], f"--out={place.run}"), "is there already"
  )
  yield Bad(
    "export of photos",
    (export, f"--encoder={place.photos}", *given[1:]),
    "no checkpoint|run",
  )
  yield Bad("export, stray", (export, *given, "x"), "unexpected argument 'x'")


def _of_report(place: Place) -> Iterator[Bad]:
  report = "byol_jax.report"
  run = place.run
  yield Bad(
    "report",
    (report,),
    "required: RUN",
    instead((report, run, f"--out={place.new('.html')}")),
  )
  yield Bad("report --output", (report, run, "--output=x"), "--output=x")
  yield Bad(
    "report twice",
    (report, run, run),
    "given twice",
    instead((report, run, f"--out={place.new('.html')}")),
  )
  yield Bad("report of photos", (report, place.photos), "is .* the folder of a run")
  yield Bad(
    "report to a folder", (report, run, f"--out={place.photos}"), "is a folder: give"
  )
  yield Bad(
    "report over a run's file",
    (report, run, f"--out={run}/config.json"),
    "is no report: choose another --out",
  )
  yield Bad(
    "report to nowhere", (report, run, f"--out={place.new()}/x.html"), "create it, or"
  )
  yield Bad(
    "report of no results", (report, place.new(".jsonl")), "cannot read .*No such file"
  )
  yield Bad("report of both", (report, run, place.new(".jsonl")), "stands alone")


def _of_prepare(place: Place) -> Iterator[Bad]:
  prepare, out = "byol_jax.data.prepare", place.new()
  folder, to = f"--folder={place.photos}", f"--data_dir={out}"
  yield Bad(
    "prepare",
    (prepare,),
    "name a data set, as in --name=cifar10",
    instead((prepare, "--name=cifar10", f"--data_dir={place.sets}")),
  )
  yield Bad(
    "no side",
    (prepare, folder, to),
    "--side=320",
    instead((prepare, folder, f"--data_dir={place.new()}", "--side=320")),
  )
  yield Bad(
    "no data_dir",
    (prepare, folder, "--side=16"),
    "--data_dir=OUT",
    instead((prepare, folder, "--side=16", f"--data_dir={place.new()}")),
  )
  yield Bad(
    "side of a name",
    (prepare, "--name=cifar10", "--side=3", f"--data_dir={place.sets}"),
    "--side is for a folder",
  )
  for side, says in {
    "0": "1 or more",
    "-1": "1 or more",
    "x": "whole",
    "1e3": "whole",
  }.items():
    yield Bad(f"--side={side}", (prepare, folder, to, f"--side={side}"), says)
  for name in ("Mine", "my-photos", "../up", "", "cifar10", "photos", "näme"):
    yield Bad(
      f"prepare as {name!r}",
      (prepare, folder, to, "--side=16", f"--name={name}"),
      "--name=my_",
      lambda line: (
        prepare,
        folder,
        f"--data_dir={place.new()}",
        "--side=16",
        re.search("--name=my_[a-z0-9_]+", line)[0],
      ),
    )
  for name in (
    "cifra10",
    "photo",
    "nosuch",
    "",
    "a b",
    "cifar10:",
    "cifar10:9.9.9",
    "cifar10/x",
  ):
    yield Bad(
      f"prepare --name={name!r}",
      (prepare, f"--name={name}", f"--data_dir={place.sets}"),
      "no data set|name a data set|there is cifar10:3.0.2",
    )
  yield Bad(
    "prepare into nowhere",
    (prepare, "--name=cifar10", f"--data_dir={place.new()}"),
    "create it first",
  )
  yield Bad(
    "prepare, stray",
    (prepare, "cifar10"),
    "unexpected argument 'cifar10'; flags begin with --",
  )
  yield Bad(
    "prepare --nmae", (prepare, "--nmae=cifar10"), "Unknown command line flag 'nmae'"
  )


def _of_reproduce(place: Place) -> Iterator[Bad]:
  flags = (f"--workdir={place.new()}", f"--report={place.new()}")
  report = instead(("reproduce", f"--workdir={place.new()}", "--norun"))
  for flag, says in {
    "--only=nope": "--only=nope is none of bn",
    "--jobs=0": "cores for 1 to",
    "--jobs=99": "cores for 1 to",
    "--jobs=many": "give a whole number",
    "--scale=tpu": "<cpu.accelerator>",
    "--minutes=3": "--minutes is not for --scale=cpu",
    "--runn": "Unknown command line flag 'runn'",
    "stray": "unexpected argument 'stray'",
    f"--data_dir={place.new()}": "create it first",
    f"--data_dir={place.photos}": "is not prepared in",
  }.items():
    if flag.startswith("--jobs") and "many" not in flag:
      flags_ = (*flags, f"--data_dir={place.sets}")
    else:
      flags_ = flags
    yield Bad(f"reproduce {flag}", ("reproduce", *flags_, flag), says, report)
  accelerator = ("reproduce", *flags, "--scale=accelerator", f"--data_dir={place.sets}")
  for flag in ("--jobs=2", "--trials", "--minutes=nan", "--minutes=-1", "--minutes=0"):
    yield Bad(
      f"reproduce on accelerators {flag}",
      (*accelerator, flag),
      "--" + flag.strip("-").split("=")[0],
    )
