"""The command: an encoder in one form becomes one in another."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import byol_jax
from byol_jax import export
from byol_jax.errors import UserError

RUN = Path(__file__).parent / "golden" / "run"


@pytest.fixture(scope="module")
def features():
  golden = np.load(RUN.parent / "features.npz")
  return golden["images"], golden["step2"], golden["step4"]


def test_from_form_to_form(features, tmp_path):
  images, _, expected = features
  export.export(RUN, "torch", tmp_path / "folder")
  export.export(tmp_path / "folder", "safetensors", tmp_path / "encoder.safetensors")
  export.export(
    tmp_path / "folder" / "model.safetensors", "torch", tmp_path / "again", "newest"
  )
  with pytest.raises(
    UserError, match="is no run, and has one encoder: leave out which"
  ):
    export.read(tmp_path / "folder", "best")
  found = byol_jax.load_encoder(tmp_path / "encoder.safetensors")
  np.testing.assert_allclose(found(images), expected, atol=1e-4)
  assert found.step == 4
  again, first = (
    (tmp_path / name / "model.safetensors").read_bytes() for name in ("again", "folder")
  )
  assert again == first


def test_the_command(features, tmp_path):
  out = tmp_path / "encoder.safetensors"
  command = [sys.executable, "-m", "byol_jax.export", f"--encoder={RUN}"]
  command += ["--to=safetensors", f"--out={out}", "--which=best"]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  assert done.stdout.startswith(
    f"{out}: ResNet-10, width 0.0625, patch stem, norm batch"
  )
  images, expected, _ = features
  np.testing.assert_allclose(byol_jax.load_encoder(out)(images), expected, atol=1e-5)


@pytest.mark.parametrize(
  ("encoder", "to", "message"),
  [
    (RUN, "onnx", "there is no form 'onnx': choose one of torch, safetensors, jax"),
    (RUN.parent / "none", "torch", "none does not exist: name a run"),
    (RUN.parent, "torch", "no checkpoint at .*golden"),
    (RUN / "config.json", "torch", "config.json is no whole file in the format of"),
    ("none.pkl", "torch", "none.pkl does not exist: name a run"),
    (None, "torch", "name the run whose encoder is wanted"),
    (5, "torch", "5 is no path"),
  ],
)
def test_what_cannot_be_read(encoder, to, message, tmp_path):
  with pytest.raises(UserError, match=message):
    export.export(encoder, to, tmp_path / "out")
  assert not list(tmp_path.iterdir())


def test_the_place_is_checked_before_anything_is_read(tmp_path):
  (tmp_path / "file").write_text("mine")
  with pytest.raises(UserError, match="is there already"):
    export.export("nowhere", "torch", tmp_path)
  assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_has_lost_its_checkpoints(tmp_path):
  run = Path(shutil.copytree(RUN, tmp_path / "run"))
  shutil.rmtree(run / "checkpoints")
  with pytest.raises(UserError, match="no checkpoint at"):
    export.export(run, "torch", tmp_path / "out")


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "is damaged, or holds code, which was not run"),
    (b"no torch file", "is damaged, or holds code, which was not run"),
    (torch.nn.Linear(2, 2), "is damaged, or holds code, which was not run"),
    (
      {"epoch": 3, "state_dict": {}},
      "holds epoch, state_dict: save its state_dict alone",
    ),
    (torch.zeros(3), "holds no state_dict"),
    ({"fc.weight": torch.zeros(3)}, "has no conv1.weight"),
  ],
)
def test_files_of_torch_that_hold_something_else(content, message, tmp_path):
  path = tmp_path / "resnet.pth"
  if isinstance(content, bytes):
    path.write_bytes(content)
  else:
    torch.save(content, path)
  with pytest.raises(UserError, match=message):
    export.read(path)


def test_a_torch_that_runs_what_it_reads_is_not_used(tmp_path, monkeypatch):
  torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
  monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
  with pytest.raises(UserError, match=r"safely needs torch 2\.10 or newer: upgrade it"):
    export.read(tmp_path / "resnet.pth")


def test_reading_a_file_of_torch_needs_torch(tmp_path, monkeypatch):
  (tmp_path / "resnet.pth").write_bytes(b"")
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"needs torch: install it, or save as"):
    export.read(tmp_path / "resnet.pth")
