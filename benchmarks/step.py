"""Times training steps beside their PyTorch twins.

  python -m benchmarks.step                          the whole table, for hours
  python -m benchmarks.step --only=resnet18-b64-bn   the rows that begin so
  python -m benchmarks.step --rounds=20 --torch=False
  python -m benchmarks.step --device=gpu             on a GPU: see `benchmarks.gpu`

Each row is a network, batch, norm, objective and precision. Our step, PyTorch's
eager one, its compiled one, our convolutions alone, a matrix product and a copy take
turns (see `turns`). Ours is the whole `Pretrain.step`, compiled as in training,
without random colours. The floor is the convolutions alone, in float32, and the
least memory traffic of the rest at the speed of a copy.
"""

import importlib.util
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import convolutions, gpu, tables, turns, workload
from benchmarks.workload import Row
from byol_jax import commands
from byol_jax.errors import UserError

NORMS = ("bn", "gn_ws", "none")
OBJECTIVES = ("byol", "simclr", "raft")
PRECISIONS = ("float32", "bfloat16")

_MATMUL = 2048  # rows and columns: 17 GFLOP
_PRODUCTS = 8  # in a turn
_COPY = 64 * 2**20  # numbers: 256 MiB


def rows() -> Iterator[Row]:
  """All of them, the most important first."""
  for precision, objective, network, norm in itertools.product(
    PRECISIONS, OBJECTIVES, workload.NETWORKS, NORMS
  ):
    name = f"{network}-{norm}-{objective}-{precision}"
    choice = {"norm": norm, "objective": objective, "precision": precision}
    yield Row(name, workload.NETWORKS[network] | choice)


def prepare(**settings: Any) -> turns.Prepared:
  """Our step, ready to be timed; see `turns.Contestant`."""
  from byol_jax.run import host

  host.tune()
  import jax

  from byol_jax import parallel

  jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  experiment = workload.make_experiment(**settings)
  state, batch = experiment.init(), workload.make_batch(experiment)

  def build() -> tuple[float, Any]:
    start = time.perf_counter()
    step = parallel.pmap(experiment.step, donate=True).lower(state, batch).compile()
    return time.perf_counter() - start, step

  cold, _ = build()
  jax.clear_caches()
  cached, step = build()
  facts = {
    "compile": cold,
    "compile_cached": cached,
    "parameters": workload.parameters(state),
    "flops": experiment.flops(),
    "compiled_flops": step.cost_analysis()["flops"],
    "temp_mib": step.memory_analysis().temp_size_in_bytes / 2**20,
  }

  return facts, workload.stepping(step, parallel.replicate(state), batch)


def prepare_matmul() -> turns.Prepared:
  """Square matrix products: what the machine can do."""
  import jax
  import jax.numpy as jnp

  matrix = jnp.full((_MATMUL, _MATMUL), 1e-3)
  multiply = jax.jit(jnp.matmul)

  def run() -> None:
    product = matrix
    for _ in range(_PRODUCTS):
      product = multiply(product, matrix)
    product.block_until_ready()

  run()
  return {"flops": _PRODUCTS * 2 * _MATMUL**3}, run


def prepare_copy() -> turns.Prepared:
  """An array that is read, changed and written: how fast memory is."""
  import jax
  import jax.numpy as jnp

  array = jnp.ones(_COPY)
  change = jax.jit(lambda x: x + 1, donate_argnums=0)

  def run() -> None:
    nonlocal array
    array = change(array).block_until_ready()

  run()
  return {"traffic": 2 * array.nbytes}, run


def measure(row: Row, rounds: int, with_torch: bool) -> dict[str, Any]:
  """One row of the table."""
  contestants = {"ours": turns.Contestant(prepare, row.settings)}
  if with_torch:
    from benchmarks import torch_twin

    for name, compiled in (("eager", False), ("compiled", True)):
      settings = row.settings | {"compiled": compiled}
      contestants[name] = turns.Contestant(torch_twin.prepare, settings)
  contestants["convolutions"] = turns.Contestant(convolutions.prepare, row.settings)
  contestants["matmul"] = turns.Contestant(prepare_matmul)
  contestants["copy"] = turns.Contestant(prepare_copy)
  found = turns.take_turns(contestants, rounds)
  names = "ours", "convolutions", "matmul", "copy"
  ours, alone, matmul, copy = (found.pop(name) for name in names)
  bandwidth = copy.facts["traffic"] / copy.median
  peak = matmul.facts["flops"] / matmul.median
  result = {
    "row": row.name,
    "rounds": rounds,
    "seconds": ours.median,
    "spread": ours.spread,
    "images_per_second": row.settings["batch"] / ours.median,
    "peak_mib": ours.peak_mib,
    "mfu": ours.facts["flops"] / ours.median / peak,
    "matmul_gflops": peak / 1e9,
    "copy_gb_per_second": bandwidth / 1e9,
    "convolutions": alone.median,
    "floor": alone.median + alone.facts["traffic"] / bandwidth,
    **ours.facts,
  }
  for name, twin in found.items():
    if twin.facts["parameters"] != ours.facts["parameters"]:
      raise RuntimeError(f"{row.name}: the twin has another number of parameters")
    result[name] = {
      "seconds": twin.median,
      "spread": twin.spread,
      "ratio": ours.ratio(twin),
      "peak_mib": twin.peak_mib,
      "compile": twin.facts["compile"],
    }
  return result


