"""Reading the checkpoints of another run, or a part of them."""

import shutil

import jax.numpy as jnp
import pytest

from byol_jax.errors import UserError
from byol_jax.run.checkpoints import Checkpoints
from byol_jax.run.stored import load
from tests.run.states import CONV, assert_bit_exact, make_state, truncate_arrays


@pytest.mark.parametrize("path", ["", "checkpoints", "checkpoints/20"])
def test_load_finds_the_newest(saved, path):
  step, state = load(saved / path, make_state())
  assert step == 20
  assert_bit_exact(state, make_state(20))


def test_load_reads_one_step_and_a_part_of_the_state(saved):
  def part(state):  # one field, and one network of another
    encoder = {key: v for key, v in state.online.items() if "res_net18" in key}
    return {"online": encoder, "online_stats": state.online_stats}

  step, state = load(saved / "checkpoints" / "10", part(make_state()))
  assert step == 10
  assert_bit_exact(state, part(make_state(10)))


def test_load_leaves_the_run_alone(saved):
  unfinished = saved / "checkpoints" / "30.orbax-checkpoint-tmp"
  unfinished.mkdir()
  truncate_arrays(saved / "checkpoints" / "20")
  assert load(saved, make_state())[0] == 10
  assert {path.name for path in (saved / "checkpoints").iterdir()} == {
    "10", "20", unfinished.name,
  }  # fmt: skip


@pytest.mark.parametrize("score", ["NaN", "Infinity", "1e999"])
def test_a_score_that_is_no_number_is_not_the_best(saved, score):
  for step, value in (("10", "0.5"), ("20", score)):
    metrics = saved / "checkpoints" / step / "metrics" / "metrics"
    metrics.parent.mkdir()
    metrics.write_text(f'{{"score": {value}}}')
  assert load(saved, make_state(), which="best")[0] == 10


def test_a_step_that_no_run_has_is_no_checkpoint(saved):
  (saved / "checkpoints" / "2147483648").mkdir()
  with pytest.raises(UserError, match=r"/2147483648 is no checkpoint.*: move it away"):
    load(saved, make_state())
  with pytest.raises(UserError, match=r"/2147483648 is no checkpoint.*: move it away"):
    Checkpoints(saved / "checkpoints")


def without_one_conv(state):
  online = {key: v for key, v in state.online.items() if not key.endswith("conv_1")}
  return state._replace(online=online)


def with_new_layer(state):
  return state._replace(online={**state.online, "new": {"w": jnp.zeros(1)}})


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda _: make_state(width=5), rf"{CONV}:w is float32\[3, 3, 4\] there and"),
    (lambda s: s._replace(step=jnp.float32(0)), r"step is int32\[\] there and float"),
    (with_new_layer, "online:new:w is not in the checkpoint"),
    (without_one_conv, "conv_1:w of the checkpoint has no place here"),
  ],
)
def test_load_names_the_first_difference(saved, change, message):
  with pytest.raises(UserError, match=message):
    load(saved, change(make_state()))


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_load_without_checkpoints(tmp_path, path):
  with pytest.raises(UserError, match=r"no checkpoint at .*: give the folder"):
    load(tmp_path / path, make_state())


def test_a_checkpoint_under_another_steps_name_is_refused(saved):
  shutil.copytree(saved / "checkpoints" / "20", saved / "checkpoints" / "30")
  part = {"online": make_state().online}
  with pytest.raises(UserError, match=r"of step 30 in .* holds step 20: .*rename it"):
    load(saved, part)
  assert load(saved, part, which=20)[0] == 20
