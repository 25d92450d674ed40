"""Devices and hosts: the one place that knows of pmap."""

import collections
import itertools
import json
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import chex
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from byol_jax.errors import UserError

AXIS = "devices"
FIRST_HOST = 0  # the one that reads and writes files

_AHEAD = 2  # batches on their way to the devices
_LINE = 1000  # bytes of a message between hosts
_PATIENCE = 600  # seconds that hosts wait for the first one to read or to save
_MEETINGS = itertools.count()  # of this process; each has a name of its own

Value = TypeVar("Value")


def check_batch_size(name: str, batch_size: int, microbatches: int = 1) -> None:
  """Checks that all devices can split a batch evenly.

  Args:
    name: what the user calls it.
    batch_size: images in a batch, over all hosts.
    microbatches: number of microbatches in which each device works through its share.

  Raises:
    UserError: where they cannot.
  """
  unit = jax.device_count() * microbatches
  if batch_size < 1 or batch_size % unit:
    raise UserError(
      f"{name} is {batch_size}: give a multiple of {unit}, the number of devices"
      f" ({jax.device_count()}) x microbatches ({microbatches})"
    )


def device_multiple(count: int) -> int:
  """A number of images, or the next above, of which all devices have equal shares."""
  return -(-count // jax.device_count()) * jax.device_count()


def is_first_host() -> bool:
  """Whether this host is the one that writes files."""
  return jax.process_index() == FIRST_HOST


def device_memory() -> int | None:
  """Bytes of one device of this host, None where that is not known, as on CPUs."""
  return _memory_stats().get("bytes_limit")


def peak_memory() -> int | None:
  """Most bytes that one device has held since the process began, None likewise."""
  return _memory_stats().get("peak_bytes_in_use")


def _memory_stats() -> dict[str, int]:
  return jax.local_devices()[0].memory_stats() or {}


def describe() -> str:
  """The devices and hosts, for the log."""
  kind = jax.devices()[0].device_kind
  return (
    f"{jax.device_count()} device(s) ({kind}) on {jax.process_count()} host(s),"
    f" jax {jax.__version__}"
  )


def pmap(fn: Callable, donate: bool = False) -> jax.stages.Wrapped:
  """Maps fn(replicated, batch) -> replicated over all devices of all hosts.

  The first argument and all outputs are the same on every device and have no
  device axis; the batch's leaves are [local devices, ...], as `shard` makes
  them. fn must make its outputs equal on all devices, by `pmean` or
  `all_gather` over `AXIS`.

  Args:
    fn: the function.
    donate: whether the first argument's memory may be reused for the outputs.
  """
  return jax.pmap(
    fn,
    axis_name=AXIS,
    in_axes=(None, 0),
    out_axes=None,
    donate_argnums=(0,) if donate else (),
  )


def gather(tree: chex.ArrayTree) -> chex.ArrayTree:
  """Inside `pmap`: concatenates each leaf [n, ...] over all devices."""
  return jax.lax.all_gather(tree, AXIS, tiled=True)


def _sharding(spec: PartitionSpec) -> NamedSharding:
  return NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), spec)


def replicate(tree: chex.ArrayTree) -> chex.ArrayTree:
  """Puts a tree on all devices of this host."""
  return jax.device_put(tree, _sharding(PartitionSpec()))


def shard(batch: chex.ArrayTree, microbatches: int | None = None) -> chex.ArrayTree:
  """Spreads this host's batch over its devices.

  Args:
    batch: leaves [n, ...].
    microbatches: where given, each device's share gets a leading axis of that many
      microbatches.

  Returns:
    Leaves [local devices, n / devices, ...], or [local devices, microbatches, ...].
  """
  lead = (jax.local_device_count(),) + ((microbatches,) if microbatches else ())
  split = jax.tree.map(lambda x: x.reshape(*lead, -1, *x.shape[1:]), batch)
  return jax.device_put(split, _sharding(PartitionSpec(AXIS)))


