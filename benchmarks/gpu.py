"""Times training steps on a GPU, beside their PyTorch twins on the same card.

`benchmarks.step --device=gpu` runs this. Each row is a window of its own, in which our
step, the twin's (channels_last, autocast, torch.compile), our step with batch norm and
a large matrix product take turns, each in a process that stays on the card: a turn is
`STEPS` steps in a row. All of a window must fit on the card together.

JAX is imported inside of functions: a contestant's environment is set before.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import tables, turns, workload
from benchmarks.workload import Row
from byol_jax.errors import UserError

NETWORKS = {
  "resnet50": {"depth": 50, "stem": "imagenet", "size": 224},
  "resnet18": {"depth": 18, "stem": "cifar", "size": 32},
}
PRECISIONS = ("bfloat16", "float32")
NORMS = ("bn", "gn_ws")
STEPS = 10
_MATMUL = 8192  # rows and columns: 1.1 TFLOP
# One card. Memory is taken as it is needed, so that all find room; compilation, which
# is timed, starts from nothing.
_ENVIRONMENT = {
  "JAX_PLATFORMS": "cuda",
  "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
  "JAX_ENABLE_COMPILATION_CACHE": "false",
  "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0],
}


def rows(batch: int) -> Iterator[Row]:
  """All of them for one size of batches, the most important first."""
  for network, precision, norm in itertools.product(NETWORKS, PRECISIONS, NORMS):
    choice = {"norm": norm, "objective": "byol", "precision": precision}
    name = f"{network}-b{batch}-{norm}-byol-{precision}"
    yield Row(name, NETWORKS[network] | {"batch": batch} | choice)


def prepare_device() -> turns.Prepared:
  """What JAX finds: device and version, or why it finds no device."""
  import jax

  try:
    kind = jax.devices()[0].device_kind
  except (AssertionError, RuntimeError) as error:  # by way of JAX's version
    return {"error": str(error).partition("\n")[0] or "no plugin"}, lambda: None
  return {"kind": kind, "jax": jax.__version__}, lambda: None


def prepare(**settings: Any) -> turns.Prepared:
  """Our step, compiled as in training; see `turns.Contestant`."""
  from byol_jax import parallel

  experiment = workload.make_experiment(**settings)
  state, batch = parallel.replicate(experiment.init()), workload.make_batch(experiment)
  start = time.perf_counter()
  step = parallel.pmap(experiment.step, donate=True).lower(state, batch).compile()
  facts = {
    "compile": time.perf_counter() - start,
    "parameters": workload.parameters(state),
    "flops": experiment.flops(),
  }
  return facts, workload.stepping(step, state, batch, STEPS)


def prepare_matmul(precision: str) -> turns.Prepared:
  """Matrix products in a row: what the card reaches with the simplest work."""
  import jax
  import jax.numpy as jnp

  matrix = jax.random.normal(jax.random.key(0), (_MATMUL, _MATMUL), precision)
  multiply = jax.jit(lambda a, b: jnp.matmul(a, b) / _MATMUL**0.5)

  def run() -> None:
    product = matrix
    for _ in range(STEPS):
      product = multiply(product, matrix)
    product.block_until_ready()

  run()
  return {"flops": 2 * _MATMUL**3}, run


def device_mib() -> float:
  """Most memory that JAX has held on its device, in MiB."""
  from byol_jax import parallel

  return (parallel.peak_memory() or 0) / 2**20


def contestants(row: Row, with_torch: bool) -> dict[str, turns.Contestant]:
  """Who takes turns in a row's window, by name."""
  shared: dict[str, Any] = {"environment": _ENVIRONMENT, "memory": device_mib}
  found = {"ours": turns.Contestant(prepare, row.settings, **shared)}
  if with_torch:
    from benchmarks import torch_twin

    settings = row.settings | {"compiled": True, "device": "cuda", "steps": STEPS}
    found["compiled"] = turns.Contestant(
      torch_twin.prepare, settings, _ENVIRONMENT, memory=torch_twin.device_mib
    )
  if row.settings["norm"] != "bn":
    found["bn"] = turns.Contestant(prepare, row.settings | {"norm": "bn"}, **shared)
  precision = {"precision": row.settings["precision"]}
  found["matmul"] = turns.Contestant(prepare_matmul, precision, _ENVIRONMENT)
  return found


