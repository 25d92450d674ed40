"""Writes the report from the records of runs and studies: tables, and figures."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import tables
from reproduce import arms, claims, figures, results


def write(folder: Path) -> Path:
  """Writes report.md and its figures beside the records; the report's path."""
  found = results.read(folder)
  studies = {
    name: study
    for name in arms.STUDIES
    if (study := results.read_study(folder, name)) is not None
  }
  folder.mkdir(parents=True, exist_ok=True)
  figures.collapse(found, folder / "collapse.png")
  figures.batch_sizes(found, folder / "batch-size.png")
  if "mirror" in studies:
    figures.mirror(studies["mirror"]["found"], folder / "mirror.png")
  path = folder / "report.md"
  path.write_text("\n".join(_lines(found, studies)) + "\n")
  return path


def _lines(found: results.Results, studies: dict[str, Any]) -> Iterator[str]:
  yield "# The papers' argument on CIFAR-10\n"
  yield (
    "Written by `python -m reproduce`; what it means, and why the runs are as they"
    " are: [reproduction.md](../reproduction.md). Accuracies are those of a linear"
    " classifier on the frozen encoder's features of the whole test split, %, mean and"
    " standard deviation over seeds; “+” is how far that is above the same network"
    " untrained.\n"
  )
  yield "## Claims\n"
  yield from _claims(found)
  yield "\n## What collapse looks like\n"
  yield "![loss, spread, rank and kNN over training](collapse.png)\n"
  yield "First seeds. A low loss is no success: see it beside the other three.\n"
  if "independence" in studies:
    yield "## An image and its batch\n"
    yield from _independence(studies["independence"]["found"])
  if "mirror" in studies:
    yield "\n## RAFT is BYOL' in a mirror\n"
    yield "![losses of three runs, and how far they come apart](mirror.png)\n"
    yield from _mirror(studies["mirror"]["found"])
  yield "## Small batches\n"
  yield "![linear accuracy against batch size](batch-size.png)\n"
  yield (
    "The number of images seen is the same: small batches make more steps, at rates"
    " that go down with the batch but for the dashed green line. The dashed blue one"
    " has one length and one rate: batch norm alone sees fewer images.\n"
  )
  if "costs" in studies:
    yield "## What a step costs\n"
    yield from _costs(studies["costs"]["found"])
  yield "\n## All runs\n"
  yield from _runs(found)
  yield "\n## How it was made\n"
  yield from _made(found, studies)


def _claims(found: results.Results) -> Iterator[str]:
  def here(claim: claims.Claim) -> str:
    return "<br>".join(
      f"{name}: {_gain(found.get(name), arms.ARMS[name].seeds)}" for name in claim.arms
    )

  yield from _table(
    ("claim", "source", "the paper's numbers", "here", "verdict"),
    (
      (
        claim.says,
        claim.source,
        claim.paper,
        here(claim),
        f"**{claims.verdict(claim, found)}**",
      )
      for claim in claims.CLAIMS
    ),
  )
  yield ""
  yield from claims.RULES.splitlines()


def _gain(arm: results.Seeds | None, wanted: int) -> str:
  if arm is None:
    return "not run"
  gain = arm.mean(lambda result: result.gain)
  collapsed = sum(result.collapsed for result in arm)
  seeds = f", {collapsed} of {len(arm)} collapsed" if collapsed else ""
  missing = f", {len(arm)} of {wanted} runs" if len(arm) < wanted else ""
  return f"{arm.show(lambda result: result.linear)} ({gain:+.1f}){seeds}{missing}"


def _independence(found: dict[str, Any]) -> Iterator[str]:
  yield (
    "All other images of a batch of real views are replaced, and the first stays: how"
    " far its prediction moves on the unit sphere (2 is the other side), and how much"
    " the prediction's gradient changes, relative to its length. Trained networks,"
    " training mode.\n"
  )
  yield from _table(
    ("arm", "prediction", "gradient"),
    ((n, f"{f['prediction']:.3g}", f"{f['gradient']:.3g}") for n, f in found.items()),
  )


def _mirror(found: dict[str, Any]) -> Iterator[str]:
  def last(precision: str, name: str) -> str:
    return f"{found[precision]['distances'][name][-1]:.2g}"

  yield (
    f"{found['steps']} steps of SGD on the same batches. Started with the sign of the"
    " predictor's last layer W changed, RAFT's run is that of BYOL'; started alike, it"
    " is another. Distances are relative to how far BYOL' has come, W's sign changed"
    f" back; at the end {last('float64', 'mirrored')} and"
    f" {last('float64', 'as it is')} in float64. In float32"
    f" ({last('float32', 'mirrored')}) rounding decides for some activations on which"
    " side of a ReLU they are, and the runs come apart.\n"
  )


def _costs(found: dict[str, Any]) -> Iterator[str]:
  devices = {cost["devices"] for cost in found.values()}
  yield (
    "On one CPU device, taking turns on an otherwise idle machine; all-reduces are"
    f" those of the step compiled for {', '.join(map(str, devices))} devices.\n"
  )
  yield from _table(
    ("arm", "images/s", "temporary memory, MiB", "all-reduces", "arrays in them"),
    (
      (
        name,
        f"{cost['images_per_second']:.0f} ±{50 * cost['spread']:.0f}%",
        f"{cost['temp_mib']:.0f}",
        str(cost["collectives"]["all-reduce"]["ops"]),
        str(cost["collectives"]["all-reduce"]["arrays"]),
      )
      for name, cost in found.items()
    ),
  )


def _runs(found: results.Results) -> Iterator[str]:
  yield from _table(
    (
      "arm",
      "seeds",
      "linear",
      "untrained",
      "kNN",
      "untrained",
      "spread",
      "lowest on the way",
      "rank",
    ),
    (
      (
        name,
        str(len(arm)),
        arm.show(lambda r: r.linear),
        arm.show(lambda r: r.linear - r.gain),
        arm.show(lambda r: r.knn),
        arm.show(lambda r: r.untrained_knn),
        arm.show(lambda r: r.spread, 2),
        arm.show(lambda r: r.lowest_spread, 2),
        arm.show(lambda r: r.rank),
      )
      for name, arm in found.items()
    ),
  )


def _made(found: results.Results, studies: dict[str, Any]) -> Iterator[str]:
  notes = [note for arm in found.values() for result in arm for note in result.made]
  notes += [note for study in studies.values() for note in study["made"]]
  for key in ("commit", "machine", "versions", "day"):
    values = list(dict.fromkeys(note[key] for note in notes))
    yield f"- {key}: {'; '.join(values) or 'unknown'}"
  yield "\nThe runs, with `--config.seed` 1, 2 and 3 where there are three seeds:\n"
  yield "```bash"
  for run in arms.runs():
    if run.seed == arms.FIRST_SEED:
      yield " ".join(["python -m byol_jax.main", *run.flags()])
  yield "```"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
  yield from map(tables.line, (heads, ["---"] * len(heads), *rows))
