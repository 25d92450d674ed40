"""BYOL, with and without batch statistics, in JAX and Haiku.

  import byol_jax
  encoder = byol_jax.load_encoder("runs/byol_gn_ws")
  features = encoder(images)  # uint8 [N, H, W, C] -> float32 [N, D]

What is named here is imported when it is first used, and JAX with it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from byol_jax.errors import UserError

if TYPE_CHECKING:
  from byol_jax.embed.files import read_features
  from byol_jax.embed.writing import write_features
  from byol_jax.pretrained import Encoder, load_encoder
  from byol_jax.probes import knn_accuracy, linear_accuracy

__version__ = "0.2.0"

__all__ = [
  "Encoder",
  "UserError",
  "__version__",
  "knn_accuracy",
  "linear_accuracy",
  "load_encoder",
  "read_features",
  "write_features",
]

_MODULES = {
  "Encoder": "pretrained",
  "load_encoder": "pretrained",
  "knn_accuracy": "probes",
  "linear_accuracy": "probes",
  "read_features": "embed.files",
  "write_features": "embed.writing",
}


def __getattr__(name: str) -> Any:
  if name not in _MODULES:
    raise AttributeError(f"module 'byol_jax' has no attribute {name!r}")
  module = importlib.import_module(f"byol_jax.{_MODULES[name]}")
  return getattr(module, name)


def __dir__() -> list[str]:
  return sorted(__all__)
