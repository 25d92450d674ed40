"""The benchmark for GPUs, on this machine's CPU, its figures from made-up times."""

import itertools
import os
import pickle
import subprocess
import sys

import jax
import pytest

from benchmarks import gpu, step, torch_twin, turns, workload
from benchmarks.workload import Row
from byol_jax.errors import UserError
from byol_jax.run import host
from experiments import pretrain
from tests import tiny

H100 = "NVIDIA H100 80GB HBM3"
TINY = {"depth": 10, "stem": "cifar", "size": 8, "batch": 4, "objective": "byol"}


def test_the_first_row_is_resnet50_in_bfloat16():
  first, second, *_ = gpu.rows(64)
  assert first.name == "resnet50-b64-bn-byol-bfloat16"
  assert first.settings["size"] == 224
  assert second.name == "resnet50-b64-gn_ws-byol-bfloat16"


@pytest.mark.parametrize("benchmark", [step, gpu])
def test_our_steps_run(benchmark, monkeypatch):
  made = pretrain.Pretrain(tiny.config("norm_ablation:none-none-none", steps=9))
  monkeypatch.setattr(workload, "make_experiment", lambda **settings: made)
  monkeypatch.setattr(gpu, "STEPS", 2)
  # This process stays as it is.
  monkeypatch.setattr(host, "tune", lambda: None)
  monkeypatch.setattr(jax.config, "update", lambda name, value: None)
  facts, run = benchmark.prepare(**TINY)
  run()
  assert facts["flops"] == made.flops()
  assert facts["compile"] > 0


def test_the_twin_runs_in_bfloat16_and_is_of_the_same_size():
  settings = TINY | {"norm": "gn_ws", "precision": "bfloat16"}
  facts, run = torch_twin.prepare(**settings, compiled=False, steps=1)
  run()
  ours = workload.make_experiment(**settings)
  assert facts["parameters"] == workload.parameters(jax.eval_shape(ours.init))


