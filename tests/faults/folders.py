"""Mutated folders of runs: each gives what the run has learned, or says why not.

Of a finished run, any file or folder is changed, cut, renamed, doubled, linked or
deleted. Then the encoder is opened, exported and reported on, and the run is gone on
with. Parameters and states have to be those of the run, bit for bit; and no file that
was there may be gone, but for what a run that goes on does again.
"""

import contextlib
import functools
import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import ml_collections
import numpy as np

from byol_jax import description, export, load_encoder, pretrained, report
from byol_jax.errors import UserError
from byol_jax.pretrained import Encoder
from byol_jax.run import figures, provenance, stored
from byol_jax.run.checkpoints import Checkpoints
from byol_jax.run.folder import RunDir
from experiments import pretrain
from tests import tiny
from tests.faults import tamper, trial
from tests.faults.child import Child
from tests.faults.trial import Trial

SECONDS = 60.0  # the first one compiles the encoder
MIB = 1024.0  # the first one loads what draws
STEPS = 4  # each is saved, and the last three are kept
# Share of the trials that make a report, which takes seconds, and with pictures.
_REPORTED, _DRAWN = 0.1, 0.01
_DESCRIPTIONS = ("encoder.json", "config.json")


def trials(count: int, seed: int, folder: Path) -> Iterator[Trial]:
  """Mutates one copy of a run after another."""
  rng = random.Random(seed)
  original, run, outside = folder / "original", folder / "run", folder / "outside"
  _finish(original)
  with Child(use, SECONDS, MIB) as child:
    for number in range(count):
      _lay_out(original, run, outside)
      path, done = rng.choice(_CHANGES)(rng, run, outside)
      place = path.relative_to(run).as_posix()
      drawn = rng.random()
      report_of = "pictures" if drawn < _DRAWN else "curves" * (drawn < _REPORTED)
      whole, elsewhere = trial.contents(run), trial.contents(outside)
      name = f"{number} {place} {done}"
      result = child.ask(name, str(run), str(original), place, report_of)
      lost = [*_lost(whole, run, original), *trial.lost(elsewhere, outside)]
      if lost and not result.wrong:
        result = result._replace(wrong=f"it has changed {', '.join(lost)}")
      yield result


def _finish(path: Path) -> None:
  """A run as training leaves it, with parameters at random."""
  experiment, rng = _experiment(), np.random.default_rng(0)
  listing = experiment.inputs.dataset.listing()
  with RunDir(path, start=provenance.start()) as run_dir:
    run_dir.claim(experiment.config, listing)
    run_dir.write_encoder(description.to_json(experiment.encoder_description()))
    run_dir.rewind(-1)
    checkpoints = Checkpoints(run_dir.checkpoints)
    for step in range(STEPS + 1):
      scalars = {"loss": 2 - 0.1 * step, "spread": 0.5, "score": 0.1 * step}
      run_dir.log(step, {**scalars, "seconds": float(step), "knn": 0.1})
      leaves, form = jax.tree.flatten(_template())
      drawn = [rng.normal(size=leaf.shape).astype(leaf.dtype) for leaf in leaves]
      state = jax.tree.unflatten(form, drawn)._replace(step=np.int32(step))
      checkpoints.save(step, state, {"score": scalars["score"]})
    checkpoints.close()
    figures.curves(run_dir)
    accuracies = {"encoder": 0.5, "untrained": 0.25, "pixels": 0.125}
    run_dir.write_summary(
      {
        **scalars,
        "knn": accuracies,
        "linear": accuracies,
        "steps": STEPS,
        "seconds": 4.0,
      }
    )


def _lay_out(original: Path, run: Path, outside: Path) -> None:
  for old in (run, outside):
    shutil.rmtree(old, ignore_errors=True)
  shutil.copytree(original, run)
  outside.mkdir()
  (outside / "whole").write_bytes(bytes(100))


