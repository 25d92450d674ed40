"""Devices and hosts: where a batch goes, and that their number changes nothing."""

import itertools
import os
import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax import parallel
from byol_jax.errors import UserError
from tests import tiny
from tests.devices import xla_flags

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Three steps of a system; the first host writes losses, parameters, features.
PROGRAM = """
import sys
import jax, numpy as np
from byol_jax import cluster, parallel
system, out, hosts = sys.argv[1:]
if int(hosts) > 1:
  cluster.join()
from experiments import pretrain
from tests import tiny
config = tiny.config(system)
# One that pools, and is tried on several hosts too, has its images on the devices.
config.data.on_device = system == "byol_bn_init"
if system != "byol":  # one system with all of them is enough
  config.augmentations = "crop_flip"
if config.optimiser.name == "adam":  # makes whole steps of zero gradients' rounding
  config.optimiser.update(name="sgd", learning_rate=5e-4)
experiment = pretrain.Pretrain(config)
state = parallel.replicate(experiment.init())
update = parallel.pmap(experiment.step, donate=True)
losses = []
for batch, _ in zip(experiment.batches(0), range(3)):
  state, scalars = update(state, batch)
  losses.append(float(scalars["loss"]))
features = experiment.extract(state).features("test[:40]")
if jax.process_index() == 0:
  params = jax.tree.leaves(jax.device_get(state.online))
  params = np.concatenate([leaf.ravel() for leaf in params])
  np.savez(out, losses=losses, params=params, **features)
"""


def three_steps(system, path, devices, hosts=1):
  """Starts the program on that many devices for each of that many hosts."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  env = os.environ | {
    "XLA_FLAGS": xla_flags(devices),
    "JAX_COORDINATOR_ADDRESS": address,
    "JAX_NUM_PROCESSES": str(hosts),
  }
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", PROGRAM, system, str(path), str(hosts)],
      cwd=ROOT,
      env=env | {"JAX_PROCESS_ID": str(host)},
    )
    for host in range(hosts)
  ]
  assert [process.wait(300) for process in processes] == [0] * hosts
  return dict(np.load(path))


WAYS = {"eight": (8,), "hosts": (2, 2)}  # devices of each host, and hosts
# What is pooled over devices: batch statistics and negatives, each in one way; the
# other ways, a first batch's statistics, and all else, by hand.
QUICK = {"byol": "eight", "simclr": "hosts"}
SLOW = [
  pytest.param(system, way, marks=pytest.mark.slow)
  for system, way in itertools.product(tiny.SYSTEMS, WAYS)
  if QUICK.get(system) != way
]


@pytest.mark.parametrize(("system", "way"), [*QUICK.items(), *SLOW])
def test_devices_and_hosts_change_nothing(system, way, tmp_path):
  one = three_steps(system, tmp_path / "one.npz", 1)
  other = three_steps(system, tmp_path / "other.npz", *WAYS[way])
  np.testing.assert_allclose(one["losses"], other["losses"], rtol=1e-4)
  np.testing.assert_allclose(one["params"], other["params"], atol=2e-4)
  np.testing.assert_array_equal(one["label"], other["label"])
  np.testing.assert_allclose(one["embedding"], other["embedding"], atol=5e-3)


def test_shard_keeps_the_order_of_the_batch():
  batch = {"x": np.arange(16)}
  np.testing.assert_array_equal(parallel.shard(batch)["x"], np.arange(16).reshape(2, 8))
  np.testing.assert_array_equal(
    parallel.shard(batch, 4)["x"], np.arange(16).reshape(2, 4, 2)
  )


def test_pmap_returns_what_is_replicated_without_a_device_axis():
  fn = parallel.pmap(lambda s, b: s + jax.lax.pmean(b.sum(), parallel.AXIS))
  assert fn(jnp.float32(1.0), parallel.shard(np.ones(6, np.float32))) == 1.0 + 3.0


def test_gather_concatenates_over_the_devices_in_order():
  fn = parallel.pmap(lambda _, b: parallel.gather(b))
  np.testing.assert_array_equal(fn(0.0, parallel.shard(np.arange(6))), np.arange(6))


def test_a_donated_state_is_given_up():
  fn = parallel.pmap(lambda s, b: s + b.sum() * 0, donate=True)
  state = parallel.replicate(jnp.ones(4))
  fn(state, parallel.shard(np.ones(2, np.float32)))
  assert state.is_deleted()


def test_a_copy_for_each_device_stays_where_it_is_step_after_step():
  table = parallel.copy_to_each(np.arange(12).reshape(4, 3))
  assert table.shape == (jax.local_device_count(), 4, 3)
  fn = parallel.pmap(
    lambda s, b: (
      s + parallel.gather(b["table"][b["index"]]).sum(),
      parallel.gather(b["table"][None]),
    ),
    donate=True,
  )
  state, places = jnp.zeros((), table.dtype), []
  for index in ([0, 3], [1, 2], [2, 2]):
    batch = parallel.shard({"index": np.array(index)})
    state, seen = fn(state, batch | {"table": table})
    places.append([s.data.unsafe_buffer_pointer() for s in table.addressable_shards])
  assert state == 3 + 30 + 12 + 21 + 21 + 21
  np.testing.assert_array_equal(
    seen, np.broadcast_to(np.arange(12).reshape(4, 3), seen.shape)
  )
  assert places[0] == places[1] == places[2]


def test_prefetch_runs_ahead_but_not_away():
  drawn = itertools.count()
  source = ({"x": np.full(2, next(drawn))} for _ in range(10))
  batches = parallel.prefetch(source)
  first = next(batches)
  assert first["x"][0, 0] == 0
  assert next(drawn) == 2
  assert [int(b["x"][0, 0]) for b in batches][-1] > 8


@pytest.mark.parametrize(
  ("batch_size", "microbatches", "multiple"), [(7, 1, 2), (12, 8, 16), (0, 1, 2)]
)
def test_a_batch_that_does_not_divide_is_refused(batch_size, microbatches, multiple):
  with pytest.raises(UserError, match=f"give a multiple of {multiple}, the"):
    parallel.check_batch_size("train.batch_size", batch_size, microbatches)
