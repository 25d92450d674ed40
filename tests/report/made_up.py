"""Runs and results that never were, as they would be left."""

import hashlib
import json

from byol_jax.disk import write_json

START = {
  "command": "python -m byol_jax.main --config=configs/byol.py --workdir=runs/x",
  "folder": "/somewhere",
  "environment": {"JAX_PLATFORMS": "cpu"},
  "started": "2026-01-02T03:04:05+00:00",
  "byol_jax": "0.2.0",
  "commit": "abcdef0+",
  "versions": {"Python": "3.12.0", "jax": "0.10.2"},
  "devices": 2,
  "kind": "H100",
  "backend": "gpu",
  "hosts": 1,
  "cores": 16,
  "processor": "a processor",
}

SUMMARY = {
  "spread": 0.8,
  "effective_rank": 30.0,
  "collapsed": False,
  "test_images": 1000,
  "knn": {"encoder": 0.7, "untrained": 0.5, "pixels": 0.3},
  "linear": {"encoder": 0.8, "untrained": 0.6, "pixels": 0.5},
  "seconds": 3725.0,
}


def record(step, knn, **others):
  """What is logged at an evaluation."""
  health = {"valid_spread": 0.9, "valid_effective_rank": 20.0, "valid_collapsed": False}
  return {"step": step, "valid_knn": knn, "score": knn, **health, **others}


RECORDS = (
  record(0, 0.4, seconds=1.0),
  {"step": 5, "loss": 2.0, "images_per_second": 100.0, "input_wait": 0.1},
  record(10, 0.6, loss=1.0, images_per_second=300.0, input_wait=0.3, seconds=9.0),
)


def config(**changes):
  """The settings that the report asks for, of a data set that is nowhere."""
  found = {
    "experiment": "pretrain",
    "seed": 0,
    "data": {"name": "nowhere", "data_dir": None, "train": "train", "size": 32},
    "encoder": {"norm": "batch", "standardised": False, "depth": 10, "width": 1.0},
    "projector": {"norm": "batch", "standardised": False},
    "predictor": {"norm": "batch", "standardised": False, "depth": 2},
    "objective": {"name": "byol"},
    "target": {"kind": "ema"},
    "optimiser": {"name": "lars", "learning_rate": 0.2, "warmup": 0.1},
    "train": {"steps": 10, "batch_size": 16, "precision": "float32"},
    "probe": {
      "train": "train",
      "test": "test",
      "valid_train": "train[:10]",
      "valid_test": "train[10:20]",
    },
  }
  return changed(found, changes)


def changed(found, changes):
  """With other values, "encoder__norm" being one of `found["encoder"]`."""
  for name, value in changes.items():
    *sections, key = name.split("__")
    section = found
    for part in sections:
      section = section[part]
    section[key] = value
  return found


def write(
  folder,
  settings=None,
  records=RECORDS,
  summary=SUMMARY,
  starts=(START,),
  origin=None,
):
  """Leaves a run's files in a new folder; None leaves one out."""
  folder.mkdir(parents=True)
  write_json(folder / "config.json", settings or config())
  lines = {"metrics.jsonl": records, "starts.jsonl": starts}
  for name, values in lines.items():
    if values is not None:
      text = "".join(json.dumps(value) + "\n" for value in values)
      (folder / name).write_text(text)
  if summary is not None:
    write_json(folder / "summary.json", summary)
  if origin is not None:
    write_json(folder / "origin.json", origin)
  return folder


def result(value=0.5, seed=0, run=None, settings=None, **changes):
  """A line of results.jsonl, of the encoder of a run of `config(**settings)`.

  Args:
    value: the accuracy.
    seed: of pretraining.
    run: its folder.
    settings: of pretraining, as for `config`.
    changes: of the line; "encoder__step" is one within.
  """
  pretraining = config(seed=seed, **settings or {})
  run = run or f"runs/bn-seed{seed}"
  text = json.dumps([run, pretraining])
  found = {
    "format": 1,
    "protocol": "knn",
    "setting": {"k": 20, "temperature": 0.1},
    "data": "cifar10",
    "train": "train",
    "test": "test",
    "listing": "0" * 64,
    "metric": "top_1",
    "value": value,
    "test_images": 10_000,
    "encoder": {
      "path": run,
      "checksum": hashlib.sha256(text.encode()).hexdigest(),
      "step": 10,
      "network": dict(pretraining["encoder"]),
    },
    "seed": 0,
    "run": "evaluations/0",
    "config": {
      "experiment": "knn",
      "encoder": run,
      "seed": 0,
      "data": {"name": "cifar10", "data_dir": None, "held_out": None},
      "k": [1, 5, 10, 20, 50, 100, 200],
      "temperature": [0.02, 0.05, 0.07, 0.1, 0.2, 0.5],
    },
    "pretrained": {"run": run, "config": pretraining},
    "byol_jax": "0.2.0",
    "commit": "abcdef0",
    "time": "2026-01-02T03:04:05+00:00",
  }
  return changed(found, changes)


def write_results(path, lines):
  """Leaves lines in a file."""
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))
  return path
