"""Writing the state of a run, and restoring it."""

import gc
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from byol_jax.errors import UserError
from byol_jax.run import stored
from byol_jax.run.checkpoints import Checkpoints
from tests.run.states import (
  CONV,
  assert_bit_exact,
  damage,
  make_state,
  truncate_arrays,
)


def restore(directory, template=None):
  checkpoints = Checkpoints(directory)
  found = checkpoints.restore(make_state() if template is None else template)
  checkpoints.close()
  return found


def steps_in(directory):
  return sorted(int(path.name) for path in directory.iterdir())


@pytest.mark.parametrize("abstract", [True, False])
def test_round_trip_is_bit_exact(saved, abstract):
  template = make_state()
  if abstract:
    template = jax.eval_shape(lambda: template)
  step, state = restore(saved / "checkpoints", template)
  assert step == 20
  assert_bit_exact(state, make_state(20))


def test_an_empty_folder_holds_nothing(tmp_path):
  checkpoints = Checkpoints(tmp_path / "new" / "checkpoints")
  assert checkpoints.restore(make_state()) is None
  assert checkpoints.latest_step() is None
  checkpoints.close()


def test_the_state_may_change_once_save_returns(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  array = np.random.default_rng(0).normal(size=(500, 500))
  expected, donated = array.copy(), jnp.arange(3.0)
  checkpoints.save(1, {"w": array, "v": donated})
  array[:] = 0
  jax.jit(lambda x: x + 1, donate_argnums=0)(donated)
  _, state = checkpoints.restore({"w": array, "v": np.zeros(3, np.float32)})
  checkpoints.close()
  np.testing.assert_array_equal(state["w"], expected)
  np.testing.assert_array_equal(state["v"], [0, 1, 2])


def test_keeps_the_newest_and_the_best(tmp_path):
  scores = {1: 0.1, 2: 0.9, 3: None, 4: float("nan"), 5: 0.5, 6: None}
  checkpoints = Checkpoints(tmp_path, keep=2)
  for step, score in scores.items():
    metrics = {"loss": 1.0} if score is None else {"score": score}
    checkpoints.save(step, make_state(step), metrics)
  checkpoints.wait()
  assert steps_in(tmp_path) == [2, 5, 6]
  assert checkpoints.latest_step() == 6
  assert stored.choose(tmp_path, "best")[0].name == "2"
  checkpoints.close()
  again = Checkpoints(tmp_path, keep=2)
  again.save(7, make_state(7), {"score": 0.8})
  again.save(8, make_state(8))
  again.wait()
  assert steps_in(tmp_path) == [2, 7, 8]
  again.save(9, make_state(9), {"score": 0.95})
  again.save(10, make_state(10), {"score": 0.2})
  again.save(11, make_state(11))
  again.close()
  assert steps_in(tmp_path) == [9, 10, 11]


def test_saving_a_step_again_leaves_it(saved):
  checkpoints = Checkpoints(saved / "checkpoints")
  checkpoints.save(20, make_state(99))
  checkpoints.close()
  assert_bit_exact(restore(saved / "checkpoints")[1], make_state(20))


@pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
def test_no_damaged_file_goes_unnoticed(saved, how, tmp_path):
  """Damage to any file either changes nothing or costs one checkpoint."""
  original, fallbacks = saved / "checkpoints", 0
  files = [path for path in (original / "20").rglob("*") if path.is_file()]
  for number, path in enumerate(files):
    copy = tmp_path / f"copy{number}"
    shutil.copytree(original, copy)
    damage(copy / path.relative_to(original), how)
    step, state = restore(copy)
    assert_bit_exact(state, make_state(step))
    fallbacks += step == 10
  assert fallbacks >= 3


def test_a_damaged_checkpoint_is_replaced_and_reported(saved, caplog):
  directory = saved / "checkpoints"
  truncate_arrays(directory / "20")
  checkpoints = Checkpoints(directory)
  step, _ = checkpoints.restore(make_state())
  assert step == checkpoints.latest_step() == 10
  checkpoints.save(20, make_state(21))
  checkpoints.close()
  [record] = caplog.records
  message = (
    rf"skipped checkpoint {directory}/20: it is damaged \(.+\); using {directory}/10"
  )
  assert re.fullmatch(message, record.getMessage())
  assert (directory / "20.unusable").is_dir()
  step, state = restore(directory)
  assert step == 20
  assert_bit_exact(state, make_state(21))


def test_damage_prints_no_stack_traces(tmp_path, monkeypatch, caplog):
  rng = np.random.default_rng(0)
  state = {f"layer{n}": rng.normal(size=1000) for n in range(100)}
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, state)
  checkpoints.save(2, state)
  checkpoints.wait()
  truncate_arrays(tmp_path / "2")
  traces: list = []
  monkeypatch.setattr(sys, "unraisablehook", traces.append)
  assert checkpoints.restore(state)[0] == 1
  checkpoints.close()
  gc.collect()
  assert not traces
  assert len(caplog.records) == 1


