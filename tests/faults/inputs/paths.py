"""Paths: where nothing is, of another kind, read-only, with any letters."""

import contextlib
import itertools
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping

from tests.faults.inputs.bad import Bad, Command, instead
from tests.faults.inputs.place import Place

# What a command does with a path -> the command.
_Uses = dict[str, Callable[[str], Command]]

_OF_A_PATH = (
  "cannot|does not exist|is not empty|is a file|is a folder|is there|holds|no image"
  "|no checkpoint|no encoder|no file|^byol_jax: name|give|create|choose|lies among"
)


def rows(place: Place) -> list[Iterator[Bad]]:
  """Of each kind its rows."""
  return [
    _unsuitable(_readers(place), _unreadable(place)),
    _unsuitable(_writers(place), _unwritable(place)),
    _read_only(place),
    _full(place),
    _with_any_letters(place),
  ]


def _unsuitable(uses: _Uses, paths: Mapping[str, str]) -> Iterator[Bad]:
  """Every use of a path with every path that does not suit it, a use at a time each."""
  for (kind, path), (use, command) in itertools.product(paths.items(), uses.items()):
    says = f"{re.escape(path)}|{_OF_A_PATH}" if path else _OF_A_PATH
    # As root one may write anywhere in /proc, until one tries.
    late = (use, kind) == ("results", "in /proc")
    yield Bad(f"{use}: {kind}", command(path), says, writes=late)


def _readers(place: Place) -> _Uses:
  embed = "byol_jax.embed"
  prepare = ("byol_jax.data.prepare", "--side=16", f"--data_dir={place.new()}")
  export = ("byol_jax.export", "--to=safetensors", f"--out={place.new('.safetensors')}")
  making = (embed, f"--encoder={place.run}", f"--out={place.new('.npz')}")
  drawing = (embed, f"--features={place.features}", "--k=1")
  folder = "--config.data.name=folder"
  return {
    "encoder of knn": lambda p: place.evaluate("knn", f"--config.encoder={p}"),
    "encoder of export": lambda p: (*export, f"--encoder={p}"),
    "run of a report": lambda p: ("byol_jax.report", p),
    "data.data_dir": lambda p: place.views(folder, f"--config.data.data_dir={p}"),
    "images of embed": lambda p: (*making, f"--images={p}"),
    "features of embed": lambda p: (embed, f"--features={p}", "--map"),
    "neighbours of embed": lambda p: (*drawing, f"--neighbours={p}"),
    "folder of prepare": lambda p: (*prepare, f"--folder={p}"),
  }


def _writers(place: Place) -> _Uses:
  run, photos = f"--encoder={place.run}", f"{place.photos}"
  prepare = ("byol_jax.data.prepare", "--side=16", f"--folder={photos}")
  export = ("byol_jax.export", "--to=safetensors", run)
  embed = ("byol_jax.embed", run, f"--images={photos}")
  return {
    "workdir": lambda p: place.pretrain(f"--workdir={p}"),
    "workdir of knn": lambda p: place.evaluate("knn", f"--workdir={p}"),
    "views": lambda p: place.views(f"--workdir={p}"),
    "results": lambda p: place.evaluate("knn", f"--config.results={p}"),
    "out of export": lambda p: (*export, f"--out={p}"),
    "out of embed": lambda p: (*embed, f"--out={p}.npz"),
    "out of a report": lambda p: ("byol_jax.report", place.run, f"--out={p}"),
    "data_dir of prepare": lambda p: (*prepare, f"--data_dir={p}"),
  }


def _unreadable(place: Place) -> dict[str, str]:
  pipe, loop, empty = place.new(), place.new(), place.new()
  os.mkfifo(pipe)
  loop.symlink_to(loop)
  empty.mkdir()
  return {
    "nothing there": f"{place.new()}",
    "empty": "",
    "an empty folder": f"{empty}",
    "below a file": f"{place.features}/x",
    "a text": f"{place.sets}/cifar10/3.0.2/dataset_info.json",
    "a link to itself": f"{loop}",
    "a name of 300 letters": "x" * 300,
    "a pipe": f"{pipe}",
    "a device": "/dev/zero",
    "two lines": f"{place.folder}/new\nline",
  }


def _unwritable(place: Place) -> dict[str, str]:
  loop = place.new()
  loop.symlink_to(loop)
  return {
    "below a file": f"{place.features}/x",
    "a folder of photos": f"{place.photos}",
    "a link to itself": f"{loop}",
    "a name of 300 letters": f"{place.folder}/{'x' * 300}",
    "in /proc": "/proc/byol_jax",
    "a device": "/dev/null",
  }


def _read_only(place: Place) -> Iterator[Bad]:
  """What cannot be written to."""
  if os.geteuid() != 0:  # who else cannot mount it so
    return
  closed = place.new()
  closed.mkdir()
  subprocess.run(["mount", "--bind", closed, closed], check=True)
  subprocess.run(["mount", "-o", "remount,bind,ro", closed], check=True)
  says = "[Rr]ead-only|cannot be written"
  try:
    for use, command in _writers(place).items():
      yield Bad(f"{use}: read-only", command(f"{closed}/x"), says)
  finally:
    subprocess.run(["umount", closed], check=True)


def _full(place: Place) -> Iterator[Bad]:
  """A disk without space: once there is some, the same command goes on."""
  if os.geteuid() != 0:
    return
  disk = place.folder.parent / f"{place.folder.name}-full"
  disk.mkdir()
  for use, command in _writers(place).items():
    size = ["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", disk]
    subprocess.run(size, check=True)
    with contextlib.suppress(OSError):
      (disk / "filling").write_bytes(bytes(12 * 1024))
    try:
      wanted = command(f"{disk}/x")

      def freed(line: str, wanted: Command = wanted) -> Command:
        assert "space" in line
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        return wanted

      yield Bad(f"{use}: full", wanted, "[Nn]o space left", freed, writes=True)
    finally:
      subprocess.run(["umount", disk], check=True)
  disk.rmdir()


def _with_any_letters(place: Place) -> Iterator[Bad]:
  """Names that are odd and not wrong: it is another flag that is mended."""
  yield Bad(
    "a run in '[a]*'",
    place.pretrain(workdir=place.folder / "[a]*"),
    "checkpoints cannot lie there: choose another --workdir",
    instead(place.pretrain()),
  )
  for name in ("ünï cödé", "with 'quotes\"", "new\nline", "--dashes", "100%", "a]"):
    folder = place.folder / name
    yield Bad(
      f"a run in {name!r}",
      place.pretrain("--config.train.stepz=4", workdir=folder),
      "did you mean steps",
      instead(place.pretrain(workdir=folder)),
    )
    encoder = f"--config.encoder={folder}"
    yield Bad(
      f"an encoder in {name!r}",
      place.evaluate("knn", encoder, "--config.which=99"),
      "or one of the steps",
      instead(place.evaluate("knn", encoder)),
    )
