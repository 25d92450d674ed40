"""The loop of every experiment: train, log, checkpoint, evaluate, summarise.

It knows no method: an experiment gives it a state, batches and a step.
"""

import contextlib
import signal
import statistics
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol

import chex
import jax
import ml_collections
from absl import logging

from byol_jax import parallel
from byol_jax.errors import Diverged, Stopped, UserError
from byol_jax.run import figures, live, mfu
from byol_jax.run.checkpoints import Checkpoints
from byol_jax.run.folder import RunDir
from byol_jax.run.monitor import Monitor, NotFinite


class Experiment(Protocol):
  """What the loop needs of an experiment.

  It may have besides `flops()`, those of a step's model over all devices, and
  `precision`, in which it computes: then the loop logs its `mfu`.
  """

  def init(self) -> Any:
    """The state at step 0."""

  def batches(self, first_step: int) -> Iterator[chex.ArrayTree]:
    """Batches of the steps from `first_step` on, sharded over the devices."""
    ...

  def step(self, state: Any, batch: chex.ArrayTree) -> tuple[Any, dict]:
    """One update on each device; scalars hold "loss" and "update_norm"."""
    ...

  def evaluate(self, state: Any) -> dict[str, float]:
    """What is measured now and then; "score", if any, ranks checkpoints."""
    ...

  def summarise(self, state: Any) -> dict[str, Any]:
    """The results of the whole run."""
    ...


def run(
  experiment: Experiment, config: ml_collections.ConfigDict, run_dir: RunDir
) -> dict[str, Any]:
  """Runs an experiment from its last checkpoint, or from the start, to the end.

  Args:
    experiment: what to run.
    config: of it, `train`, `log`, `eval` and `checkpoint` are read here.
    run_dir: the folder of the run, claimed for this config.

  Returns:
    The summary, as in summary.json.

  Raises:
    Diverged: the loss or an update is not finite.
    UserError: a checkpoint cannot be written.
    Stopped: after a SIGTERM, SIGHUP or Ctrl-C, once the state is saved.
  """
  before = parallel.value_from_first_host(run_dir.read_summary)
  if before is not None:
    logging.info("%s holds a complete run", run_dir.path)
    return before
  checkpoints = Checkpoints(run_dir.checkpoints, config.checkpoint.keep)
  try:
    state, monitor = _train(experiment, config, run_dir, checkpoints)
  finally:
    checkpoints.close()
  found = experiment.summarise(state)
  records = [record for record in run_dir.records() if "loss" in record]
  reports = records[1:] or records  # the first step was compiled in its time
  summary = {
    **found,
    "steps": config.train.steps,
    "images_seen": config.train.steps * config.train.batch_size,
    "images_per_second": _median(reports, "images_per_second"),
    "seconds": monitor.seconds,
  }
  if share := _median(reports, "mfu"):
    summary["mfu"] = share
  run_dir.write_summary(summary)
  # What others read, who may go on by it, although their rounding may be another.
  return parallel.value_from_first_host(lambda: summary)


def _median(reports: Sequence[Mapping[str, float]], name: str) -> float | None:
  values = [report[name] for report in reports if name in report]
  return statistics.median(values) if values else None


