"""What a step costs, read off its program: operations, memory, collectives.

Counts, not times: they are the same on every machine, and a form that is slower
everywhere shows here before anyone times it. The one time is relative, that of a
step to its convolutions alone, and is taken by hand, on an idle machine.
"""

import functools
import itertools
import math
from contextlib import nullcontext
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import pytest

from benchmarks import convolutions, costs, growth, turns
from byol_jax.nets import convolve, layers, model, normalise
from byol_jax.run import loop
from byol_jax.run.folder import RunDir
from experiments import pretrain
from tests import tiny

SCALARS = 7  # of `Pretrain._loss`, of a set with labels


@functools.cache
def compiled(system, **train):
  """The experiment of a tiny config, and its step."""
  experiment = pretrain.Pretrain(tiny.config(system, **train))
  return experiment, costs.lower_step(experiment).compile()


def state_of(experiment):
  return jax.eval_shape(experiment.init)


def temporary(step):
  return step.memory_analysis().temp_size_in_bytes


def averaged(state):
  """Gradients and scalars of a step that are averaged over the devices.

  A block's last norm and its shortcut's are added up, so their offsets have the
  same gradient, and XLA computes and sends it once.
  """
  shared = [m for m in state.online if "/shortcut_" in m and m.endswith("norm")]
  return len(jax.tree.leaves(state.online)) + SCALARS - len(shared)


@pytest.mark.parametrize("system", ["byol_gn_ws", "norm_ablation:none-none-none"])
def test_without_batch_norm_devices_wait_for_each_other_once(system):
  experiment, step = compiled(system)
  found = costs.collectives(step)
  assert found.keys() == {"all-reduce"}
  assert found["all-reduce"].ops == 1
  assert found["all-reduce"].arrays == averaged(state_of(experiment))


@pytest.mark.parametrize(
  ("system", "remat", "norms"),
  [("byol", False, (14, 13)), ("byol", True, (14, 13)), ("simclr", False, (13, 0))],
)
def test_batch_norm_pools_once_a_layer_view_and_direction(system, remat, norms):
  experiment, step = compiled(system, remat=remat)
  state = state_of(experiment)
  assert norms == tuple(
    sum(module.endswith("mean_ema") for module in stats)
    for stats in (state.online_stats, state.target_stats)
  )
  # Two views: forwards and backwards through the online network, forwards through
  # the target.
  pooled = 2 * (2 * norms[0] + norms[1])
  found = costs.collectives(step)
  reduced = found.pop("all-reduce")
  assert reduced.arrays == pooled + averaged(state)
  assert reduced.ops <= pooled + 1
  # SimCLR's negatives: the projections of each view, and their gradients.
  kinds = {"all-gather": 2, "reduce-scatter": 2} if system == "simclr" else {}
  assert {kind: each.arrays for kind, each in found.items()} == kinds


@pytest.mark.parametrize(("remat", "passes"), [(False, 4), (True, 5)])
def test_a_step_is_four_forward_passes_and_one_more_to_recompute(remat, passes):
  # One of each network, and twice the online one's backwards; augmentation, norms
  # and the optimiser are the rest.
  config = tiny.config("norm_ablation:none-none-none", remat=remat)
  config.augmentations = "crop_only"
  config.encoder.width = 0.25
  config.data.size = 32
  experiment = pretrain.Pretrain(config)
  state = state_of(experiment)
  images = jnp.zeros((8, *experiment.inputs.image_shape))  # of one of two devices
  with mock.patch.object(layers, "convolve", convolve.plain):
    step = costs.lower_step(experiment)
    forward = jax.jit(
      lambda *state: experiment.networks.online(*state, images, False)[0]
    ).lower(state.online, state.online_stats)
    counted = experiment.flops() / jax.device_count()
  both_views = 2 * forward.cost_analysis()["flops"]
  assert passes - 0.5 < step.cost_analysis()["flops"] / both_views < passes + 0.5
  # What is recomputed is no part of the model's own.
  assert 0.9 < counted / (4 * both_views) < 1


def asks_the_host(program):
  """Names of what a compiled program has that waits for the host, or that it calls."""
  words = ("infeed", "outfeed", "send(", "recv(", "callback")
  return [word for word in words if word in program.as_text()]


def test_a_step_asks_nothing_of_the_host():
  _, step = compiled("byol")
  assert asks_the_host(step) == []
  printing = jax.jit(lambda x: jax.debug.print("{}", x)).lower(1.0).compile()
  assert asks_the_host(printing) == ["callback"]


