"""Runs that never were, as they would leave their folders."""

import json

from byol_jax.disk import write_json
from reproduce import arms, provenance, results


def write_run(root, name, seed, linear, untrained=0.3, spread=0.9):
  """What a run that has come to its end leaves in its folder."""
  run = arms.Run(name, seed)
  folder = run.folder(root)
  folder.mkdir(parents=True)
  accuracies = {"encoder": linear, "untrained": untrained}
  summary = {
    "linear": accuracies,
    "knn": accuracies,
    "spread": spread,
    "effective_rank": 20.0,
    "collapsed": spread < 0.1,
  }
  train = {"batch_size": 128, "accumulate": 2}
  write_json(folder / "config.json", {"seed": seed, "train": train})
  write_json(folder / "summary.json", summary)
  records = [
    {"step": 2, "loss": 1.0, "spread": 0.2},
    {"step": 4, "valid_knn": 1 / 3, "valid_effective_rank": 20.0},
    {"step": 5, "loss": 1.0, "spread": 0.123456789},
  ]
  lines = "".join(json.dumps(record) + "\n" for record in records)
  (folder / "metrics.jsonl").write_text(lines)
  provenance.note(root, run)
  return run


def keep_run(folder, name, *args, **kwargs):
  """Its record."""
  run = write_run(folder / "runs-of-it", name, *args, **kwargs)
  results.keep(run, folder / "runs-of-it", folder)
