"""Commands in processes that are forked from one which has imported everything.

Such a start takes a tenth of a second in place of three. All else is as on the command
line: a process of its own, its arguments, its streams and its status.
"""

import json
import multiprocessing
import os
import resource
import runpy
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path

from tests.devices import xla_flags
from tests.faults.trial import ROOT, Ended

# No device is chosen by importing these.
_IMPORTED = [
  "byol_jax.embed.job",
  "byol_jax.formats.deepmind",
  "byol_jax.formats.torch_folder",
  "byol_jax.report.page",
  "byol_jax.report.results",
  "byol_jax.data.prepare_folder",
  "ml_collections.config_flags",
  "experiments.pretrain",
  "experiments.knn",
  "experiments.linear_eval",
  "experiments.linear_cached",
  "experiments.semi_supervised",
  "experiments.transfer",
  "experiments.transfer_finetune",
  "reproduce.report",
  "reproduce.slices",
  __name__,
]


class Forked:
  """Runs commands; a value of it starts the process that they are forked from."""

  def __init__(self) -> None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
    self._context = multiprocessing.get_context("forkserver")
    self._context.set_forkserver_preload(_IMPORTED)
    self._folder = Path(tempfile.mkdtemp(prefix="forked-"))
    self._count = 0

  def start(
    self,
    module: str,
    *arguments: object,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
  ) -> "Started":
    """Starts `python -m MODULE ARGUMENTS`."""
    self._count += 1
    out = self._folder / str(self._count)
    process = self._context.Process(
      target=_run, args=(module, [*map(str, arguments)], dict(env or {}), cwd, out)
    )
    process.start()
    return Started(process, out)


class Started:
  """A command that is under way."""

  def __init__(self, process: multiprocessing.Process, out: Path):
    self.process = process
    self._out = out

  def wait(self, timeout: float = 120) -> Ended:
    """How it has ended; "seconds" are those of its processor.

    Raises:
      TimeoutError: it has not.
    """
    self.process.join(timeout)
    if self.process.is_alive():
      self.process.kill()
      raise TimeoutError(f"still at work after {timeout} s")
    lines = self._out.with_suffix(".err").read_text(errors="replace").splitlines()
    seconds = json.loads(self._out.with_suffix(".json").read_text())
    return Ended(self.process.exitcode or 0, lines, seconds)


def _run(
  module: str, arguments: list[str], env: Mapping[str, str], cwd: Path, out: Path
) -> None:
  """The child: what the interpreter does with `-m`."""
  for stream, suffix in ((1, ".out"), (2, ".err")):
    file = os.open(out.with_suffix(suffix), os.O_WRONLY | os.O_CREAT)
    os.dup2(file, stream)
  os.environ |= {"XLA_FLAGS": xla_flags(1)} | env
  os.chdir(cwd)
  sys.argv = [module, *arguments]
  _told_at_the_end(out.with_suffix(".json"))
  status: object = 0
  try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
  except SystemExit as ended:
    status = ended.code
  except BaseException:
    traceback.print_exc()
    status = 1
  os._exit(status if isinstance(status, int) else int(status is not None))


def _told_at_the_end(path: Path) -> None:
  """Writes to a file how many seconds of a processor this process has taken."""
  end = os._exit

  def tell(status: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    path.write_text(json.dumps(used.ru_utime + used.ru_stime))
    sys.stdout.flush()
    sys.stderr.flush()
    end(status)

  os._exit = tell  # type: ignore[assignment]  # by which our commands end
