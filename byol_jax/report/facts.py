"""The tables of a run's page: what was trained on what, results, how it was made."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from byol_jax.report import chance, evaluations
from byol_jax.report.runs import Run, number
from byol_jax.report.verdict import PROBES, test_images
from byol_jax.run.settings import flat

Facts = list[tuple[str, str]]  # what it is about, and what is so

# Of what stands in summaries: a probe of pretraining's, or an evaluation.
_TITLES = {
  key: title
  for name, words in {
    **{name: protocol.title for name, protocol in evaluations.PROTOCOLS.items()},
    **PROBES,
  }.items()
  for key, title in ((name, words), (f"{name}_top5", f"{words}, among the first 5"))
}
_HEALTH = {
  "spread": "spread (1 healthy, 0 collapsed)",
  "effective_rank": "effective rank (directions)",
  "rankme": "RankMe",
  "lidar": "LiDAR",
  "invariance": "invariance to views (1 at most)",
  "alignment": "alignment",
  "uniformity": "uniformity",
}
_ROWS = {
  "encoder": "the encoder",
  "untrained": "the same network, untrained",
  "pixels": "the pixels themselves",
}
_MOST = 20  # rows of starts, and of skipped images


class Table(NamedTuple):
  """A table of texts, the first of each row its name."""

  caption: str
  header: Sequence[str]
  rows: Sequence[Sequence[str]]


def trained(run: Run, counts: Mapping[str, int]) -> Facts:
  """What was trained on what; what the config does not say is left out."""
  found = [
    ("what", _what(run)),
    ("encoder", _network(run)),
    ("images", run.setting("data.name") and _images(run, counts)),
    ("length", _length(run, counts)),
    ("begins with", _origin(run)),
    ("optimiser", _optimiser(run)),
    ("precision", run.setting("train.precision")),
    ("seed", run.setting("seed")),
  ]
  return [(name, str(value)) for name, value in found if value is not None]


def _what(run: Run) -> str:
  if not run.is_pretraining:
    return f"{run.setting('experiment')}{_evaluated(run)}"
  target = "a target network" if run.setting("target.kind") == "ema" else "no target"
  depth = run.setting("predictor.depth")
  predictor = "a linear predictor" if depth == 1 else "a predictor"
  if depth == 0:
    predictor = "no predictor"
  objective = run.setting("objective.name")
  return f"self-supervised pretraining: {objective}, with {target} and {predictor}"


def _evaluated(run: Run) -> str:
  """Which encoder an evaluation is of; "" where it does not say."""
  path, checksum = run.setting("encoder"), run.setting("encoder_checksum")
  if not isinstance(path, str):
    return ""
  step = f", step {run.evaluated.get('step')}" if run.evaluated else ""
  return f" of the encoder of {path}{step}{_short(checksum)}"


def _short(checksum: Any) -> str:
  return f" (SHA-256 {checksum[:12]}...)" if isinstance(checksum, str) else ""


def _origin(run: Run) -> str | None:
  """The run that it began with, and the one that that began with, ..."""
  said, origin = [], run.origin
  while origin:
    at = f"{origin.get('run')} at step {origin.get('step')}"
    at += _short(origin.get("checksum"))
    if origin.get("setting") == "start_from":
      new = ", ".join(origin.get("fresh") or ["optimiser"])
      said.append(f"the weights of {at}; new: {new}")
    else:
      note = "" if origin.get("one_schedule") else ", trained by another schedule"
      said.append(f"all of {at}{note}")
    origin = origin.get("origin")
  return "; that began with ".join(said) or None


def _network(run: Run) -> str | None:
  depth, width, stem = (run.setting(f"encoder.{k}") for k in ("depth", "width", "stem"))
  if depth is None:
    return None
  norms = [_norm(run, part) for part in ("encoder", "projector", "predictor")]
  return (
    f"ResNet-{depth}, width {width}, stem {stem}; norms of encoder, projector,"
    f" predictor: {', '.join(norms)}"
  )


def _norm(run: Run, part: str) -> str:
  also = " + standardised weights" if run.setting(f"{part}.standardised") else ""
  return f"{run.setting(f'{part}.norm')}{also}"


def _images(run: Run, counts: Mapping[str, int]) -> str:
  folder, split, size = (
    run.setting(f"data.{k}") for k in ("data_dir", "train", "size")
  )
  count = counts.get("data.train")
  return (
    str(run.setting("data.name"))
    + (f" in {folder}" if folder else "")
    + f", split {split}"
    + (f" of {count} images" if count else "")
    + (f", seen at {size} x {size} pixels" if size else "")
  )


def _length(run: Run, counts: Mapping[str, int]) -> str | None:
  steps, batch = run.setting("train.steps"), run.setting("train.batch_size")
  if steps is None or batch is None:
    return None
  images = counts.get("data.train")
  epochs = f", {steps * batch / images:.3g} epochs" if images else ""
  return f"{steps} steps of {batch} images{epochs}"


def _optimiser(run: Run) -> str | None:
  name = run.setting("optimiser.name")
  rate, warmup = (run.setting(f"optimiser.{k}") for k in ("learning_rate", "warmup"))
  return name and f"{name}, base learning rate {rate}, warm-up {warmup} of the steps"


def accuracies(run: Run, counts: Mapping[str, int]) -> Table | None:
  """Test accuracies, the encoder's beside its baselines'; None where there are none."""
  probes = [probe for probe in _TITLES if run.accuracies(probe)]
  if not probes:
    return None
  images = test_images(run, counts)
  if (run.summary or {}).get("metric", "top_1") != "top_1":
    images = None  # the error is that of a share of images
  split = run.setting("probe.test" if run.is_pretraining else "data.test")
  of = f", {images} images" if images else ""
  error = f"; ± is {chance.ERRORS:g} standard errors" if images else ""
  rows = [
    [title, *(_or_none(run.accuracies(probe).get(name), images) for probe in probes)]
    for name, title in _ROWS.items()
    if any(name in run.accuracies(probe) for probe in probes)
  ]
  header = ["features", *(_TITLES[probe] for probe in probes)]
  return Table(f"Accuracy on the test split {split}{of}{error}", header, rows)


def health(run: Run) -> Table | None:
  """What the run has measured without labels on the test images; None for nothing."""
  found = (run.summary or {}).get("health")
  measured = found if isinstance(found, dict) else {"encoder": run.summary or {}}
  rows = {n: measured[n] for n in _ROWS if isinstance(measured.get(n), dict)}
  names = [name for name in _HEALTH if any(name in each for each in rows.values())]
  if not names:
    return None
  return Table(
    "Measured on the test images without their labels",
    ["features", *(_HEALTH[name] for name in names)],
    [
      [_ROWS[row], *(_three_digits(each.get(name)) for name in names)]
      for row, each in rows.items()
    ],
  )


def _three_digits(value: Any) -> str:
  found = number(value)
  return "not measured" if found is None else f"{found:.3g}"


def _or_none(share: float | None, images: int | None) -> str:
  return "not measured" if share is None else accuracy(share, images)


def accuracy(share: float, images: int | None) -> str:
  """0.1234 as "12.3 ± 1.2 %", without the error where `images` is not known."""
  error = f" ± {100 * chance.error(share, images):.1f}" if images else ""
  return f"{100 * share:.1f}{error} %"


def made(run: Run) -> Facts:
  """Code, versions and hardware of the last start; [] where it is not recorded."""
  if not run.starts:
    return []
  last = run.starts[-1]
  versions, environment = (_pairs(last.get(k)) for k in ("versions", "environment"))
  code = f"{last.get('byol_jax')}, {_commit(last.get('commit'))}"
  return [
    ("started", f"{_time(last)} UTC"),
    ("in the folder", str(last.get("folder"))),
    ("environment", " ".join(f"{k}={v!r}" for k, v in environment) or "nothing set"),
    ("byol_jax", code),
    ("versions", ", ".join(f"{name} {version}" for name, version in versions)),
    ("devices", _devices(last)),
    ("processor", f"{last.get('cores')} cores of {last.get('processor')}"),
  ]


def _pairs(found: Any) -> list[tuple[str, Any]]:
  return [*found.items()] if isinstance(found, dict) else []


def _commit(commit: Any) -> str:
  if not commit:
    return "not from a clone"
  changed = ", with changes that are not committed" if str(commit).endswith("+") else ""
  return f"commit {str(commit).rstrip('+')}{changed}"


def _time(line: Mapping[str, Any]) -> str:
  return str(line["started"]).removesuffix("+00:00").replace("T", " ")


def _devices(line: Mapping[str, Any]) -> str:
  return f"{line.get('devices')} x {line.get('kind')} on {line.get('hosts')} host(s)"


def starts(run: Run) -> Table | None:
  """The last starts of a run that was started more than once."""
  if len(run.starts) < 2:
    return None
  rows = [start(each) for each in run.starts[-_MOST:]]
  caption = f"The run was started {len(run.starts)} times; the last {len(rows)}"
  return Table(caption, ["started (UTC)", "code", "devices", "command"], rows)


def start(line: Mapping[str, Any]) -> list[str]:
  """Time, code, devices and command of a line of starts.jsonl."""
  code = f"{line.get('byol_jax')}, {_commit(line.get('commit'))}"
  return [_time(line), code, _devices(line), str(line.get("command"))]


def speed(run: Run) -> float | None:
  """Images in a second: the median of the reports."""
  speeds = [value for _, value in run.points("images_per_second")]
  return statistics.median(speeds) if speeds else None


def time(run: Run) -> Facts:
  """How long it took, and how fast it was."""
  found = []
  if run.seconds:
    found.append(("time", duration(run.seconds)))
  if (images := speed(run)) is not None:
    found.append(("speed", f"{images:.4g} images / s, the median report"))
  if waits := [value for _, value in run.points("input_wait")]:
    share = chance.percent(statistics.median(waits))
    found.append(("wait for images", f"{share} of the time, the median report"))
  return found


def duration(seconds: float) -> str:
  """3700 as "1 h 1 min", 61 as "1 min 1 s"."""
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours} h {minutes} min"
  return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def skipped(run: Run) -> Table | None:
  """The first images that could not be read; None where all could."""
  if not run.skipped:
    return None
  shown = run.skipped[:_MOST]
  caption = f"{len(run.skipped)} files could not be read; the first {len(shown)}"
  return Table(caption, ["file", "reason"], shown)


def settings(run: Run) -> Table:
  """All settings."""
  rows = [[name, str(value)] for name, value in flat(run.config).items()]
  return Table("All settings of config.json", ["setting", "value"], rows)
