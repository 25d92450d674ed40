"""Every system of the papers, end to end; and configs that mean nothing."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from byol_jax import parallel
from byol_jax.errors import UserError
from byol_jax.nets import closed_form
from byol_jax.run import loop
from byol_jax.run.folder import RunDir
from experiments import pretrain, systems
from tests import tiny

LINEAR = {
  "closed_form.name": "orthogonal",
  "predictor.depth": 1,
  "predictor.norm": "none",
}


def few_steps(config, steps=3, change=lambda state: state):
  """The states before and after, and the losses."""
  experiment = pretrain.Pretrain(config)
  start = change(experiment.init())
  state = parallel.replicate(start)
  update = parallel.pmap(experiment.step)
  losses = []
  for batch, _ in zip(experiment.batches(0), range(steps), strict=False):
    state, scalars = update(state, batch)
    losses.append(float(scalars["loss"]))
  return start, state, np.array(losses)


# Of the same parts as others, put together otherwise.
ALIKE = ("norm_ablation:bn-none-none", *(s for s in tiny.SYSTEMS if "simclr_norm" in s))


@pytest.mark.parametrize(
  "system",
  [
    pytest.param(system, marks=[pytest.mark.slow] if system in ALIKE else [])
    for system in tiny.SYSTEMS
    if system != "byol"
  ],
)
def test_every_system_trains_from_end_to_end(system, tmp_path):
  config = tiny.config(system, steps=2)
  run_dir = RunDir(tmp_path / system)
  run_dir.claim(config)
  summary = loop.run(pretrain.Pretrain(config), config, run_dir)
  assert summary.keys() >= {"knn", "linear", "collapsed", "spread"}
  records = run_dir.records()
  assert [r["step"] for r in records] == [0, 1, 2]
  assert ("tau" in records[-1]) == (config.target.kind == "ema")


def test_simclr_has_no_target_and_no_predictor():
  before, after, _ = few_steps(tiny.config("simclr"), steps=1)
  assert not after.target
  assert not after.target_stats
  assert not any(module.startswith("predictor") for module in after.online)
  moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after)
  assert moved.online["projector/linear"]["w"]


def test_bn_init_starts_healthy_and_uses_no_batch_statistics():
  experiment = pretrain.Pretrain(tiny.config("byol_bn_init"))
  state = experiment.init()
  assert not state.online_stats
  assert not state.target_stats
  scales = [v["scale"] for m, v in state.online.items() if m.endswith("affinenorm")]
  assert scales
  assert all(np.any(np.abs(scale - 1) > 0.01) for scale in scales)
  # Online and target differ in weights, so in statistics, so in scales.
  name = "projector/affinenorm"
  assert not np.allclose(state.online[name]["scale"], state.target[name]["scale"])
  # The first view of the first batch is what it was set by: standardised there.
  batch = experiment.inputs.first_batch(list(experiment.views.values()))
  with_bn = experiment.networks_with_bn
  assert with_bn is not experiment.networks
  images = jax.vmap(lambda b: experiment.extract.first_view(state, b))(batch)
  outputs, _ = experiment.networks.online(
    state.online, {}, images.reshape(-1, *images.shape[2:]), True
  )
  assert jnp.isfinite(outputs.prediction).all()
  assert experiment.evaluate(state)["valid_spread"] > 0.1


def test_bn_init_is_that_of_the_whole_first_batch():
  whole, parts = (
    pretrain.Pretrain(tiny.config("byol_bn_init", accumulate=count)).init()
    for count in (1, 4)
  )
  assert whole.online.keys() == parts.online.keys()
  chex.assert_trees_all_close(whole.online, parts.online, rtol=1e-3, atol=1e-5)
  chex.assert_trees_all_close(whole.target, parts.target, rtol=1e-3, atol=1e-5)


def test_target_may_start_as_the_online_network():
  for same in (False, True):
    config = tiny.config("byol_gn_ws")
    config.target.same_init = same
    state = pretrain.Pretrain(config).init()
    module = "projector/linear"
    equal = np.array_equal(state.online[module]["w"], state.target[module]["w"])
    assert equal == same


@pytest.mark.parametrize("tau", [0.0, 0.9, 1.0])
def test_tau_may_stay_where_it_is(tau):
  config = tiny.config("byol_gn_ws")
  config.target.update(tau=tau, schedule="constant")
  before, after, _ = few_steps(config)
  module = "projector/linear"
  online, target = (tree[module]["w"] for tree in (after.online, after.target))
  if tau == 0.0:  # the target is the online network, without its gradient
    np.testing.assert_allclose(target, online, atol=1e-6)
  elif tau == 1.0:  # the target is what it was drawn as
    np.testing.assert_allclose(target, before.target[module]["w"], atol=1e-6)
  else:
    assert not np.allclose(target, online, atol=1e-6)


def test_a_target_may_be_frozen_at_first():
  config = tiny.config("byol_gn_ws", steps=4)
  config.target.update(tau=0.5, frozen=0.5)
  tau = systems.tau_from_config(config)
  # A cosine over the two steps that are left: 1 - 0.5 (1 + cos 0) / 2, then of pi / 2.
  np.testing.assert_allclose([tau(step) for step in range(4)], [1, 1, 0.5, 0.75])
  before, frozen, _ = few_steps(config, steps=2)
  chex.assert_trees_all_equal(before.target, frozen.target)
  _, moved, _ = few_steps(config, steps=3)
  module = "projector/linear"
  expected = (frozen.target[module]["w"] + moved.online[module]["w"]) / 2
  np.testing.assert_allclose(moved.target[module]["w"], expected, atol=1e-6)


@pytest.mark.parametrize("microbatches", [1, 2])
def test_a_predictor_in_closed_form_is_that_of_the_moments(microbatches):
  config = tiny.config("byol", accumulate=microbatches)
  config.update_from_flattened_dict({**LINEAR, "objective.name": "isoloss"})
  before, after, losses = few_steps(config, steps=2)
  np.testing.assert_array_equal(before.online["predictor/linear"]["w"], np.eye(8))
  weights = closed_form.orthogonal(after.moments, 0.01)
  np.testing.assert_allclose(after.online["predictor/linear"]["w"], weights, atol=1e-5)
  assert np.isfinite(losses).all()
  assert np.any(after.moments.cross)


def test_microbatches_have_the_moments_of_the_whole_batch():
  found = []
  for microbatches in (1, 4):
    size = 8 * jax.device_count()
    config = tiny.config("byol_gn_ws", batch_size=size, accumulate=microbatches)
    config.update_from_flattened_dict({**LINEAR, "predictor.standardised": False})
    _, after, _ = few_steps(config, steps=2)
    found.append(after.moments)
  chex.assert_trees_all_close(*found, rtol=1e-3, atol=1e-5)


def test_a_learned_predictor_has_no_moments():
  before, after, _ = few_steps(tiny.config("byol_gn_ws"), steps=1)
  assert before.moments == after.moments == ()


def test_without_a_target_gradients_flow_through_both_branches():
  config = tiny.config("byol_gn_ws")
  config.predictor.update(depth=0, norm="none")
  config.target.kind = "online"
  _, state, losses = few_steps(config)
  assert not state.target
  assert losses[-1] < losses[0]


@pytest.mark.slow
def test_raft_and_byol_prime_mirror_each_other_as_they_are_shipped():
  # As tests/test_correspondence.py, in float32 and with the real step. Adam would
  # make large steps of the rounding of gradients that are zero.
  def mirror(state):
    last = "predictor/linear_1"
    online = state.online | {last: {"w": -state.online[last]["w"]}}
    return state._replace(online=online)

  configs = [tiny.config("byol_prime"), tiny.config("raft")]
  for config in configs:
    config.optimiser.update(name="sgd", learning_rate=0.05)
  _, state, losses = few_steps(configs[0])
  _, mirrored, raft_losses = few_steps(configs[1], change=mirror)
  np.testing.assert_allclose(raft_losses, losses - 4, atol=1e-4)
  for module, values in state.online.items():
    sign = -1 if module == "predictor/linear_1" else 1
    for name, value in values.items():
      np.testing.assert_allclose(
        sign * mirrored.online[module][name], value, atol=1e-4, err_msg=module
      )


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_predictors_of_other_depths(depth):
  config = tiny.config("byol")
  config.predictor.update(depth=depth, norm="batch" if depth > 1 else "none")
  experiment = pretrain.Pretrain(config)
  state = jax.eval_shape(experiment.init)
  modules = [m for m in state.online if m.startswith("predictor/linear")]
  assert len(modules) == depth
  # A step can be traced: what is compared has the same shape.
  batch = next(experiment.batches(0))
  after, _ = jax.eval_shape(parallel.pmap(experiment.step), state, batch)
  assert after == state


def test_a_linear_predictor_may_start_at_the_identity():
  config = tiny.config("raft")
  config.predictor.update(depth=1, norm="none", identity_init=True)
  state = pretrain.Pretrain(config).init()
  np.testing.assert_array_equal(state.online["predictor/linear"]["w"], np.eye(8))


def test_augmentations_are_taken_away_from_both_views():
  config = tiny.config("simclr")
  config.augmentations = "no_colour"
  for view in pretrain.Pretrain(config).views.values():
    assert (view.jitter, view.grayscale) == (0, 0)
    assert view.flip == 0.5
  config.augmentations = "crop_only"
  for view in pretrain.Pretrain(config).views.values():
    assert not any((view.flip, view.jitter, view.grayscale, view.blur, view.solarise))
    assert view.crop_area == (0.2, 1.0)


@pytest.mark.parametrize(
  ("system", "changes", "message"),
  [
    (
      "simclr",
      {"predictor.norm": "batch"},
      "depth 0 has no place for a norm",
    ),
    (
      "simclr",
      {"predictor.depth": 2},
      "simclr takes no predictor: set pred",
    ),
    ("simclr", {"target.kind": "ema"}, "simclr takes no target network: set"),
    (
      "raft",
      {"target.kind": "online"},
      "raft needs a target network: set target.kind=ema",
    ),
    ("byol_prime", {"target.kind": "online"}, "byol_prime needs a target network: set"),
    ("byol", {"target.kind": "bank"}, "target.kind is 'bank': give one of ema, online"),
    ("byol", {"target.tau": 1.5}, "target.tau is 1.5: give a share in"),
    ("byol", {"target.frozen": 1.0}, r"target.frozen is 1.0: give a share .* \[0, 1\)"),
    (
      "byol",
      {"closed_form.name": "best"},
      "closed_form.name is 'best': give one of none, direct",
    ),
    ("byol", {"closed_form.name": "orthogonal"}, "is one plain linear layer: set"),
    (
      "byol",
      {**LINEAR, "closed_form.rho": 1.0},
      r"closed_form.rho is 1.0: give a share in \[0, 1\)",
    ),
    ("byol", {**LINEAR, "closed_form.epsilon": 0.0}, "is 0.0: give more than 0"),
    ("byol", {"objective.name": "isoloss"}, "isoloss needs a predictor in closed form"),
    (
      "byol",
      {"target.schedule": "step"},
      "target.schedule is 'step': give one of cosine",
    ),
    (
      "byol",
      {"optimiser.schedule": "step"},
      "optimiser.schedule is 'step': give one of cosine",
    ),
    ("byol", {"objective.name": "moco"}, "objective.name is 'moco': give one of byol"),
    ("byol", {"augmentations": "no_fun"}, "no set of augmentations 'no_fun'"),
    ("byol", {"bn_init": True}, "a norm is 'batch': set norm=affine"),
    ("byol", {"encoder.norm": "spectral"}, "encoder.norm is 'spectral': give one of"),
    ("byol", {"encoder.width": 0.0}, "encoder.width is 0.0: give"),
    ("byol", {"data.size": 0}, "data.size is 0: give 1 to"),
    ("byol", {"data.mean": ("a",)}, "data.mean is .*: give a value"),
    ("byol", {"data.std": (0.0,)}, "data.std is .* more than 0, each"),
    ("byol", {"data.eval_fraction": 1.5}, r"is 1.5: give a share in \(0, 1"),
    ("byol", {"data.workers": -1}, "data.workers is -1: give 0"),
    ("byol", {"probe.test": "test[:1]"}, "has one image: give two"),
    ("byol", {"train.accumulate": 0}, "train.accumulate is 0: give 1"),
    ("byol", {"projector.hidden": 0}, "projector.hidden is 0"),
    ("byol", {"predictor.norm": "instance"}, "would leave nothing but zeros"),
    ("byol", {"predictor.outputs": 4}, "4 outputs and the projector 8"),
    ("byol", {"predictor.depth": -1}, "predictor.depth is -1"),
    ("byol", {"predictor.identity_init": True}, "needs a single linear layer"),
    ("byol_gn_ws", {"projector.groups": 10}, "16 channels do not divide into 10"),
  ],
)
def test_configs_that_mean_nothing_are_refused(system, changes, message):
  config = tiny.config(system)
  config.update_from_flattened_dict(changes)
  with pytest.raises(UserError, match=message):
    pretrain.Pretrain(config)
