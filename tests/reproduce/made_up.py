"""Runs that never were, as they would leave their folders; and interrupts."""

import contextlib
import json
import os
import signal
import threading
import time

from byol_jax.disk import write_json
from byol_jax.run import provenance
from byol_jax.run.settings import resolved
from reproduce import arms, records
from reproduce.results import Result, Seeds
from reproduce.trials import TRIALS

HEALTH = {
  "spread": 0.9,
  "effective_rank": 20.0,
  "rankme": 30.0,
  "lidar": 40.0,
  "invariance": 0.5,
  "alignment": 0.25,
  "uniformity": -2.0,
  "feature_common": 0.5,
  "projection_common": 0.25,
  "prediction_rank": 10.0,
  "target_rank": 11.0,
}


def summary(linear, knn=None, *, untrained=30.0, raw=None, **health):
  """Of a run, accuracies in %; nearest neighbours are as good if not given."""
  accuracies = {"linear": linear, "knn": knn, "linear_raw": raw}
  return {
    name: {
      "encoder": (linear if value is None else value) / 100,
      "untrained": untrained / 100,
    }
    for name, value in accuracies.items()
  } | {
    "health": {"encoder": HEALTH | health, "untrained": HEALTH},
    "seconds": 1800.0,
  }


def arm(*linears, knn=None, **rest):
  """The results of an arm by seed, accuracies in %."""
  neighbours = knn or [None] * len(linears)
  return Seeds(
    Result([], {}, summary(one, two, **rest), {})
    for one, two in zip(linears, neighbours, strict=True)
  )


def find(name, seed):
  """The run of an arm, or of a trial."""
  return arms.Run(name, (arms.ARMS | TRIALS)[name], seed)


def write_run(root, name, seed, *args, **kwargs):
  """What a run that has come to its end leaves in its folder."""
  run = find(name, seed)
  folder = run.folder(root)
  folder.mkdir(parents=True)
  write_json(folder / "config.json", resolved(run.config("here")))
  write_json(folder / "summary.json", summary(*args, **kwargs))
  watched = {f"valid_{name}": value for name, value in HEALTH.items()}
  records = [
    {"step": 0, "valid_knn": 0.25, **watched},
    {"step": 2, "loss": 1.0, "spread": 0.2},
    {"step": 4, "valid_knn": 1 / 3, **watched},
    {"step": 5, "loss": 1.0, "spread": 0.123456789},
  ]
  lines = "".join(json.dumps(record) + "\n" for record in records)
  (folder / "metrics.jsonl").write_text(lines)
  start = provenance.start() | {"commit": "abc1234", "started": "2026-11-27T01:02:03"}
  (folder / "starts.jsonl").write_text(2 * f"{json.dumps(start)}\n")
  return run


def keep_run(folder, name, *args, **kwargs):
  """Its record."""
  run = write_run(folder / "runs-of-it", name, *args, **kwargs)
  records.keep(run, folder / "runs-of-it", folder)


@contextlib.contextmanager
def interrupting(when):
  """Sends this process a SIGINT, as Ctrl-C does, as soon as `when()` is true."""

  def interrupt():
    for _ in range(1000):
      if when():
        return os.kill(os.getpid(), signal.SIGINT)
      time.sleep(0.01)

  thread = threading.Thread(target=interrupt)
  # A shell that has put the tests in the background has SIGINT ignored.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    thread.start()
    yield
    thread.join()
  finally:
    signal.signal(signal.SIGINT, before)