def result(row: Row, kind: str, found: dict[str, turns.Timing]) -> dict[str, Any]:
  """A row's figures from its window.

  Args:
    row: the row.
    kind: of the card, JAX's `device_kind`.
    found: what came of its `contestants`.

  Raises:
    RuntimeError: the twin is not of the same size.
  """
  from byol_jax.run import mfu

  ours, matmul = found["ours"], found["matmul"]
  flops = ours.facts["flops"]
  peak = mfu.peak(kind, row.settings["precision"])

  def figures(timing: turns.Timing) -> dict[str, Any]:
    seconds = timing.median / STEPS
    return {
      "seconds": seconds,
      "spread": timing.spread,
      "images_per_second": row.settings["batch"] / seconds,
      "mfu": flops / seconds / peak if peak else None,
      "peak_mib": timing.peak_mib,
      "compile": timing.facts["compile"],
      "ratio": ours.ratio(timing),
    }

  twin = found.get("compiled")
  if twin and twin.facts["parameters"] != ours.facts["parameters"]:
    raise RuntimeError(f"{row.name}: the twin has another number of parameters")
  steps = {name: figures(found[name]) for name in found if name != "matmul"}
  speed = STEPS * matmul.facts["flops"] / matmul.median
  return {
    "row": row.name,
    "device": kind,
    "peak_tflops": peak and peak / 1e12,
    "rounds": len(ours.seconds),
    "flops": flops,
    "matmul_tflops": speed / 1e12,
    **steps,
  }


HEADINGS = (
  "row",
  "step, ms",
  "images/s",
  "MFU",
  "torch.compile, ms",
  "ratio",
  "its MFU",
  "to batch norm",
  "GFLOP an image",
  "matmul, TFLOP/s",
  "memory, MiB",
  "torch's",
  "compile, s",
  "torch's",
)


def line(found: dict[str, Any], batch: int) -> list[str]:
  """The cells of a row of the table."""
  ours, twin, bn = (found.get(name, {}) for name in ("ours", "compiled", "bn"))

  def cell(figures: dict[str, Any], name: str, form: str, times: float = 1) -> str:
    value = figures.get(name)
    return "" if value is None else format(value * times, form)

  def milliseconds(figures: dict[str, Any]) -> str:
    value = cell(figures, "seconds", ".1f", 1000)
    return tables.with_spread(value, figures["spread"]) if value else ""

  return [
    found["row"],
    milliseconds(ours),
    cell(ours, "images_per_second", ".0f"),
    cell(ours, "mfu", ".1%"),
    milliseconds(twin),
    cell(twin, "ratio", ".2f"),
    cell(twin, "mfu", ".1%"),
    cell(bn, "ratio", ".2f"),
    f"{found['flops'] / batch / 1e9:.1f}",
    f"{found['matmul_tflops']:.0f}",
    cell(ours, "peak_mib", ".0f"),
    cell(twin, "peak_mib", ".0f"),
    cell(ours, "compile", ".0f"),
    cell(twin, "compile", ".0f"),
  ]


def measure(
  wanted: Callable[[str], bool], batch: int, rounds: int, with_torch: bool
) -> Iterator[dict[str, Any]]:
  """Prints the table of the rows that are wanted; gives each row once it is known.

  A window that fails, as for want of memory, leaves its row out.

  Raises:
    UserError: JAX finds no GPU.
  """
  device = turns.facts(turns.Contestant(prepare_device, {}, _ENVIRONMENT))
  if "error" in device:
    raise UserError(
      f"JAX finds no GPU here ({device['error']}): install byol_jax[cuda] or"
      " byol_jax[cuda13], or leave out --device=gpu"
    )
  print(f"{describe(device)}\n")
  tables.head(HEADINGS)
  for row in rows(batch):
    if not wanted(row.name):
      continue
    try:
      found = turns.take_turns(contestants(row, with_torch), rounds)
    except UserError as error:
      print(f"{row.name} is left out: {error}; a smaller --batch takes less memory")
      continue
    yield (figures := result(row, device["kind"], found))
    tables.row(line(figures, batch))


def describe(device: dict[str, Any]) -> str:
  """The card, its peaks by the vendor's data sheet, and the version of JAX."""
  from byol_jax.run import mfu

  peaks = {name: mfu.peak(device["kind"], name) for name in PRECISIONS}
  known = [f"{peak / 1e12:.0f} ({name})" for name, peak in peaks.items() if peak]
  peak = f"peak {', '.join(known)} TFLOP/s" if known else "peak not known: no MFU"
  return f"{device['kind']}, {peak}; jax {device['jax']}"