def _config() -> ml_collections.ConfigDict:
  return tiny.config(steps=STEPS)


# What is changed.


def _a_file(rng: random.Random, run: Path, outside: Path) -> tuple[Path, str]:
  """Of all files; half the time one of those on top, which are few."""
  everywhere = rng.random() < 0.5
  found = run.rglob("*") if everywhere else run.iterdir()
  path = rng.choice(sorted(path for path in found if path.is_file()))
  return path, tamper.file(rng, path, outside)


def _a_value(rng: random.Random, run: Path, outside: Path) -> tuple[Path, str]:
  """Of a JSON object, or of one in a file with one a line."""
  path = rng.choice(sorted([*run.glob("*.json"), *run.glob("*.jsonl")]))
  if path.suffix == ".json":
    path.write_bytes(tamper.values(rng, path.read_bytes()))
  else:
    lines = path.read_bytes().splitlines(keepends=True)
    index = rng.randrange(len(lines))
    lines[index] = tamper.values(rng, lines[index]) + b"\n"
    path.write_bytes(b"".join(lines))
  return path, "a value"


def _a_folder(rng: random.Random, run: Path, outside: Path) -> tuple[Path, str]:
  path = rng.choice(sorted(path for path in run.rglob("*") if path.is_dir()))
  done = rng.choice(("deleted", "emptied", "renamed", "doubled", "moved and linked"))
  other = path.with_name(rng.choice(("3", "5", "x", f"{path.name}.tmp", "0")))
  if done == "doubled":
    shutil.copytree(path, other, dirs_exist_ok=True)
  elif done == "renamed":
    path.rename(other)
  elif done == "moved and linked":
    shutil.move(path, outside / "moved")
    path.symlink_to(outside / "moved")
  else:
    shutil.rmtree(path)
  if done == "emptied":
    path.mkdir()
  return path, f"{done} ({other.name})"


_CHANGES = (_a_file, _a_file, _a_value, _a_folder)


# What may not happen to the files.


def _lost(whole: dict[str, bytes], run: Path, original: Path) -> list[str]:
  """Files that are gone or others, but for those that a run writes again."""
  return [
    name
    for name in trial.lost(whole, run)
    if not (
      _is_written_again(name, whole[name], run, original)
      or _is_set_aside(name, whole, run)
    )
  ]


def _is_written_again(name: str, before: bytes, run: Path, original: Path) -> bool:
  now = (run / name).read_bytes() if (run / name).is_file() else b""
  if name == "metrics.jsonl":  # rewound to the checkpoint
    return set(now.splitlines()) <= set(before.splitlines())
  return name in _DESCRIPTIONS and now == (original / name).read_bytes()


def _is_set_aside(name: str, whole: dict[str, bytes], run: Path) -> bool:
  """Whether it is of a damaged checkpoint, or of a score that cannot be read."""
  top, step, rest = [*name.split("/", 2), "", ""][:3]
  if top != "checkpoints":
    return False
  aside = run / top / f"{step}.unusable" / rest
  if aside.is_file() and aside.read_bytes() == whole[name]:
    return True
  try:
    score = json.loads(whole[f"{top}/{step}/metrics/metrics"])["score"]
    return rest.startswith("metrics/") and not isinstance(score, float)
  except (KeyError, TypeError, ValueError):
    return rest.startswith("metrics/")


# How it is used, in the child.