def show(result: dict[str, Any]) -> None:
  """Prints a row as a line of a Markdown table."""
  twins = [result.get(name) for name in ("eager", "compiled")]
  cells = [
    result["row"],
    _seconds(result),
    f"{result['images_per_second']:.1f}",
    *(_seconds(t) if t else "" for t in twins),
    f"{max(t['ratio'] for t in twins if t):.2f}" if any(twins) else "",
    f"{result['convolutions']:.2f}",
    f"{result['floor']:.2f}",
    f"{100 * result['mfu']:.0f}%",
    f"{result['flops'] / 1e9:.0f}",
    f"{result['temp_mib']:.0f}",
    f"{result['peak_mib']:.0f}",
    f"{result['compile']:.0f}",
    f"{result['compile_cached']:.1f}",
  ]
  tables.row(cells)


def _seconds(timed: dict[str, Any]) -> str:
  return tables.with_spread(f"{timed['seconds']:.3f}", timed["spread"])


HEADINGS = (
  "row",
  "step, s",
  "images/s",
  "torch eager, s",
  "torch.compile, s",
  "ratio",
  "convolutions, s",
  "floor, s",
  "MFU",
  "GFLOP",
  "temp, MiB",
  "peak, MiB",
  "compile, s",
  "cached, s",
)


def measure_all(
  wanted: Callable[[str], bool], rounds: int, with_torch: bool
) -> Iterator[dict[str, Any]]:
  """Prints the table of the rows that are wanted; gives each row once it is known."""
  tables.head(HEADINGS)
  for row in rows():
    if wanted(row.name):
      result = measure(row, rounds, with_torch)
      show(result)
      yield result


def why_no_twin(device: str) -> str | None:
  """What keeps PyTorch from being timed on a device, None if nothing does."""
  if importlib.util.find_spec("torch") is None:
    return "torch is not installed (pip install -e '.[benchmark]')"
  import torch

  if device == "gpu" and not torch.cuda.is_available():
    return f"torch {torch.__version__} finds no GPU"
  return None


def _check(there: Iterable[Any], only: Sequence[str], out: str | None) -> None:
  """Refuses what would come to nothing, before minutes are spent on it."""
  names = [row.name for row in there]
  for prefix in only:
    if not any(name.startswith(prefix) for name in names):
      raise UserError(f"--only={prefix}: no row begins so; they are {', '.join(names)}")
  if out:
    try:
      Path(out).open("a").close()
    except OSError as error:
      raise UserError(
        f"--out={out}: {error.strerror}; name a file that can be written"
      ) from error


def main(
  device: str,
  batch: int,
  only: Sequence[str],
  rounds: int,
  with_torch: bool,
  out: str | None,
) -> None:
  """Measures the rows that are asked for.

  Args:
    device: "cpu" or "gpu".
    batch: images of a step, on GPUs.
    only: what names of rows begin with; nothing for all of them.
    rounds: how many times each contestant is timed.
    with_torch: whether PyTorch is among them.
    out: a file that gets each row as a line of JSON.

  Raises:
    UserError: there is no such row, or `out` cannot be written.
  """
  _check(gpu.rows(batch) if device == "gpu" else rows(), only, out)
  if with_torch and (reason := why_no_twin(device)):
    print(f"{reason}: byol_jax is timed alone\n")
    with_torch = False

  def wanted(name: str) -> bool:
    return not only or name.startswith(tuple(only))

  results = (
    gpu.measure(wanted, batch, rounds, with_torch)
    if device == "gpu"
    else measure_all(wanted, rounds, with_torch)
  )
  for result in results:
    if out:
      with Path(out).open("a") as file:
        file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
  DEVICE = flags.DEFINE_enum("device", "cpu", ["cpu", "gpu"], "What to time on.")
  BATCH = flags.DEFINE_integer(
    "batch", 64, "Images of a step, with --device=gpu.", lower_bound=2
  )
  ONLY = flags.DEFINE_multi_string("only", [], "What rows begin with; all if none.")
  ROUNDS = flags.DEFINE_integer(
    "rounds", 10, "Times that each is timed.", lower_bound=2
  )
  TORCH = flags.DEFINE_bool("torch", True, "Whether to time PyTorch too.")
  OUT = flags.DEFINE_string("out", None, "File to add each row to, as a line of JSON.")
  commands.run(
    lambda: main(
      DEVICE.value, BATCH.value, ONLY.value, ROUNDS.value, TORCH.value, OUT.value
    ),
    sys.argv,
  )
