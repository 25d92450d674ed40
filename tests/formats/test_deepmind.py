"""DeepMind's checkpoints, made as their code makes them; and ones that do harm.

The published files cannot be had here. These are written by Haiku's own ResNet, through
named tuples and Haiku's mapping, in protocol 2, by pickle and in the way of dill.
"""

import collections
import io
import os
import pickle
import sys
import types

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from haiku._src.data_structures import to_immutable_dict

from byol_jax.errors import UserError
from byol_jax.formats import deepmind
from tests.formats import encoders

FIELDS = "online_params target_params online_state target_state opt_state"


def module(name, **members):
  """A module that is there while pickling, and not while reading."""
  found = types.ModuleType(name)
  for member in members.values():
    member.__module__ = name
  vars(found).update(members)
  return found


State = collections.namedtuple("_ByolExperimentState", FIELDS)
ScaleByLarsState = collections.namedtuple("ScaleByLarsState", "mu")
AddWeightDecayState = collections.namedtuple("AddWeightDecayState", "")
ScaleState = collections.namedtuple("ScaleState", "")


def _create_namedtuple(name, fields, module):
  raise AssertionError("it is read by another")


MODULES = [
  module("byol.byol_experiment", _ByolExperimentState=State),
  module(
    "byol.utils.optimizers",
    ScaleByLarsState=ScaleByLarsState,
    AddWeightDecayState=AddWeightDecayState,
  ),
  module("optax._src.transform_of_2020", ScaleState=ScaleState),
  module("dill._dill", _create_namedtuple=_create_namedtuple),
]


class AsDill(pickle.Pickler):
  def reducer_override(self, value):
    if isinstance(value, type) and hasattr(value, "_fields"):
      fields = (value.__name__, value._fields, value.__module__)
      return _create_namedtuple, fields
    return NotImplemented


def network(images, is_training):
  """Haiku's ResNet-50, narrow, and what else BYOL has."""
  net = hk.nets.ResNet(
    (3, 4, 6, 3),
    10,
    channels_per_group=(32, 64, 128, 256),
    initial_conv_config={"output_channels": 8},
    name="res_net50",
  )
  net.logits = lambda x: x
  embedding = net(images, is_training)
  hk.Linear(4, name="projector")(embedding)
  hk.Linear(10, name="classifier")(embedding)
  return embedding


FORWARD = hk.without_apply_rng(hk.transform_with_state(network))


@pytest.fixture(scope="module")
def trees():
  """Parameters and state, [1, 1, 1, C] for batch norm, drawn at random."""
  images = jnp.zeros((1, 33, 33, 3))
  init = lambda key: FORWARD.init(key, images, True)  # noqa: E731
  return encoders.drawn(jax.eval_shape(init, jax.random.key(0)), count=4000)


def checkpoint(trees, **more):
  params, state = map(to_immutable_dict, trees)
  zeros = to_immutable_dict(jax.tree.map(np.zeros_like, trees[0]))
  optimiser = [AddWeightDecayState(), ScaleByLarsState(zeros), ScaleState()]
  experiment = State(params, zeros, state, state, optimiser)
  rng = np.array([0, 42], np.uint32)
  return {"experiment_state": experiment, "step": 300_000, "rng": rng} | more


@pytest.fixture
def write(tmp_path, monkeypatch):
  def write(value, pickler=pickle.Pickler):
    with monkeypatch.context() as there:
      for found in MODULES:
        for name in ("byol", "byol.utils", "dill"):
          there.setitem(sys.modules, name, types.ModuleType(name))
        there.setitem(sys.modules, found.__name__, found)
      out = io.BytesIO()
      pickler(out, protocol=2).dump(value)
    path = tmp_path / "pretrain.pkl"
    # As numpy of that time called its modules.
    path.write_bytes(out.getvalue().replace(b"numpy._core.", b"numpy.core."))
    return path

  return write


@pytest.mark.parametrize("pickler", [pickle.Pickler, AsDill])
def test_a_checkpoint_is_read(trees, write, pickler):
  path = write(checkpoint(trees), pickler)
  assert b"FlatMapping" in path.read_bytes()
  assert (b"dill._dill" in path.read_bytes()) == (pickler is AsDill)
  encoder = deepmind.read(path)
  assert encoder.step == 300_000
  network = encoder.description.network
  assert network["depth"] == 50
  assert network["width"] == 0.125
  assert encoder.description.image.size == 224
  params, state = trees
  for name, values in encoder.params.items():
    for leaf, value in values.items():
      np.testing.assert_array_equal(value.ravel(), params[name][leaf].ravel())
  assert encoder.stats.keys() == {name for name in state if "res_net50" in name}


