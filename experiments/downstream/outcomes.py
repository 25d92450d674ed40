"""What an evaluation of a frozen encoder has come to: its summary, and its results."""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from byol_jax import parallel
from byol_jax.disk import absolute, read_json
from byol_jax.formats import saved
from byol_jax.run import hosts, results, stored
from byol_jax.run.folder import RunDir
from byol_jax.run.settings import resolved
from experiments.downstream.encoders import Summary
from experiments.downstream.frozen import Subject


@contextlib.contextmanager
def begun(subject: Subject) -> Iterator[Summary | None]:
  """Holds the folder for an evaluation; its summary, if it is complete.

  All hosts have it then, also those that do not see the folder.
  """
  with subject.run_dir as run_dir:
    hosts.claim(run_dir, subject.config, subject.dataset.listing())
    yield summary_of(run_dir)


def summary_of(run_dir: RunDir) -> Summary | None:
  """The summary of a complete run, None for any other; the same on all hosts."""
  return parallel.value_from_first_host(run_dir.read_summary)


def ended(subject: Subject, summary: Summary) -> Summary:
  """Writes the summary, with what was evaluated, and removes the features."""
  summary = {**summary, "evaluated": evaluated(subject)}
  subject.run_dir.write_summary(summary)
  if subject.run_dir.writes:
    shutil.rmtree(subject.run_dir.path / "features", ignore_errors=True)
  return summary


def evaluated(subject: Subject) -> dict[str, Any]:
  """Which encoder, for a summary: its path, its step, and its checksum."""
  encoder = subject.encoder
  return {
    "path": subject.config.encoder,
    "step": encoder.step,
    "checksum": encoder.checksum,
  }


def record(
  found: Subject,
  protocol: str,
  accuracies: Mapping[str, str],
  summary: Summary,
  setting: Sequence[str],
) -> None:
  """Appends accuracies of a summary to results.jsonl, on the first host alone.

  Args:
    found: what was evaluated.
    protocol: what was done, such as "knn".
    accuracies: key of `probes.METRICS` -> that of such an accuracy in the summary.
    summary: it has "test_images" too, of how many they are.
    setting: keys, in the summary, of what the sweep has chosen.
  """
  if not found.run_dir.writes:
    return
  config, about = found.config, found.encoder.description
  chosen = {name: summary[name] for name in setting}
  images = summary["test_images"]
  listing = "\n".join(sorted(found.dataset.listing()))
  for metric, name in accuracies.items():
    value = summary[name]["encoder"]
    logging.info(
      "%s: %s %.2f %% of %d images (%s); added to %s",
      *(config.encoder, metric, 100 * value, images),
      ", ".join(f"{key} {each:.4g}" for key, each in chosen.items()),
      config.results,
    )
    results.append(
      config.results,
      {
        "protocol": protocol,
        "setting": chosen,
        "data": found.dataset.name,
        "images": found.shown,
        "train": config.data.train,
        "valid": config.data.valid,
        "test": config.data.test,
        "listing": hashlib.sha256(listing.encode()).hexdigest(),
        "metric": metric,
        "value": value,
        "test_images": images,
        "encoder": {
          **evaluated(found),
          "network": dict(about.network),
        },
        "seed": config.seed,
        "run": str(found.run_dir.path),
        "config": resolved(config),
        "pretrained": _pretrained(config.encoder),
      },
    )


def _pretrained(path: str) -> dict[str, Any] | None:
  """The run that an encoder is of: folder, config, any origin.json; None for a file."""
  folder = absolute(path)
  place = None if saved.is_file(folder) else stored.run_of(folder)
  if place is None:
    return None
  config = read_json(place / "config.json", "restore it")
  found = {"run": str(place), "config": config}
  origin = RunDir(place, writes=False).read_origin()
  return found | ({"origin": origin} if origin else {})