def test_memory_does_not_grow_with_the_pieces_of_a_batch():
  _, few = compiled("norm_ablation:none-none-none", batch_size=32, accumulate=2)
  _, many = compiled("norm_ablation:none-none-none", batch_size=128, accumulate=8)
  assert temporary(many) <= 1.01 * temporary(few)


# As in training, not as quickly compiled as in other tests.
_TRAINING = {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "false"}


# 1.17 to 1.18 and 1.20 to 1.23 on an idle machine. Without the barriers around the
# kernels' gradients 1.29 and 1.45, with XLA's own convolutions 1.28 and 1.37.
@pytest.mark.slow
@pytest.mark.parametrize(("norm", "bound"), [("bn", 1.25), ("gn_ws", 1.32)])
def test_a_step_takes_little_longer_than_its_convolutions(norm, bound):
  settings = {"depth": 10, "stem": "cifar", "size": 32, "batch": 32, "norm": norm}
  found = turns.take_turns(
    {
      "step": turns.Contestant(growth.prepare, settings, _TRAINING),
      "convolutions": turns.Contestant(convolutions.prepare, settings, _TRAINING),
    },
    rounds=9,
  )
  assert found["step"].ratio(found["convolutions"]) < bound


def kept(function, *args):
  """Shapes of what is held for the backward pass of function(*args)."""
  pull = jax.eval_shape(lambda *args: jax.vjp(function, *args)[1], *args)
  return [leaf.shape for leaf in jax.tree.leaves(pull)]


@pytest.mark.parametrize(
  "pool", [normalise.Pool(True), normalise.Pool(False, 4)], ids=["batch", "group"]
)
def test_a_norm_keeps_its_input_alone(pool):
  x, ones = jnp.zeros((8, 64, 16)), jnp.ones(16)
  reference = ones if pool.over_batch else None

  def norm(x):
    return normalise.normalise(x, ones, ones, reference, pool=pool, eps=1e-5)[0]

  assert [shape for shape in kept(norm, x) if len(shape) == 3 and shape[1] > 1] == [
    x.shape
  ]


@pytest.fixture(scope="module", params=["byol", "byol_gn_ws"])
def two_ways(request):
  """Two functions of one network's parameters: with blocks kept and recomputed."""
  config = tiny.config(request.param)
  images = jax.random.normal(jax.random.key(1), (8, 16, 16, 3))
  ways = []
  for remat in (False, True):
    made = model.make_networks(
      config.encoder, config.projector, config.predictor, remat=remat
    )
    params, stats = made.init(jax.random.key(0), images)

    def loss(params, made=made, stats=stats):
      outputs, after = made.online(params, stats, images, True)
      return jnp.mean(jnp.square(outputs.prediction - 1)), after

    ways.append(loss)
  return params, ways


def test_recomputed_blocks_change_nothing(two_ways):
  params, ways = two_ways
  one, other = (jax.jit(jax.value_and_grad(way, has_aux=True))(params) for way in ways)
  chex.assert_trees_all_close(one, other, rtol=1e-4, atol=1e-5)


def test_recomputed_blocks_are_not_kept(two_ways):
  params, ways = two_ways

  def activations(way):
    shapes = kept(lambda params: way(params)[0], params)
    return sum(math.prod(shape) for shape in shapes if len(shape) > 2 and shape[0] == 8)

  assert activations(ways[1]) < 0.5 * activations(ways[0])


def test_a_run_compiles_its_step_once_and_so_does_its_continuation(tmp_path):
  compiled, traced = [], []

  def listen(event, seconds, fun_name="", **_):
    # What is mapped over devices; the rest is small and none of the step's.
    if event.endswith("backend_compile_duration") and fun_name == "jit(_fun)":
      compiled.append(seconds)

  class Watched(pretrain.Pretrain):
    """Two steps and no more; knows how often each made a program."""

    def batches(self, first_step):
      for batch in itertools.islice(super().batches(first_step), 2):
        before = len(compiled)
        try:
          yield batch
        finally:
          programs.append(len(compiled) - before)

    def step(self, state, batch):
      traced.append(state)
      return super().step(state, batch)

    def evaluate(self, state):
      del state
      return {}  # without programs of its own

    summarise = evaluate

  config = tiny.config("norm_ablation:none-none-none")
  run_dir = RunDir(tmp_path)
  run_dir.claim(config)
  jax.monitoring.register_event_duration_secs_listener(listen)
  for starts, ends in enumerate((pytest.raises(StopIteration), nullcontext()), 1):
    programs = []
    with ends:
      loop.run(Watched(config), config, run_dir)
    assert programs == [1, 0]
    assert len(traced) == starts