def _train(
  experiment: Experiment,
  config: ml_collections.ConfigDict,
  run_dir: RunDir,
  checkpoints: Checkpoints,
) -> tuple[Any, Monitor]:
  """The state after the last step, and the run's clock."""
  first_step, state = _begin(experiment, checkpoints)
  new = first_step == 0
  seconds_before = run_dir.rewind(-1 if new else first_step).get("seconds", 0.0)
  steps = config.train.steps
  monitor = Monitor(
    config.train.batch_size,
    steps,
    seconds_before,
    mfu.steps_per_second_at_peak(experiment),
  )
  update = parallel.pmap(experiment.step, donate=True)
  untrained: dict[str, float] = {}
  if new:
    untrained = experiment.evaluate(state)
    run_dir.log(0, {**untrained, "seconds": monitor.seconds})

  timer = _SaveTimer(60 * config.checkpoint.every_minutes)
  with (
    live.shown(first_step, steps) as line,
    _stop_signals() as asked,
    _closing(experiment.batches(first_step)) as batches,
  ):
    line.evaluated(untrained)
    line.compiling()
    monitor.restart()
    for step in range(first_step + 1, steps + 1):
      state, scalars = update(state, monitor.fetch(batches))
      monitor.record(scalars)
      line.stepped()
      is_first = step == first_step + 1
      is_last = step == steps
      log = is_last or step % config.log.every_steps == 0
      evaluate = is_last or step % config.eval.every_steps == 0
      # Hosts must stop and save after the same step, and agreeing on it takes time.
      stop = (log or is_first or _is_alone()) and parallel.agree(bool(asked))
      save = log and parallel.agree(timer.is_due())
      if not (is_first or log or evaluate or stop):
        continue
      report = _finite_report(monitor, step, checkpoints)
      if is_first:
        line.compiled(monitor.seconds - seconds_before)
      else:
        line.reported(step, report)
      found = experiment.evaluate(state) if evaluate else {}
      line.evaluated(found)
      # No line that depends on where a run was stopped: all come to the same lines.
      if log or evaluate or step == 1:
        run_dir.log(step, report | found)
      if save or evaluate or stop:
        checkpoints.save(step, state, found)
        timer.restart()
      # Drawing takes as long as a few dozen fast steps.
      if (evaluate or stop) and parallel.is_first_host():
        figures.curves(run_dir)
      if stop:
        checkpoints.wait()
        raise Stopped(step, asked[0] if asked else signal.SIGTERM)
      monitor.restart()
    checkpoints.wait()
    if parallel.agree(bool(asked)):  # in the last evaluation
      raise Stopped(steps, asked[0] if asked else signal.SIGTERM)
  return state, monitor


def _begin(experiment: Experiment, checkpoints: Checkpoints) -> tuple[int, Any]:
  """The step to go on from, and the state there, on all devices."""
  restored = None
  if checkpoints.latest_step() is not None:
    restored = checkpoints.restore(jax.eval_shape(experiment.init))
  if restored is None:
    return 0, parallel.replicate(experiment.init())
  step, state = restored
  if (held := int(getattr(state, "step", step))) != step:
    raise UserError(
      f"the checkpoint of step {step} in {checkpoints.directory} holds step {held}: it"
      " was copied or renamed; delete it, and the same command goes on"
    )
  if step:  # or it is one that has just begun with the weights of another
    logging.info("continuing from step %d", step)
  return step, parallel.replicate(state)


class _SaveTimer:
  """Says when a checkpoint is due, `seconds` after the one before."""

  def __init__(self, seconds: float):
    self._seconds = seconds
    self.restart()

  def restart(self) -> None:
    self._due = time.monotonic() + self._seconds

  def is_due(self) -> bool:
    return time.monotonic() >= self._due


def _is_alone() -> bool:
  return jax.process_count() == 1


def _finite_report(
  monitor: Monitor, step: int, checkpoints: Checkpoints
) -> dict[str, float]:
  """The monitor's report; a NaN becomes a line that says what can be done."""
  try:
    return monitor.report(step)
  except NotFinite as error:
    checkpoints.wait()
    raise Diverged(
      f"{error}; {_last_good(checkpoints)}: lower the learning rate, or compute in"
      " float32, and start a new run"
    ) from error


@contextlib.contextmanager
def _closing(batches: Iterator[chex.ArrayTree]) -> Iterator[Iterator[chex.ArrayTree]]:
  """Stops what loads batches as soon as no more are wanted."""
  try:
    yield batches
  finally:
    if isinstance(batches, Generator):
      batches.close()


def _last_good(checkpoints: Checkpoints) -> str:
  step = checkpoints.latest_step()
  where = checkpoints.directory
  return (
    f"no checkpoint in {where} yet"
    if step is None
    else (f"the last good checkpoint is step {step} in {where}")
  )


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
  """Collects SIGTERM, Ctrl-C and the end of a terminal; a second one ends at once."""
  asked: list[int] = []
  if threading.current_thread() is not threading.main_thread():
    yield asked  # Python gives signals to the main thread alone.
    return
  handlers: dict[int, Any] = {}

  def ask(number: int, frame: object) -> None:
    del frame
    asked.append(number)
    logging.info("asked to stop: saving soon")
    signal.signal(number, handlers[number])

  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:  # as nohup has it
      continue
    handlers[number] = signal.signal(number, ask)
  try:
    yield asked
  finally:
    for caught, handler in handlers.items():
      signal.signal(caught, handler)
