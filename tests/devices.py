"""Simulated devices, and programs that compile sooner: tests check no speed."""

import jax

# jaxlib's code generator up to 0.10 takes half the time without these; later
# ones no longer know the first.
_QUICK = (
  "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
  if tuple(map(int, jax.__version__.split(".")[:2])) <= (0, 10)
  else ""
)


def xla_flags(devices: int) -> str:
  """XLA_FLAGS for a process with that many devices."""
  return f"{_QUICK}--xla_force_host_platform_device_count={devices}"