def test_features_are_those_of_haikus_network(trees, write):
  encoder = deepmind.read(write(checkpoint(trees)))
  images = np.random.default_rng(0).normal(size=(2, 33, 33, 3)).astype(np.float32)
  expected, _ = jax.jit(FORWARD.apply, static_argnums=3)(*trees, images, False)
  found = encoder.network.embed(encoder.params, encoder.stats, images)
  np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_first_convolution_by_its_other_name(trees, write):
  params = {
    name.replace("initial_conv", "initial_conv_1"): values
    for name, values in trees[0].items()
  }
  encoder = deepmind.read(write(checkpoint((params, trees[1]))))
  expected = trees[0]["res_net50/~/initial_conv"]["w"]
  np.testing.assert_array_equal(
    encoder.params["res_net50/~/initial_conv"]["w"], expected
  )


def test_a_resnet18_has_a_projection_in_every_stage(write):
  def network(images, is_training):
    net = hk.nets.ResNet(
      (2, 2, 2, 2),
      10,
      bottleneck=False,
      channels_per_group=(8, 16, 32, 64),
      use_projection=(True, True, True, True),
      initial_conv_config={"output_channels": 8},
      name="res_net18",
    )
    net.logits = lambda x: x
    return net(images, is_training)

  f = hk.transform_with_state(network)
  init = lambda key: f.init(key, jnp.zeros((1, 33, 33, 3)), True)  # noqa: E731
  made = encoders.drawn(jax.eval_shape(init, jax.random.key(0)), count=1)
  encoder = deepmind.read(write(checkpoint(made)))
  assert encoder.description.network["projected_shortcuts"] == "every_stage"
  shortcut = "res_net18/~/block_group_0/~/block_0/~/shortcut_conv"
  np.testing.assert_array_equal(encoder.params[shortcut]["w"], made[0][shortcut]["w"])


# What is refused.


class Harm:
  """Calls something when it is read by pickle."""

  def __init__(self, call, *arguments):
    self.reduced = call, arguments

  def __reduce__(self):
    return self.reduced


def test_what_pickle_would_run(write, tmp_path):
  path = write(Harm(os.mkdir, str(tmp_path / "harm")))
  with path.open("rb") as file:
    pickle.load(file)  # so that the test can fail
  assert (tmp_path / "harm").exists()


@pytest.mark.parametrize(
  ("harm", "name"),
  [
    (Harm(os.system, "touch harm"), r"posix\.system"),
    (Harm(eval, "open('harm', 'w')"), r"__builtin__\.eval"),
    (Harm(getattr, "", "join"), r"__builtin__\.getattr"),
    (Harm(np.load, "harm"), r"numpy\.load"),
    (Harm(io.open, "harm", "w"), r"_?io\.open"),  # with _ from Python 3.12 on
    (Harm(pickle.loads, b"."), r"pickle\.loads"),
    (Harm(__import__, "antigravity"), r"__builtin__\.__import__"),
  ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_nothing_else_is_run(write, tmp_path, monkeypatch, harm, name, alone):
  monkeypatch.chdir(tmp_path)
  path = write(harm if alone else checkpoint(({}, {}), rng=harm))
  message = rf"names {name}, which has no place in a checkpoint: nothing of it was run"
  with pytest.raises(UserError, match=message):
    deepmind.read(path)
  assert [file.name for file in tmp_path.iterdir()] == ["pretrain.pkl"]


def test_attributes_of_what_is_admitted_stay(tmp_path):
  # A pickle may set attributes of the callables that it is given.
  harm = b"\x80\x02c_codecs\nencode\n}(U\x0c__defaults__U\x04harmu\x86b."
  (tmp_path / "pretrain.pkl").write_bytes(harm)
  before = deepmind._admitted()["_codecs", "encode"].__defaults__
  with pytest.raises(UserError):
    deepmind.read(tmp_path / "pretrain.pkl")
  assert deepmind._admitted()["_codecs", "encode"].__defaults__ == before


@pytest.mark.parametrize(
  "value",
  [
    {},
    [],
    7,
    {"experiment_state": None, "step": 1},
    {"experiment_state": State({}, {}, {}, {}, ()), "step": 1, "rng": 0},
    {"experiment_state": State({"res_net50/~/x": 1}, 0, {}, {}, ()), "step": 1},
  ],
)
def test_pickles_of_something_else(write, value):
  with pytest.raises(
    UserError, match=r"is no checkpoint of DeepMind|has no initial_conv"
  ):
    deepmind.read(write(value))


@pytest.mark.parametrize("data", [b"", b"no pickle", b"\x80\x02}q\x00", b"\x80\x09."])
def test_damaged_pickles(tmp_path, data):
  (tmp_path / "pretrain.pkl").write_bytes(data)
  with pytest.raises(UserError, match="is no whole pickle of a checkpoint"):
    deepmind.read(tmp_path / "pretrain.pkl")


def test_a_network_that_is_not_whole(trees, write):
  params = dict(trees[0])
  del params["res_net50/~/block_group_1/~/block_2/~/conv_1"]
  with pytest.raises(UserError, match=r"has no .*block_group_1/~/block_2/~/conv_1:w"):
    deepmind.read(write(checkpoint((params, trees[1]))))