def use(run: str, original: str, place: str, report_of: str) -> str:
  """Does with the folder of a run all that is done with one.

  Args:
    run: the folder.
    original: what it was a copy of.
    place: what of it was changed.
    report_of: "pictures", "curves" or "" for no report.

  Returns:
    What is wrong.
  """
  newest_lies_in = ("checkpoints", f"checkpoints/{STEPS}")
  is_newest_whole = place not in newest_lies_in and newest_lies_in[1] + "/" not in place

  def may_be(step: int) -> bool:
    return step == STEPS or not is_newest_whole

  def is_the_runs(encoder: Encoder) -> bool:
    known = _known(original)[encoder.step]
    is_described = place in _DESCRIPTIONS or encoder.description == known.description
    return is_described and encoder.checksum == known.checksum

  def newest() -> bool:
    encoder = load_encoder(run)
    return is_the_runs(encoder) and may_be(encoder.step)

  def exported() -> bool:
    with tempfile.TemporaryDirectory() as folder:
      file = Path(folder, "encoder.safetensors")
      export.export(run, "safetensors", file)
      return is_the_runs(load_encoder(file))

  def reported() -> bool:
    with tempfile.TemporaryDirectory() as folder, _drawn(report_of == "pictures"):
      return report.write([run], Path(folder, "report.html")).stat().st_size > 10_000

  def resumed() -> bool:
    step, digest = _go_on(run)
    return digest == _known_state(original, step) and may_be(step)

  uses = {
    "open": newest,
    "best": lambda: is_the_runs(load_encoder(run, "best")),
    "export": exported,
    **({"report": reported} if report_of else {}),
    "go on": resumed,
  }
  with mock.patch.object(pretrained, "shapes", _shapes):
    return next(filter(None, map(_wrong, uses, uses.values())), "")


def _wrong(name: str, works: Callable[[], bool]) -> str:
  """What is wrong with one use."""
  try:
    return "" if works() else f"{name}: it is not what the run has learned"
  except UserError as error:
    is_line = str(error) and "\n" not in str(error)
    return "" if is_line else f"{name}: no reason of one line: {str(error)!r}"
  except Exception as error:
    error.args = (f"{name}: {error}",)
    raise


def _go_on(run: str) -> tuple[int, str]:
  """What a run does with its folder before its next step; the state that it is at."""
  experiment = _experiment()
  listing = experiment.inputs.dataset.listing()
  with RunDir(run) as run_dir:
    run_dir.read_config()
    run_dir.check_images(listing)
    run_dir.claim(experiment.config, listing)
    run_dir.read_summary()
    run_dir.write_encoder(description.to_json(experiment.encoder_description()))
    checkpoints = Checkpoints(run_dir.checkpoints)
    try:
      found = checkpoints.restore(_template())
    finally:
      checkpoints.close()
    if found is None:
      raise UserError("there is no checkpoint: it starts anew")
    step, state = found
    if step != int(state.step):
      raise UserError("refused by the loop")
    run_dir.rewind(step)
    return step, _digest(state)


def _drawn(is_drawn: bool) -> contextlib.AbstractContextManager[Any]:
  """With pictures, or as where the data set is no longer there."""
  if is_drawn:
    return contextlib.nullcontext()
  return mock.patch("byol_jax.report.data.open_dataset", return_value="not here")


def _shapes(of: description.Description) -> Any:
  """Shapes of an encoder, which take a second to find out."""
  key = json.dumps(description.to_json(of))
  if key not in _SHAPES:
    _SHAPES[key] = _find_shapes(of)
  return _SHAPES[key]


_SHAPES: dict[str, Any] = {}
_find_shapes = pretrained.shapes


@functools.cache
def _experiment() -> pretrain.Pretrain:
  return pretrain.Pretrain(_config())


@functools.cache
def _template() -> Any:
  return jax.eval_shape(_experiment().init)


@functools.cache
def _known(original: str) -> dict[int, Encoder]:
  """Step -> encoder, of the run as it was."""
  steps = range(STEPS - 2, STEPS + 1)
  return {step: load_encoder(original, step) for step in steps}


@functools.cache
def _known_state(original: str, step: int) -> str:
  return _digest(stored.load(original, _template(), step)[1])


def _digest(state: Any) -> str:
  arrays = stored.named(state)
  total = hashlib.sha256()
  for name in sorted(arrays):
    total.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
  return total.hexdigest()