def test_a_checkpoint_that_does_not_fit_is_skipped(saved, caplog):
  directory = saved / "checkpoints"
  checkpoints = Checkpoints(directory)
  checkpoints.save(30, make_state(30, width=7))
  checkpoints.close()
  assert restore(directory)[0] == 20
  assert f"online:{CONV}:w is float32[3, 3, 7] there" in caplog.text


def test_no_usable_checkpoint_is_an_error(saved):
  directory = saved / "checkpoints"
  for step in (10, 20):
    truncate_arrays(directory / str(step))
  message = r"the newest, step 20: it is damaged \(.*\); restore one of them, or use"
  with pytest.raises(UserError, match=message):
    restore(directory)
  assert steps_in(directory) == [10, 20]


def test_a_broken_score_costs_the_score_alone(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, make_state(1), {"score": 1.0})
  checkpoints.close()
  (tmp_path / "1" / "metrics" / "metrics").write_text('{"sco')
  again = Checkpoints(tmp_path)
  assert again.latest_step() == 1
  again.save(2, make_state(2), {"score": 0.5})
  again.close()
  assert steps_in(tmp_path) == [1, 2]
  assert stored.choose(tmp_path, "best")[0].name == "2"


def test_restore_wants_the_whole_state(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, make_state())
  with pytest.raises(UserError, match="has no place here"):
    checkpoints.restore(make_state()._replace(online_stats={}, online={}))
  checkpoints.close()


def test_orbax_is_quiet_and_others_are_heard(saved, caplog):
  from absl import logging

  with caplog.at_level("INFO"):
    restore(saved / "checkpoints")
    logging.info("heard")
  assert caplog.messages == ["heard"]


def test_a_folder_that_cannot_be_made(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match=r"cannot write checkpoint at .*: the run starts"):
    Checkpoints(tmp_path / "file" / "checkpoints")


@pytest.fixture
def small_disk(tmp_path):
  if os.geteuid() != 0 or not shutil.which("mount"):
    pytest.skip("only root can mount a file system of a few MB")
  command = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(tmp_path)]
  if subprocess.run(command, check=False, capture_output=True).returncode:
    pytest.skip("mounting is not allowed here")
  yield tmp_path
  subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_one_line_and_spares_older_checkpoints(small_disk):
  def state(seed):
    return {"w": np.random.default_rng(seed).normal(size=500_000)}

  checkpoints = Checkpoints(small_disk, keep=1)
  checkpoints.save(1, state(1))
  checkpoints.wait()
  with pytest.raises(UserError) as raised:
    checkpoints.save(2, state(2))
  checkpoints.close()
  assert str(raised.value) == (
    f"cannot write checkpoint at {small_disk}: No space left on device; free space "
    "and run the same command again: the run continues from step 1"
  )
  step, found = restore(small_disk, state(0))
  assert step == 1
  assert_bit_exact(found, state(1))


def test_a_closed_folder_is_one_line(saved, monkeypatch):
  def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")

  checkpoints = Checkpoints(saved / "checkpoints")
  monkeypatch.setattr(ocp.CheckpointManager, "save", refuse)
  message = "Permission denied; make it writable and .* continues from step 20$"
  with pytest.raises(UserError, match=message):
    checkpoints.save(30, make_state())
  checkpoints.close()


