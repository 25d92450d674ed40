"""The tables of the report."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import tables
from reproduce import agreement as agreements
from reproduce import arms, columns, rules
from reproduce.results import PROBES, Results, Seeds


def both(arm: Seeds | None, name: str) -> str:
  """Accuracies by both probes."""
  if arm is None:
    return "not run"
  wanted = len(arms.ARMS[name].seeds)
  missing = f", {len(arm)} of {wanted} runs" if len(arm) < wanted else ""
  return pair(lambda probe: arm.show(lambda r: r.accuracy(probe))) + missing


def pair(of: Callable[[str], str]) -> str:
  """What is said of both probes."""
  return " / ".join(map(of, PROBES))


def norms(found: Results) -> Iterator[str]:
  """BYOL, its frozen target and SimCLR with each norm."""
  kinds = {"BYOL": "{}", "target frozen": "{}-tau-1", "SimCLR": "simclr-{}"}
  yield from table(
    ("norm", *kinds, "BYOL - target frozen"),
    (
      (
        norm,
        *(
          both(found.get(name.format(norm)), name.format(norm))
          for name in kinds.values()
        ),
        difference(rules.ahead(norm, f"{norm}-tau-1"), found),
      )
      for norm in arms.NORMS
    ),
  )


def difference(rule: rules.Rule, found: Results) -> str:
  """That by which a rule goes: mean and bounds by both probes, of the same seeds."""
  difference_of = rule.difference
  seeds = [found[name] for name in rule.arms if name in found]
  same = all(arm.numbers == seeds[0].numbers for arm in seeds)
  if difference_of is None or len(seeds) < len(rule.arms) or not same:
    return ""

  def of(probe: str) -> str:
    by_seed = difference_of(seeds, probe)
    low, high = rules.interval(by_seed)
    return f"{np.mean(by_seed):+.1f} ({low:+.1f} to {high:+.1f})"

  return pair(of)


def independence(found: dict[str, Any]) -> Iterator[str]:
  """The study of an image and its batch."""
  yield (
    "All other images of a batch of real views are replaced, and the first stays: how"
    " far its prediction moves on the unit sphere (2 is the other side), and how much"
    " the prediction's gradient changes, relative to its length. Trained networks,"
    " training mode.\n"
  )
  yield from table(
    ("arm", "prediction", "gradient"),
    ((n, f"{f['prediction']:.3g}", f"{f['gradient']:.3g}") for n, f in found.items()),
  )


def mirror(found: dict[str, Any]) -> Iterator[str]:
  """The study of RAFT and BYOL'."""

  def last(precision: str, name: str) -> str:
    return f"{found[precision]['distances'][name][-1]:.2g}"

  yield (
    f"{found['steps']} steps of SGD on the same batches. RAFT's run is that of BYOL',"
    " its loss lower by 4, if it starts with the sign of the predictor's last layer W"
    " changed; if it starts alike, it is another. (The paper's theorem is for linear"
    " predictors; the algebra is the same for any whose last layer is linear, as"
    " here.) Distances are those of all parameters, relative to how far BYOL' has come,"
    " with W's sign changed back where it was changed; at the end"
    f" {last('float64', 'mirrored')} and {last('float64', 'as it is')} in float64. In"
    f" float32 ({last('float32', 'mirrored')}) rounding decides for some activations on"
    " which side of a ReLU they are, and the runs come apart. As W is as likely to"
    " start with one sign as with the other, RAFT and BYOL' with such a predictor do"
    " equally well but for chance."
  )


def costs(found: dict[str, Any]) -> Iterator[str]:
  """The study of a step's cost."""
  devices = {cost["devices"] for cost in found.values()}
  yield (
    "On one CPU device with all cores of the machine, taking turns: median, ± half of"
    " the interquartile range. Memory is what XLA sets aside for a step, without"
    " parameters, optimiser and images; all-reduces are those of the step compiled for"
    f" {', '.join(map(str, devices))} devices.\n"
  )
  yield from table(
    ("arm", "images/s", "temporary memory, MiB", "all-reduces", "arrays in them"),
    (
      (
        name,
        tables.with_spread(f"{cost['images_per_second']:.0f}", cost["spread"]),
        f"{cost['temp_mib']:.0f}",
        str(cost["collectives"]["all-reduce"]["ops"]),
        str(cost["collectives"]["all-reduce"]["arrays"]),
      )
      for name, cost in found.items()
    ),
  )


