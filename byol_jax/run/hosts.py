"""Hosts begin a run together: with one config, on the same images."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections

from byol_jax import parallel
from byol_jax.run import provenance
from byol_jax.run.folder import RunDir
from byol_jax.run.settings import flat, resolved

# Where a host finds things, and how many of its cores fetch them, is its own affair.
_OWN = ("data.data_dir", "data.workers", "results")


def check(facts: Mapping[str, Any]) -> None:
  """Looks whether all hosts are to do the same, with the same code, in the same way.

  Hosts that are not would wait for each other for ever, or come to what nothing says.

  Args:
    facts: what is to be done: name -> a value that JSON can say.

  Raises:
    UserError: on all hosts, where one differs.
  """
  if jax.process_count() == 1:
    return
  parallel.check_agreement(
    {
      **facts,
      "code": provenance.code(),
      "devices": f"{jax.local_device_count()} x {jax.devices()[0].device_kind}",
      **provenance.of_jax(),
      **provenance.versions(),
    }
  )


def claim(
  run_dir: RunDir, config: ml_collections.ConfigDict, listing: Sequence[str]
) -> bool:
  """`RunDir.claim` on the first host, once all hosts are found to be alike.

  Args:
    run_dir: the folder of the run; all hosts but the first write nothing.
    config: resolved, as it will be run.
    listing: see `RunDir.claim`.

  Returns:
    Whether the run is a new one; False on all hosts but the first.

  Raises:
    UserError: on all hosts, where hosts differ or the first cannot have the folder.
  """
  settings = flat(resolved(config))
  images = hashlib.sha256("\n".join(sorted(listing)).encode()).hexdigest()[:16]
  own = {name: value for name, value in settings.items() if name not in _OWN}
  check({**own, "images": images})
  new = parallel.value_from_first_host(lambda: run_dir.claim(config, listing))
  return new and parallel.is_first_host()
