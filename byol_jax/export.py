"""Takes an encoder elsewhere, or brings one in.

  python -m byol_jax.export --encoder=runs/mine --to=torch --out=DIR
  python -m byol_jax.export --encoder=pretrain_res50x1.pkl --to=safetensors --out=FILE

--to says what is written:

torch        a folder for PyTorch and for model hubs: weights under torchvision's names,
             a model.py that needs torch alone, a config and a model card
safetensors  one file that says itself what it is; byol_jax.load_encoder opens it
jax          one file, a program of jax.export, which runs without this package

--encoder is read in any of these forms: a run, or a file that was saved; a folder that
was written for torch; weights under torchvision's names (.safetensors, .pth, .pt); a
checkpoint of BYOL that DeepMind published (.pkl).
"""

from byol_jax import interrupts

if __name__ == "__main__":
  interrupts.importing()

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from byol_jax import commands
from byol_jax.description import Description
from byol_jax.disk import absolute
from byol_jax.errors import UserError, no_such
from byol_jax.formats import (
  deepmind,
  output,
  program,
  saved,
  torch_folder,
  torchvision,
)
from byol_jax.pretrained import Encoder, load_encoder, shapes

FORMS: dict[str, Callable[[Encoder, str | Path], None]] = {
  "torch": torch_folder.write,
  "safetensors": Encoder.save,
  "jax": program.write,
}


def export(
  encoder: str | os.PathLike[str],
  to: str,
  out: str | os.PathLike[str],
  which: str | int = "newest",
) -> Encoder:
  """Reads an encoder in one form and writes it in another.

  Args:
    encoder: path of a run, or whatever else `read` takes.
    to: a key of `FORMS`.
    out: path of a new file, or for "torch" of a new or empty folder.
    which: of a run, as for `load_encoder`.

  Returns:
    The encoder.

  Raises:
    UserError: it cannot be read; `out` is there already, or cannot be written.
  """
  if to not in FORMS:
    raise no_such("form", to, FORMS)
  output.check_new(out)
  found = read(encoder, which)
  FORMS[to](found, Path(out))
  return found


def read(path: str | os.PathLike[str], which: str | int = "newest") -> Encoder:
  """Opens an encoder in any form: ours, torchvision's or DeepMind's.

  Weights under torchvision's names alone do not say how images are to be prepared: they
  get `torchvision.IMAGE`. An encoder with weight standardisation that was written for
  torch comes back with plain weights.

  Raises:
    UserError: it is in none of these forms, or it is damaged.
  """
  if not path or not isinstance(path, str | os.PathLike):
    return load_encoder(path, which)  # which says what is wrong
  file = absolute(path)
  if not file.exists():
    raise UserError(f"{file} does not exist: name a run, a folder or a file")
  if not file.is_file() and not torch_folder.is_one(file):
    return load_encoder(path, which)
  if which != "newest":
    raise UserError(f"{file} is no run, and has one encoder: leave out which={which!r}")
  return _of_one(file)


def _of_one(path: Path) -> Encoder:
  """Opens what is neither a run nor a checkpoint of one."""
  if path.is_dir():
    return torch_folder.read(path)
  if path.suffix == ".pkl":
    return deepmind.read(path)
  if path.suffix in (".pth", ".pt"):
    return _of_torchvision(_of_pickled_torch(path), path)
  if saved.is_ours(path):
    return load_encoder(path)
  return _of_torchvision(saved.read(path), path)


def _of_torchvision(arrays: dict[str, np.ndarray], path: Path) -> Encoder:
  network = torchvision.network_of(arrays, path)
  channels = arrays["conv1.weight"].shape[1]
  image = torchvision.IMAGE
  if channels != image.channels:
    raise UserError(f"{path} is of images with {channels} channels: of 3 can be read")
  description = Description(network, "float32", image)
  params, stats = torchvision.fit(arrays, shapes(description), path)
  return Encoder(params, stats, description, step=0)


def _of_pickled_torch(path: Path) -> dict[str, np.ndarray]:
  """The state_dict in a file of torch.save, whose code is not run."""
  if importlib.util.find_spec("torch") is None:
    raise UserError(f"reading {path} needs torch: install it, or save as .safetensors")
  import torch

  # Before, weights_only could be got round (CVE-2025-32434, CVE-2026-24747).
  if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10):
    raise UserError(f"reading {path} safely needs torch 2.10 or newer: upgrade it")
  try:
    found = torch.load(path, map_location="cpu", weights_only=True)
  except Exception as error:  # Damaged and malicious files fail in many ways.
    raise UserError(
      f"{path} is damaged, or holds code, which was not run: save its state_dict alone"
    ) from error
  if not isinstance(found, Mapping):
    raise UserError(f"{path} holds no state_dict")
  if not all(isinstance(value, torch.Tensor) for value in found.values()):
    some = ", ".join(map(str, list(found)[:5]))
    raise UserError(f"{path} holds {some}: save its state_dict alone")
  return {name: _to_numpy(tensor) for name, tensor in found.items()}


def _to_numpy(tensor: Any) -> np.ndarray:
  """Of a torch.Tensor; floating point as float32, as numpy has no bfloat16."""
  tensor = tensor.detach()
  return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _define_flags() -> None:
  commands.define_flags()
  flags.DEFINE_string("encoder", None, "Run, folder or file to read.", required=True)
  flags.DEFINE_enum("to", None, list(FORMS), "What to write.", required=True)
  flags.DEFINE_string("out", None, "New file, or folder for torch.", required=True)
  flags.DEFINE_string("which", "newest", "Of a run: newest, best or a step.")


def _main() -> None:
  commands.set_up(flags.FLAGS.quiet)
  given = flags.FLAGS
  encoder = export(given.encoder, given.to, given.out, given.which)
  commands.say(f"{given.out}: {_summary(encoder)}", given.out)


def _summary(encoder: Encoder) -> str:
  """What a reader may have guessed, for the user to see."""
  network, image = encoder.description.settings, encoder.description.image
  return (
    f"ResNet-{network['depth']}, width {network['width']:g}, {network['stem']} stem,"
    f" norm {network['norm']}, after {encoder.step} steps; sees {image.size} x"
    f" {image.size} pixels, mean {image.mean}, std {image.std}"
  )


if __name__ == "__main__":
  _define_flags()
  commands.run(_main, sys.argv)