def test_the_twins_compilation_takes_one_step_and_no_cache(monkeypatch, tmp_path):
  monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
  calls, caches = [], set()

  def compiled(module):
    module.register_forward_hook(lambda *_: calls.append(module))
    caches.add(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    return module

  monkeypatch.setattr("torch.compile", compiled)
  settings = TINY | {"norm": "none", "precision": "float32"}
  torch_twin.prepare(**settings, compiled=True, steps=3)
  assert len(calls) == 4  # two views, each through the online network and the target
  assert str(tmp_path) not in caches
  assert not any(map(os.path.exists, caches))


def test_our_compilation_takes_no_cache(tmp_path):
  source = """
import os
from benchmarks import gpu
os.environ.update(gpu._ENVIRONMENT | {"JAX_PLATFORMS": "cpu"})
import jax
jax.jit(lambda x: x + 1)(1.0)
"""
  users = {
    "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  subprocess.run([sys.executable, "-c", source], check=True, env=os.environ | users)
  assert not list(tmp_path.iterdir())


def test_the_matrix_product_runs(monkeypatch):
  monkeypatch.setattr(gpu, "_MATMUL", 8)
  facts, run = gpu.prepare_matmul("bfloat16")
  run()
  assert facts["flops"] == 2 * 8**3


def test_who_takes_turns_can_be_sent_to_processes():
  bn, gn_ws, *_ = gpu.rows(64)
  assert list(gpu.contestants(bn, True)) == ["ours", "compiled", "matmul"]
  assert list(gpu.contestants(gn_ws, False)) == ["ours", "bn", "matmul"]
  found = gpu.contestants(gn_ws, True)
  assert pickle.loads(pickle.dumps(found)) == found
  assert found["compiled"].settings["device"] == "cuda"
  assert found["bn"].settings == gn_ws.settings | {"norm": "bn"}
  for contestant in found.values():
    assert contestant.environment["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def timing(milliseconds, flops, parameters=7):
  """Of turns of so many steps, each of so long."""
  facts = {"compile": 50.0, "flops": flops, "parameters": parameters}
  return turns.Timing([gpu.STEPS * milliseconds / 1e3] * 4, facts, 1000.0)


ROW = Row("row", TINY | {"batch": 64, "norm": "gn_ws", "precision": "bfloat16"})
# 64 images of 63 GFLOP in 32 ms are 126 TFLOP/s.
TIMES = {
  "ours": timing(32, 64 * 63e9),
  "compiled": timing(40, None),
  "bn": timing(30, 64 * 63e9),
  "matmul": timing(2, 1.4e12),
}


def test_figures_by_hand():
  found = gpu.result(ROW, H100, TIMES)
  assert found["peak_tflops"] == 989.4
  assert found["ours"]["images_per_second"] == pytest.approx(2000)
  assert found["ours"]["mfu"] == pytest.approx(126 / 989.4)
  assert found["compiled"]["ratio"] == pytest.approx(0.8)
  assert found["bn"]["ratio"] == pytest.approx(32 / 30)
  assert found["matmul_tflops"] == pytest.approx(700)
  cells = dict(zip(gpu.HEADINGS, gpu.line(found, 64), strict=False))
  assert cells["step, ms"] == "32.0 ±0%"
  assert cells["images/s"] == "2000"
  assert cells["MFU"] == "12.7%"
  assert cells["to batch norm"] == "1.07"
  assert cells["GFLOP an image"] == "63.0"
  assert len(gpu.HEADINGS) == len(gpu.line(found, 64))


def test_without_a_known_peak_or_a_twin_cells_are_empty():
  alone = {name: TIMES[name] for name in ("ours", "matmul")}
  cells = gpu.line(gpu.result(ROW, "cpu", alone), 64)
  assert cells[3:8] == [""] * 5


def test_a_twin_of_another_size_is_refused():
  other = TIMES | {"compiled": timing(40, None, parameters=8)}
  with pytest.raises(RuntimeError, match="another number of parameters"):
    gpu.result(ROW, H100, other)


def test_a_window_that_fails_leaves_its_row_out(monkeypatch, capsys):
  def take_turns(contestants, rounds):
    if contestants["ours"].settings["norm"] == "bn":
      raise UserError("ours failed")
    return TIMES

  monkeypatch.setattr(turns, "take_turns", take_turns)
  monkeypatch.setattr(turns, "facts", lambda _: {"kind": H100, "jax": "1.2"})
  found = list(gpu.measure(lambda name: name.endswith("bfloat16"), 64, 4, True))
  assert [f["row"] for f in found] == [
    "resnet50-b64-gn_ws-byol-bfloat16",
    "resnet18-b64-gn_ws-byol-bfloat16",
  ]
  printed = capsys.readouterr().out
  assert printed.startswith(f"{H100}, peak 989 (bfloat16), 495 (float32) TFLOP/s; jax")
  assert "resnet50-b64-bn-byol-bfloat16 is left out: ours failed; a smaller" in printed
  assert sum(line.startswith("| resnet") for line in printed.splitlines()) == 2


def test_a_contestants_environment_is_set_before_jax_is_there():
  source = (
    "import sys, benchmarks.gpu, benchmarks.turns; assert 'jax' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", source], check=True)


def test_without_a_gpu_there_is_one_line(monkeypatch, capsys):
  monkeypatch.setitem(gpu._ENVIRONMENT, "CUDA_VISIBLE_DEVICES", "")
  monkeypatch.setattr("torch.cuda.is_available", lambda: False)
  with pytest.raises(UserError, match="JAX finds no GPU here"):
    step.main("gpu", 64, [], 2, True, None)
  assert "finds no GPU: byol_jax is timed alone" in capsys.readouterr().out


def test_rows_and_folders_that_are_not_there_are_said(tmp_path):
  line = r"^--only=resnet51: no row begins so; they are resnet50-b64-bn-byol-bfloat16, "
  with pytest.raises(UserError, match=line):
    step.main("gpu", 64, ["resnet50", "resnet51"], 2, True, None)
  with pytest.raises(UserError, match=r"^--only=nope: no row begins so; they are res"):
    step.main("cpu", 64, ["nope"], 2, True, None)
  for out, why in (("no/out", "No such file or directory"), ("", "Is a directory")):
    with pytest.raises(UserError, match=f"{why}; name a file that can be written$"):
      step.main("cpu", 64, [], 2, True, str(tmp_path / out))


def test_without_torch_there_is_one_line_and_a_table(monkeypatch, capsys, tmp_path):
  monkeypatch.setattr(step.importlib.util, "find_spec", lambda name: None)
  asked = []

  def measure(row, rounds, with_torch):
    asked.append((row.name, with_torch))
    return {"row": row.name}

  monkeypatch.setattr(step, "measure", measure)
  monkeypatch.setattr(step, "show", lambda result: None)
  row = "resnet18-b64-bn-byol-float32"
  step.main("cpu", 64, [row], 2, True, str(tmp_path / "out"))
  assert asked == [(row, False)]
  assert (tmp_path / "out").read_text() == f'{{"row": "{row}"}}\n'
  assert capsys.readouterr().out.startswith("torch is not installed (pip install")


@pytest.mark.parametrize("bytes_", [3 * 2**20, None])
def test_memory_is_what_the_device_says(monkeypatch, bytes_):
  class Device:
    def memory_stats(self):
      return None if bytes_ is None else {"peak_bytes_in_use": bytes_}

  monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
  assert gpu.device_mib() == (0 if bytes_ is None else 3)


def test_rows_have_names_of_their_own():
  names = [row.name for row in itertools.chain(gpu.rows(64), gpu.rows(128))]
  assert len(set(names)) == len(names)
