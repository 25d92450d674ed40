"""The same for embed, export, report, data.prepare and reproduce."""

import re
from collections.abc import Iterator

from tests.faults.inputs.bad import Bad, instead
from tests.faults.inputs.place import Place


def rows(place: Place) -> list[Iterator[Bad]]:
  """Of each kind its rows."""
  return [
    _of_embed(place),
    _of_export(place),
    _of_report(place),
    _of_prepare(place),
    _of_reproduce(place),
  ]


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
    "downloading cifar10 needs TensorFlow",
  )
  yield Bad(
    "prepare into a file",
    (prepare, "--name=cifar10", f"--data_dir={place.run / 'config.json'}"),
    "is no folder",
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
    "--only=nope": "'nope': .*bn",
    "--jobs=0": "cores for 1 to",
    "--jobs=99": "cores for 1 to",
    "--jobs=many": "give a whole number",
    "--scale=tpu": "<cpu.accelerator>",
    "--minutes=3": "--minutes is not for --scale=cpu",
    "--runn": "Unknown command line flag 'runn'",
    "stray": "unexpected argument 'stray'",
    f"--data_dir={place.new()}": "is not prepared in .*, which does not exist",
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
