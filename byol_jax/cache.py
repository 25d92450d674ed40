"""Where what can be made again is kept between commands."""

import glob
import os
import re
import tempfile
from pathlib import Path

from absl import logging

_DAMAGED = re.compile(r"Error reading persistent compilation cache entry for '([^']+)'")


def folder() -> Path:
  """`~/.cache/byol_jax`, or what XDG_CACHE_HOME says; it need not be there yet.

  A relative path is none there, by the XDG Base Directory Specification. A user without
  a home, as in some containers, has it among temporary files.
  """
  home = os.path.join(os.path.expanduser("~"), ".cache")
  for base in (os.path.expanduser(os.environ.get("XDG_CACHE_HOME", "")), home):
    if os.path.isabs(base):
      return Path(base, "byol_jax")
  return Path(tempfile.gettempdir(), f"cache-{os.getuid()}", "byol_jax")


def heal(warning: str, programs: Path) -> bool:
  """Deletes the compiled programs that JAX warns that it cannot read.

  A process that was killed as it wrote one leaves half of it. JAX would compile that
  program at each start, as it never writes over what is there.

  Args:
    warning: any warning of this process.
    programs: JAX's folder of compiled programs.

  Returns:
    Whether it was such a warning.
  """
  found = _DAMAGED.search(warning)
  if not found:
    return False
  for path in programs.glob(f"{glob.escape(found[1])}*-cache"):
    path.unlink(missing_ok=True)
  logging.info("a compiled program was damaged, and is made again: %s", found[1])
  return True