def start(code, *arguments):
  """Runs code in a process of its own."""
  root = Path(__file__).parents[1]
  return subprocess.Popen(
    [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
    env=os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def test_kill_during_a_save_leaves_the_previous_one(tmp_path):
  code = """
    import sys
    import numpy as np
    from byol_jax.run.checkpoints import Checkpoints
    checkpoints = Checkpoints(sys.argv[1])
    checkpoints.save(1, {"w": np.arange(3)})
    checkpoints.wait()
    noise = np.random.default_rng(0).normal(size=(100, 2**17))
    checkpoints.save(2, {str(n): row for n, row in enumerate(noise)})
    checkpoints.wait()
  """
  process = start(code, tmp_path)
  unfinished = re.compile(r"2\..*tmp")
  deadline = time.monotonic() + 60
  while not any(unfinished.match(path.name) for path in tmp_path.iterdir()):
    assert time.monotonic() < deadline, process.communicate()[0]
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.001)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert any(unfinished.match(path.name) for path in tmp_path.iterdir())
  step, state = restore(tmp_path, {"w": np.zeros(3, int)})
  assert step == 1
  np.testing.assert_array_equal(state["w"], [0, 1, 2])
  checkpoints = Checkpoints(tmp_path)  # Orbax clears up behind it, before a save
  checkpoints.save(2, {"w": np.arange(3)})
  checkpoints.close()
  assert steps_in(tmp_path) == [1, 2]


def free_port():
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    return probe.getsockname()[1]


def test_two_hosts_need_no_shared_file_system(tmp_path):
  code = """
    import sys
    import jax
    import jax.numpy as jnp
    import numpy as np
    port, rank, folder = sys.argv[1:]
    jax.distributed.initialize(f"localhost:{port}", 2, int(rank))
    from byol_jax.run.checkpoints import Checkpoints
    from byol_jax.run.stored import load
    from byol_jax import parallel
    from byol_jax.errors import UserError
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    everywhere = NamedSharding(Mesh(jax.devices(), "devices"), PartitionSpec())
    def replicate(x):
      return jax.make_array_from_callback(x.shape, everywhere, lambda index: x[index])
    state = {
      "w": np.array([-0.0, np.nan, 1e-42, 3], np.float32),
      "b": np.ones(3, jnp.bfloat16),
      "n": np.int64(2**40),
    }
    template = jax.tree.map(np.zeros_like, state)
    checkpoints = Checkpoints(f"{folder}/{rank}")
    assert checkpoints.restore(template) is None
    replicated = {**state, "w": replicate(state["w"]), "b": replicate(state["b"])}
    for step in (1, 2):
      checkpoints.save(step, replicated, {"score": -step})
    assert checkpoints.latest_step() == 2
    path = f"{folder}/{rank}"
    for step, found in (checkpoints.restore(template), load(path, template)):
      assert step == 2
      for key, value in state.items():
        assert found[key].dtype == value.dtype
        assert found[key].shape == value.shape
        assert found[key].tobytes() == value.tobytes(), (key, found[key])
    assert load(path, template, "best")[0] == 1
    text = "übersetzt " * 100
    def read():
      assert rank == "0"
      return text
    assert parallel.from_first_host(read) == text
    try:
      load(path, {"absent": np.zeros(1)})
    except UserError as error:
      print("refused:", error)
    checkpoints.close()
  """
  port = free_port()
  processes = [start(code, port, rank, tmp_path) for rank in (0, 1)]
  outputs = [process.communicate(timeout=120)[0] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], outputs
  assert "refused: no checkpoint in" in outputs[0]
  assert "refused: no checkpoint in" in outputs[1]
  assert steps_in(tmp_path / "0") == [1, 2]
  assert not (tmp_path / "1").exists()


def test_all_hosts_wait_until_the_first_has_saved(tmp_path):
  code = """
    import sys
    import time
    import jax
    import numpy as np
    port, rank, folder = sys.argv[1:]
    jax.distributed.initialize(f"localhost:{port}", 2, int(rank))
    from byol_jax.errors import UserError
    from byol_jax.run.checkpoints import Checkpoints
    checkpoints = Checkpoints(folder)
    saved = f"{folder}/saved"
    if rank == "0":
      def save_slowly():
        time.sleep(3)
        open(saved, "x").close()
      checkpoints._manager.wait_until_finished = save_slowly
    checkpoints.wait()
    open(saved).close()
    if rank == "0":
      def fail():
        raise OSError(28, "No space left on device")
      checkpoints._manager.wait_until_finished = fail
    try:
      checkpoints.wait()
    except UserError as error:
      print("failed:", error)
  """
  port = free_port()
  processes = [start(code, port, rank, tmp_path) for rank in (0, 1)]
  outputs = [process.communicate(timeout=120)[0] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], outputs
  assert all("failed: cannot write checkpoint" in output for output in outputs)
