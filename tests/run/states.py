"""States to save, and damage to what was saved."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from byol_jax.run.checkpoints import Checkpoints

CONV = "res_net18/~/block_group_0/~/block_0/~/conv_0"


class State(NamedTuple):
  online: dict
  online_stats: dict
  optimiser: tuple
  step: jax.Array


def make_state(seed=0, width=4):
  rng = np.random.default_rng(seed)
  online = {
    CONV: {"w": jnp.asarray(rng.normal(size=(3, 3, width)), jnp.float32)},
    CONV.replace("conv_0", "conv_1"): {"w": jnp.ones((1, 1, 2))},
    "predictor/~/linear.1": {"b": jnp.asarray(rng.normal(size=5), jnp.bfloat16)},
  }
  optimiser = optax.chain(optax.trace(0.9), optax.scale_by_adam()).init(online)
  stats = {"norm/~/mean_ema": {"counter": jnp.int32(seed), "hidden": jnp.zeros(3)}}
  return State(online, stats, optimiser, jnp.int32(seed))


def assert_bit_exact(actual, expected):
  chex.assert_trees_all_equal_structs(actual, expected)
  chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
  for ours, theirs in zip(
    jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
  ):
    assert isinstance(ours, np.ndarray)
    assert ours.tobytes() == np.asarray(theirs).tobytes()


def save(directory, *steps, keep=3):
  checkpoints = Checkpoints(directory, keep)
  for step in steps:
    checkpoints.save(step, make_state(step))
  checkpoints.close()


def damage(path, how):
  if how == "missing":
    path.unlink()
  elif how == "truncated":
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  else:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate_arrays(folder):
  for path in folder.rglob("d/*"):
    damage(path, "truncated")
