"""What a step costs, read off its compiled program: nothing is run."""

import math
import re
from typing import Any, NamedTuple

import jax

_COLLECTIVE = re.compile(
  r"= (?P<type>\(.*?\)|\S+)"
  r" (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
  r"(?:-start)?\("
)
_ARRAY = re.compile(r"\b[a-z]+(?P<bits>\d+)(?:e\w+)?\[(?P<shape>[\d,]*)\]")


class Collectives(NamedTuple):
  """Those of one kind.

  Attributes:
    ops: how many there are; devices wait for each other so many times.
    arrays: that they take together: XLA merges neighbours into one.
    bytes: of these arrays.
  """

  ops: int
  arrays: int
  bytes: int


def collectives(program: jax.stages.Compiled) -> dict[str, Collectives]:
  """A program's collectives by kind; one in a loop counts once."""
  found: dict[str, Collectives] = {}
  for op in _COLLECTIVE.finditer(program.as_text() or ""):
    arrays = _ARRAY.findall(op["type"])
    sizes = [int(bits) // 8 * _elements(shape) for bits, shape in arrays]
    before = found.get(op["kind"], Collectives(0, 0, 0))
    after = (before.ops + 1, before.arrays + len(sizes), before.bytes + sum(sizes))
    found[op["kind"]] = Collectives(*after)
  return found


def facts(program: jax.stages.Compiled) -> dict[str, Any]:
  """A program's memory on one device, in MiB, and its collectives."""
  memory: Any = program.memory_analysis()
  return {
    "arguments_mib": memory.argument_size_in_bytes / 2**20,
    "temp_mib": memory.temp_size_in_bytes / 2**20,
    "collectives": collectives(program),
  }


def _elements(shape: str) -> int:
  return math.prod(map(int, filter(None, shape.split(","))))


def step_shapes(experiment: Any) -> tuple[Any, Any]:
  """Shapes of the state and the batch of a step, on no device yet."""
  train, shape = experiment.config.train, experiment.inputs.image_shape
  local = jax.local_device_count()
  images = train.batch_size // jax.process_count() // local // train.accumulate
  lead = (local, train.accumulate, images)
  batch = {
    view: jax.ShapeDtypeStruct((*lead, *shape), "uint8") for view in experiment.views
  }
  numbers = dict.fromkeys(("label", "position"), jax.ShapeDtypeStruct(lead, "int32"))
  return jax.eval_shape(experiment.init), batch | numbers


def lower_step(experiment: Any) -> jax.stages.Lowered:
  """The step of an experiment without an image of it being made."""
  from byol_jax import parallel

  step = parallel.pmap(experiment.step, donate=True)
  return step.lower(*step_shapes(experiment))