def runs(found: Results, pixels: Mapping[str, float] | None) -> Iterator[str]:
  """All measures of all arms."""
  yield (
    f"{columns.TEXT} The spread was logged about a hundred times a run, in trials of"
    " 3000 steps 30 times.\n"
  )
  yield from table(
    ("arm", "seeds", *columns.NAMES),
    (
      *(
        (name, str(len(arm)), *columns.measured(arm).values())
        for name, arm in found.items()
      ),
      *([("raw pixels", "", *columns.of_pixels(pixels).values())] if pixels else []),
    ),
  )


def agreement(found: Results) -> Iterator[str]:
  """How well measures without labels rank runs and checkpoints."""
  apart = {name: arm for name, arm in found.items() if agreements.stays_apart(arm)}
  runs, others = (sum(map(len, each.values())) for each in (found, apart))
  yield (
    f"Of the records of {runs} runs of any length. Spearman's rank correlation with"
    " linear accuracy (over runs); within a run, of the evaluations, with held-out kNN"
    " accuracy, the untrained network left out; lost: the points of it by which the"
    " evaluation that a measure ranks first is behind the best. In brackets: of the"
    f" {others} runs of arms whose projections end apart (common part below"
    f" {agreements.APART:g} with each seed): to tell a collapse is easier.\n"
  )
  by_all = agreements.agreement(found)
  by_apart = agreements.agreement(apart) if apart else None
  ranked = sorted(
    by_all,
    key=lambda name: by_all[name]["over_runs"] + by_all[name]["within_runs"],
    reverse=True,
  )

  def cell(name: str, kind: str, digits: int) -> str:
    both = [each[name][kind] for each in (by_all, by_apart) if each]
    shown, *in_brackets = (f"{value:.{digits}f}" for value in both)
    return " ".join([shown, *(f"({value})" for value in in_brackets)])

  digits = {"over_runs": 2, "within_runs": 2, "lost": 1}
  yield from table(
    ("measure", *(kind.replace("_", " ") for kind in digits)),
    (
      (name.replace("_", " "), *(cell(name, kind, n) for kind, n in digits.items()))
      for name in ranked
    ),
  )


def trials(found: Results) -> Iterator[str]:
  """The trials that chose the setting."""
  yield (
    "One run each with seed 0, which has no part in anything above; accuracies are on"
    " training images whose labels the probes have not seen (train[45000:], of"
    " train[:20000]). All that were made stand here. Their settings:"
    " `reproduce/trials.py`.\n"
  )
  yield from table(
    ("trial", *columns.NAMES),
    (
      (name.removeprefix("trial-"), *columns.measured(arm).values())
      for name, arm in found.items()
    ),
  )


def made(found: Sequence[Seeds], studies: dict[str, Any]) -> Iterator[str]:
  """With what, and by which commands, it was made."""
  notes = [note for arm in found for result in arm for note in result.made]
  notes += [note for study in studies.values() for note in study["made"]]
  seconds = [result.summary["seconds"] for arm in found for result in arm]
  yield f"- hours of a core: {sum(seconds) / 3600:.0f}, of {len(seconds)} runs"
  for key in ("commit", "machine", "versions", "day"):
    values = list(dict.fromkeys(note[key] for note in notes))
    yield f"- {key}: {'; '.join(values) or 'unknown'}"
  yield (
    "\nThe runs, each with `--config.seed` 1, 2 and 3, and besides with"
    " `--config.data.data_dir=DIR --workdir=RUN`:\n"
  )
  yield "```bash"
  for name in arms.ARMS:
    yield " ".join(["python -m byol_jax.main", *arms.first(name).flags()])
  yield "```"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
  """The lines of a Markdown table."""
  yield from map(tables.line, (heads, ["---"] * len(heads), *rows))
