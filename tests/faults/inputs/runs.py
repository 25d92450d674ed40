"""Folders of runs and their files: damaged, of something else, of a later version."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from byol_jax import disk
from tests.faults.inputs.bad import Bad, Command, instead
from tests.faults.inputs.place import Place


def rows(place: Place) -> list[Iterator[Bad]]:
  """Of each kind its rows."""
  return [
    _of_another_config(place),
    _files(place),
    _checkpoints(place),
    _results(place),
    _encoders(place),
    _in_use(place),
  ]


def _of_another_config(place: Place) -> Iterator[Bad]:
  longer = place.pretrain("--config.train.steps=8", workdir=place.run)
  yield Bad(
    "a finished run, for longer",
    longer,
    "give --config.continue_from=.* and another --workdir",
    lambda line: (*longer, line.split()[-4], f"--workdir={place.new()}"),
  )
  for flag in ("seed=1", "encoder.groups=4"):
    command = place.pretrain(f"--config.{flag}", workdir=place.run)
    yield Bad(
      f"a finished run and {flag}",
      command,
      f"another config .*{flag.partition('=')[0]}.* another --workdir",
      instead((*command, f"--workdir={place.new()}")),
    )
  yield Bad(
    "views of a finished run",
    place.views(f"--workdir={place.run}"),
    "holds a run",
    instead(place.views()),
  )
  yield Bad(
    "a run in the folder of an evaluation",
    place.evaluate("knn", f"--workdir={place.run}"),
    "another config",
    instead(place.evaluate("knn")),
  )
  yield Bad(
    "no run in a folder that is not empty",
    place.pretrain(workdir=place.photos),
    "holds no run; choose another --workdir",
    instead(place.pretrain()),
  )


_NO_OBJECTS = {
  "a list": b"[]",
  "null": b"null",
  "half of one": b'{"a": ',
  "nothing": b"",
  "UTF-16": '{"a": 1}'.encode("utf-16"),
  "zeros": bytes(100),
  "a depth of 100 000": b'{"a":' * 100_000,
}


def _files(place: Place) -> Iterator[Bad]:
  for name, content in _NO_OBJECTS.items():
    run = place.copy(place.run)
    (run / "config.json").write_bytes(content)
    going_on = place.pretrain(workdir=run)

    def restored(line: str, run: Path = run, command: Command = going_on) -> Command:
      assert "restore it" in line
      shutil.copy(place.run / "config.json", run)
      return command

    way_out = restored if content == b"[]" else None
    yield Bad(f"config.json with {name}", going_on, "restore it", way_out)
    run = place.copy(place.run)
    (run / "config.json").write_bytes(content)
    yield Bad(f"the same, reported: {name}", ("byol_jax.report", run), "restore it")
  for file, says in {
    "summary.json": "delete it",
    "encoder.json": "delete it",
    "starts.jsonl": "delete that line",
    "metrics.jsonl": "delete that line",
    "images.txt.gz": "delete it",
  }.items():
    yield from _one_file(place, file, says)


def _one_file(place: Place, file: str, says: str) -> Iterator[Bad]:
  """A file of a run without which it can go on, as is said."""
  for name, content in _NO_OBJECTS.items():
    if content == b"" and file.endswith(".jsonl"):
      continue  # which is no damage
    run = place.copy(place.run)
    if file != "summary.json":
      (run / "summary.json").unlink()
    (run / file).write_bytes(content + b"\n")
    if file == "encoder.json":
      command = place.evaluate("knn", f"--config.encoder={run}")
    else:
      command = place.pretrain(workdir=run)

    def followed(line: str, path: Path = run / file, c: Command = command) -> Command:
      assert str(path) in line
      path.unlink()  # which has one line alone
      return c

    # One way out for all of them; each takes a run to its end.
    way_out = followed if content == b"[]" else None
    yield Bad(f"{file} with {name}", command, says, way_out)


def _checkpoints(place: Place) -> Iterator[Bad]:
  for name, damage in _GONE.items():
    run = place.copy(place.run)
    damage(run / "checkpoints")
    yield Bad(
      f"knn of {name}",
      place.evaluate("knn", f"--config.encoder={run}"),
      "no checkpoint",
      instead(place.evaluate("knn")),
    )
    out = place.new(".safetensors")
    export = ("byol_jax.export", f"--encoder={run}", "--to=safetensors")
    yield Bad(f"export of {name}", (*export, f"--out={out}"), "no checkpoint")
  run = place.copy(place.run)
  (run / "summary.json").unlink()
  for file in (run / "checkpoints").rglob("*"):
    if file.is_file() and file.stat().st_size > 1000:
      file.write_bytes(bytes(file.stat().st_size))
  yield Bad(
    "a run to go on with, all of whose checkpoints are damaged",
    place.pretrain(workdir=run),
    "no checkpoint .* can be used; .*damaged .* restore one of them",
    instead(place.pretrain()),
    writes=True,
  )


def _emptied(checkpoints: Path) -> None:
  for step in checkpoints.iterdir():
    shutil.rmtree(step)
    step.mkdir()


def _a_file(checkpoints: Path) -> None:
  shutil.rmtree(checkpoints)
  checkpoints.write_text("x")


_GONE: dict[str, Callable[[Path], None]] = {
  "a run without checkpoints": shutil.rmtree,
  "a run with empty checkpoints": _emptied,
  "a run with a file for checkpoints": _a_file,
}


def _results(place: Place) -> Iterator[Bad]:
  later = json.dumps({"format": 2}).encode()
  for name, content in {**_NO_OBJECTS, "a later format": later}.items():
    if not content:
      continue
    path = place.new(".jsonl")
    path.write_bytes(content + b"\n")
    command = place.evaluate("knn", f"--config.results={path}")
    says = "install a newer" if content == later else "no result in line 1: delete"

    def way_out(line: str, path: Path = path, command: Command = command) -> Command:
      assert str(path) in line
      path.write_bytes(b"")
      return command

    followed = way_out if content in (b"[]", later) else None
    yield Bad(f"results with {name}", command, says, followed)
    path = place.new(".jsonl")
    path.write_bytes(content + b"\n")
    yield Bad(f"a report of results with {name}", ("byol_jax.report", path), says)


def _encoders(place: Place) -> Iterator[Bad]:
  """Files that are called encoders and are none."""
  out = f"--out={place.new('.safetensors')}"
  for suffix in (".safetensors", ".pkl", ".pth", ".onnx", ""):
    for name in ("a list", "nothing", "zeros"):
      content = _NO_OBJECTS[name]
      path = place.new(suffix)
      path.write_bytes(content)
      export = ("byol_jax.export", f"--encoder={path}", "--to=safetensors", out)
      says = "damaged|no .*|is neither|cannot|not"
      yield Bad(f"an encoder{suffix} with {name}", export, says)
  path = place.new(".npz")
  path.write_bytes(place.features.read_bytes()[:500])
  yield Bad(
    "features, of which half is there",
    ("byol_jax.embed", f"--features={path}", "--map"),
    "damaged|not whole|no features",
  )


def _in_use(place: Place) -> Iterator[Bad]:
  run = place.copy(place.run)
  (run / "summary.json").unlink()
  descriptor = disk.lock(run, "")
  command = place.pretrain(workdir=run)

  def ended(line: str) -> Command:
    assert "wait until it has ended" in line
    os.close(descriptor)
    return command

  yield Bad("a run that is at work", command, "another run is at work in", ended)
