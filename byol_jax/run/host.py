"""What makes XLA fast on the host's own cores; nothing here changes a result."""

import ctypes
import importlib.metadata
import importlib.util
import os
import platform

import cv2
import jaxlib
from absl import logging

# Flag of XLA -> our choice, where programs run on CPUs alone: the second of them
# would change programs for accelerators too.
_FLAGS = {
  # XLA hands sums, products and convolutions on CPUs to YNNPACK. Its sums are a
  # few times faster than XLA's own, its convolutions slower, most so backwards.
  "--xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
  # This pass takes all optimisation barriers out before operations are fused,
  # and fusion is what the barriers of `nets/convolve.py` are there to stop.
  "--xla_disable_hlo_passes": "cse_barrier_expander",
}
# XLA aborts at a flag that it does not know: these are the versions tried.
_VERSIONS = ((0, 10), (0, 13))

# mallopt's, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def tune() -> None:
  """Chooses XLA's fastest forms on CPUs, and keeps the memory of steps for the next.

  Comes before JAX's first device is asked for, on the main thread. What the user
  chose by XLA_FLAGS stays. Where there are accelerators, flags, dispatch and malloc
  are left as they are.
  """
  # Many images are cropped at the same time; OpenCV's threads would only compete.
  cv2.setNumThreads(0)
  if _has_only_cpus():
    _set_flags()
    _keep_memory()


def _set_flags() -> None:
  version = tuple(map(int, jaxlib.__version__.split(".")[:2]))
  if not _VERSIONS[0] <= version < _VERSIONS[1]:
    logging.info(
      "jaxlib %s is not one that was tried: XLA's flags for CPUs are left out",
      jaxlib.__version__,
    )
    return
  given = os.environ.get("XLA_FLAGS", "")
  if given and not given.lstrip().startswith("-"):  # the name of a file of flags
    return
  ours = [f"{flag}={value}" for flag, value in _FLAGS.items() if flag not in given]
  os.environ["XLA_FLAGS"] = " ".join([given, *ours]).strip()


def _has_only_cpus() -> bool:
  """Whether JAX is told to use CPUs alone, or has nothing else to choose from."""
  if chosen := os.environ.get("JAX_PLATFORMS"):
    return chosen == "cpu"
  # What JAX finds accelerators by; looking does not start any.
  packages = any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))
  return not packages and not importlib.metadata.entry_points(group="jax_plugins")


def _keep_memory() -> None:
  """Makes malloc hold on to what is freed.

  A step takes its temporary memory in one piece, gigabytes of it, and gives it
  back at its end. malloc would hand that to the kernel, and each step would wait
  for half a million pages to be mapped and zeroed again. Pieces of that size are
  kept only in malloc's main arena, and only the main thread is sure to take from
  it, so that it, and no thread of JAX's, is to run the steps. All other threads
  keep to arenas of their own: in a common one they would wait for each other, and
  long, once compilation has left it in a hundred thousand pieces.
  """
  import jax  # takes a second, which a mistake in the flags need not wait for

  jax.config.update("jax_cpu_enable_async_dispatch", False)
  if platform.libc_ver()[0] != "glibc":
    return
  libc = ctypes.CDLL(None)
  libc.mallopt(_M_MMAP_MAX, 0)
  libc.mallopt(_M_TRIM_THRESHOLD, -1)  # never
