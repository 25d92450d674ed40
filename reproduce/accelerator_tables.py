"""accelerator.md: what came of the stages so far, as tables, from their records."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from byol_jax import disk
from reproduce import columns, figures, report_tables, stages
from reproduce import records as report_records
from reproduce.results import Result, Seeds
from reproduce.stages import COMPLETE, Plan, Record, Records

Cells = Mapping[str, str]  # heading -> what stands under it


def write(plan: Plan, folder: Path) -> Path:
  """Writes accelerator.md beside the records; its path."""
  records = stages.read(plan, folder)
  folder.mkdir(parents=True, exist_ok=True)
  figures.course(records, folder / "accelerator.png")
  path = folder / "accelerator.md"
  text = "\n".join(_lines(plan, folder, records)) + "\n"
  disk.replace(path, text, alone=False)  # other commands may share the report
  return path


def _lines(plan: Plan, folder: Path, records: Records) -> Iterator[str]:
  complete = sum(record.state == COMPLETE for record in records.values())
  yield "# On an accelerator\n"
  names = ", ".join(each.name for each in plan.stages if each.name not in records)
  yield (
    "Written by `python -m reproduce --scale=accelerator` from the records beside it."
    f" {complete} of {len(plan.stages)} stages are complete."
    + (f" To come: {names}." if names else "")
  )
  for kind, (title, explained, cells) in _TABLES.items():
    rows = [
      {"": stage.name, **cells(records[stage.name]), **_state(records[stage.name])}
      for stage in plan.stages
      if stage.kind == kind and stage.name in records
    ]
    if rows:
      yield f"\n## {title}\n\n{explained}\n"
      yield from _table(rows)
  networks = [
    {"": stage.name, **measured}
    for stage in plan.stages
    if stage.kind == "train" and (measured := _measured(records.get(stage.name)))
  ]
  if networks:
    if pixels := report_records.read_pixels(folder):
      networks.append({"": "raw pixels", **columns.of_pixels(pixels)})
    yield f"\n## Networks\n\nOn the test split. {columns.TEXT}\n"
    yield from _table(networks)
  yield "\n![held-out accuracy over training](accelerator.png)"
  if choices := stages.read_choices(folder):
    yield "\n## Choices\n"
    yield (
      "Each was made once: by a rule of `reproduce/accelerator.py`, or by hand, where"
      " it says so.\n"
    )
    yield from _table(
      [
        {"": name, "settings": _flags(choice.settings), "why": choice.why}
        for name, choice in choices.items()
      ]
    )
  if software := _software(records):
    yield "\n## Software of the devices\n"
    yield from software
  made = [row for name, record in records.items() for row in _starts(name, record)]
  if made:
    yield "\n## How it was made\n"
    yield "The records have the commands.\n"
    yield from _table(made)


def _speed(record: Record) -> Cells:
  found = record.found
  peak = found.get("peak_bytes")
  finite = {True: "yes", False: "no"}
  return {
    "images/s": _number(found.get("images_per_second"), ".0f"),
    "images/s, one batch": _number(found.get("images_per_second_one_batch"), ".0f"),
    "MFU, %": _percent(found.get("mfu")),
    "MFU, one batch, %": _percent(found.get("mfu_one_batch")),
    "peak, GiB": _number(peak and peak / 2**30, ".1f"),
    "compile, s": _number(found.get("compile_seconds"), ".0f"),
    "evaluation, s": _number(found.get("evaluation_seconds"), ".1f"),
    "save, s": _number(found.get("save_seconds"), ".1f"),
    "finite": finite.get(found.get("finite", ""), ""),
  }


def _pilot(record: Record) -> Cells:
  optimiser = (record.config or {}).get("optimiser", {})
  return {
    "rate": _number(optimiser.get("learning_rate"), "g"),
    "predictor x": _number(optimiser.get("predictor_multiplier"), "g"),
    **_progress(record),
  }


def _progress(record: Record) -> Cells:
  steps = (record.config or {}).get("train", {}).get("steps", "?")
  return {
    "steps": f"{record.steps} of {steps}",
    "loss": _last(record, "loss", ".3f"),
    "spread": _last(record, "spread", ".2f"),
    "held-out kNN, %": _last(record, "valid_knn", ".1f", 100),
  }


def _train(record: Record) -> Cells:
  return {
    **_progress(record),
    "images/s": _number(record.found.get("images_per_second"), ".0f"),
    "minutes": _number(record.found.get("seconds", 0) / 60 or None, ".1f"),
  }


# Kind of a stage -> title, what is said of it, and cells of a record.
_TABLES: dict[str, tuple[str, str, Callable[[Record], Cells]]] = {
  "speed": (
    "Speed",
    "Fed as in training, and on one batch that stays on the device.",
    _speed,
  ),
  "pilot": (
    "Pilots",
    "Short runs, to choose by. kNN is of training images that were held out.",
    _pilot,
  ),
  "train": (
    "Training",
    "Held-out kNN is of training images whose labels were held out.",
    _train,
  ),
}


def _measured(record: Record | None) -> Cells:
  """What the arms' report has too; nothing where it was not measured, or not yet."""
  if record is None or record.config is None or "linear" not in record.found:
    return {}
  result = Result(record.starts, record.config, record.found, record.curves)
  return columns.measured(Seeds([result]))


def _state(record: Record) -> Cells:
  return {"state": record.state + (f": {_cell(record.why)}" if record.why else "")}


def _software(records: Records) -> list[str]:
  """A line for each platform on which speed was measured, with its packages."""
  lines: dict[str, None] = {}
  for record in records.values():
    if packages := record.found.get("packages"):
      versions = ", ".join(f"{name} {version}" for name, version in packages.items())
      platform = " ".join(record.found["platform"].split())
      lines[f"- {platform}: {versions}"] = None
  return list(lines)


def _starts(name: str, record: Record) -> Iterator[Cells]:
  for start in record.starts:
    versions = ", ".join(f"{k} {v}" for k, v in start["versions"].items())
    yield {
      "": name,
      "started": start["started"],
      "devices": f"{start['devices']} x {start['kind']}",
      "commit": start["commit"] or "unknown",
      "versions": versions,
    }


def _table(rows: Sequence[Cells]) -> Iterator[str]:
  return report_tables.table(list(rows[0]), [list(row.values()) for row in rows])


def _flags(settings: Mapping[str, Any]) -> str:
  return ", ".join(f"`{name}={value}`" for name, value in settings.items())


def _last(record: Record, curve: str, form: str, scale: float = 1) -> str:
  values = record.curves.get(curve, ((), ()))[1]
  return _number(scale * values[-1], form) if values else ""


def _number(value: float | None, form: str) -> str:
  return "" if value is None else f"{value:{form}}"


def _percent(share: float | None) -> str:
  return "" if share is None else f"{100 * share:.1f}"


def _cell(text: str) -> str:
  return text.replace("|", "\\|")