def spread(tree: chex.ArrayTree) -> chex.ArrayTree:
  """Spreads leaves [n, ...] over this host's devices for `jit`, the last row again and
  again where they have no equal shares.
  """
  count = len(jax.tree.leaves(tree)[0])
  devices = jax.local_device_count()
  rows = np.minimum(np.arange(-(-count // devices) * devices), count - 1)
  filled = jax.tree.map(lambda x: x if len(rows) == count else x[rows], tree)
  return jax.device_put(filled, _sharding(PartitionSpec(AXIS)))


def by_rows(fn: Callable) -> Callable:
  """Compiles fn(replicated, rows) -> rows for the devices of this host.

  Each takes its share of the rows, as `spread` makes them, and sees no other. Left to
  itself XLA gathers them all on each device for what it cannot divide, as `top_k`.
  """
  split, whole = PartitionSpec(AXIS), PartitionSpec()
  mesh = _sharding(whole).mesh
  mapped = jax.shard_map(
    fn, mesh=mesh, in_specs=(whole, split), out_specs=split, check_vma=False
  )
  return jax.jit(mapped)


def copy_to_each(tree: chex.ArrayTree) -> chex.ArrayTree:
  """Gives each device of this host a copy, once and for all.

  In a batch for `pmap` it is what a function sees on every device, and no step copies
  it again.

  Args:
    tree: leaves [...].

  Returns:
    Leaves [local devices, ...], as `shard` makes them.
  """
  count = jax.local_device_count()
  copies = jax.tree.map(lambda x: np.broadcast_to(x, (count, *x.shape)), tree)
  return jax.device_put(copies, _sharding(PartitionSpec(AXIS)))


def prefetch(
  batches: Iterable[chex.ArrayTree], microbatches: int | None = None
) -> Iterator[chex.ArrayTree]:
  """Shards batches, keeping `_AHEAD` of them on their way to the devices."""
  iterator = (shard(batch, microbatches) for batch in batches)
  queue = collections.deque(itertools.islice(iterator, _AHEAD))
  while queue:
    yield queue.popleft()
    queue.extend(itertools.islice(iterator, 1))


def agree(value: bool) -> bool:
  """Whether the value is true on any host; all hosts must ask."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.process_allgather(np.array(value)).any())


def check_agreement(facts: Mapping[str, Any]) -> None:
  """Compares what must be the same on all hosts; all must ask, for the same names.

  Args:
    facts: name -> a value that JSON can say.

  Raises:
    UserError: a host has another value than the first; on every host, naming it.
  """
  if jax.process_count() == 1:
    return
  mine = {name: json.dumps(value) for name, value in facts.items()}
  first = value_from_first_host(lambda: mine)
  differing = [
    name for name in sorted(mine | first) if mine.get(name) != first.get(name)
  ]
  line = ""
  if differing:
    name = differing[0]
    line = (
      f"host {jax.process_index()} has {name} = {mine.get(name)}, and host 0"
      f" {first.get(name)}"
    )
    line += f" (and {len(differing) - 1} more)" if differing[1:] else ""
  said = map(_text, multihost_utils.process_allgather(_line(line)))
  if found := next(filter(None, said), None):
    raise UserError(
      f"{found}: start all hosts with the same command, code, images and packages"
    )


def _line(text: str) -> np.ndarray:
  """A message between hosts, of a length that all know; `_text` reads it."""
  return np.frombuffer(os.fsencode(text)[:_LINE].ljust(_LINE, b"\0"), np.uint8)


def _text(line: np.ndarray) -> str:
  return bytes(np.asarray(line)).rstrip(b"\0").decode(errors="ignore")


def rows_of_host(count: int) -> tuple[int, int]:
  """The first of `count` rows that are this host's share, and the first that is not."""
  hosts, host = jax.process_count(), jax.process_index()
  return count * host // hosts, count * (host + 1) // hosts


def sum_over_hosts(values: np.ndarray) -> np.ndarray:
  """The sum of all hosts' values; all hosts must ask."""
  if jax.process_count() == 1:
    return values
  return multihost_utils.process_allgather(values).sum(axis=0)


def from_first_host(read: Callable[[], Value]) -> Value:
  """Reads something on the first host; it is the result on every host.

  Args:
    read: called on the first host alone; it gives what can be pickled.

  Raises:
    UserError: `read` has raised one; on every host.
  """
  if jax.process_count() == 1:
    return read()
  mine: list[np.ndarray] = []
  if is_first_host():
    found: Value | UserError
    try:
      found = read()
    except UserError as error:
      found = error
    buffers: list[pickle.PickleBuffer] = []
    message = pickle.dumps(found, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(message), *(buffer.raw() for buffer in buffers)]
    mine = [np.frombuffer(part, np.uint8) for part in parts]
  _meet()
  count = int(multihost_utils.broadcast_one_to_all(np.int32(len(mine))))
  sizes = np.array([part.size for part in mine] or [0] * count, np.int64)
  # All as bytes: JAX makes int32 of int64, and sums do not keep every float's bits.
  sizes = multihost_utils.broadcast_one_to_all(sizes.view(np.uint8)).view(np.int64)
  mine = mine or [np.zeros(size, np.uint8) for size in sizes]
  first, *others = multihost_utils.broadcast_one_to_all(mine)
  shared = pickle.loads(first, buffers=others)
  if isinstance(shared, UserError):
    raise shared
  return shared


def _meet() -> None:
  """Waits for all hosts: a message between CPUs gives up after half a minute."""
  from orbax.checkpoint import multihost  # of several hosts alone: it imports much

  hosts = set(range(jax.process_count()))
  name = f"meeting-{next(_MEETINGS)}"
  multihost.sync_global_processes(name, timeout=_PATIENCE, processes=hosts)


def value_from_first_host(read: Callable[[], Any]) -> Any:
  """Reads what JSON can say on the first host; it is the result on every host.

  Raises:
    UserError: `read` has raised one; on every host.
  """
  return json.loads(from_first_host(lambda: json.dumps(read())))
