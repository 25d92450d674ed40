"""Where what can be made again is kept between commands."""

import os
from pathlib import Path


def folder() -> Path:
  """`~/.cache/byol_jax`, or what XDG_CACHE_HOME says; it need not be there yet."""
  base = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
  return Path(os.path.expanduser(base)) / "byol_jax"
