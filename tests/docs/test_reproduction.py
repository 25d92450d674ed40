"""Accuracies, bounds and verdicts of reproduction.md are those of its records."""

import json
import re
import statistics
from pathlib import Path

import numpy as np

from reproduce import agreement, arms, claims, records, results, rules
from reproduce.trials import TRIALS
from tests.docs import tables

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = "docs/reproduction.md"
_REPORT = _ROOT / "docs" / "reproduction"
_RECORDS = _REPORT / "accelerator"


def page():
  """Its text in one line."""
  return " ".join((_ROOT / _PAGE).read_text().split())


def larger(stage):
  """Linear and kNN accuracy of a stage on the accelerator, %."""
  found = json.loads((_RECORDS / f"{stage}.json").read_text())["found"]
  return [100 * found[probe]["encoder"] for probe in results.PROBES]


def linear(run):
  return run.accuracy("linear")


def means(arm):
  """Accuracies of an arm by both probes, as the pages write them."""
  both = (arm.mean(lambda run, p=p: run.accuracy(p)) for p in results.PROBES)
  return " / ".join(f"{mean:.1f}" for mean in both)


def test_verdicts_are_those_of_the_records():
  found = records.read(_REPORT, arms.ARMS)
  pixels = records.read_pixels(_REPORT)
  _, _, *table = tables.rows(_PAGE, "# The papers").values()
  words = {
    claims.Answer.YES: "agrees",
    claims.Answer.NO: "disagrees",
    claims.Answer.OPEN: "not decided",
    claims.Answer.MISSING: "runs missing",
  }
  answers = [claim.answer(found, pixels) for claim in claims.CLAIMS]
  assert [row[3] for row in table] == [words[answer] for answer in answers]
  agree, disagree, open_, missing = map(answers.count, words)
  readme = " ".join((_ROOT / "README.md").read_text().split())
  assert (
    f"Of {len(answers)} claims of the papers, {agree} agree, {disagree} disagree, and"
    f" {open_} are not decided"
  ) in readme
  assert not missing
  runs = sum(len(arm.seeds) for arm in arms.ARMS.values())
  assert f"All of it is {runs} runs" in readme
  decide = {name for each in claims.CLAIMS for name in (*each.arms, *each.beside)}
  assert f"the first {3 * len(decide)} decide" in readme
  for row, claim in zip(table, claims.CLAIMS, strict=True):
    if any(len(found.get(a, ())) < len(arms.ARMS[a].seeds) for a in claim.arms):
      assert not row[1]
    elif len(claim.arms) == 4:
      a, b, c, d = (found[name].mean(linear) for name in claim.arms)
      assert row[1] == f"{a:.1f} to {b:.1f}, {c:.1f} to {d:.1f}"
    else:
      assert row[1] == means(found[claim.arms[0]])


# By which stages, each one run, larger runs stand beside an arm's.
_LARGER = {
  "bn": "bn",
  "bn-tau-1": "bn-tau-1",
  "none": "none",
  "gn-ws": "gn-ws",
  "simclr-bn": "simclr",
}


def arm_means(name):
  """Accuracies of an arm by its name."""
  return means(records.read(_REPORT, arms.ARMS)[name])


def apart(one, other):
  """By how much one arm is ahead of another, as the pages write it."""
  found = records.read(_REPORT, arms.ARMS)
  differences = (
    found[one].mean(lambda run, p=p: run.accuracy(p))
    - found[other].mean(lambda run, p=p: run.accuracy(p))
    for p in results.PROBES
  )
  return " / ".join(f"{each:.1f}" for each in differences)


def apart_larger(one, other):
  """The same of stages on the accelerator."""
  both = zip(larger(one), larger(other), strict=True)
  return " / ".join(f"{a - b:.1f}" for a, b in both)


def test_differences_are_those_of_the_records_not_of_rounded_means():
  own = apart("gn-ws", "gn-ws-tau-1"), apart_larger("gn-ws", "gn-ws-tau-1")
  bn = apart("bn", "bn-tau-1"), apart_larger("bn", "bn-tau-1")
  simclr, byol = apart("simclr-bn", "simclr-none"), apart("bn", "none")
  ahead = apart("simclr-bn", "bn"), apart_larger("simclr", "bn")
  behind = apart("bn", "gn-ws"), apart_larger("bn", "gn-ws")
  for sentence in (
    "gains {1} points in a larger run and {0} in small ones".format(*own),
    "Its target brings more, {1} and {0}".format(*bn),
    f"it brings {apart('bn-ws', 'bn-ws-tau-1')}: by kNN not surely anything.",
    f"**Group norm costs {apart('bn-ws', 'gn-ws-at-once')} points** where weights are"
    f" standardised and no target waits, and {apart('bn-ws', 'gn-ws')} where that of",
    f"it costs {apart('simclr-bn-ws', 'simclr-gn-ws')}.**",
    "In the larger runs its target brings"
    f" {apart_larger('gn-ws-at-once', 'gn-ws-tau-1')} without any wait.",
    "| {} behind, {} in the larger runs;".format(*behind),
    f"larger runs; {apart('bn-ws', 'gn-ws')} behind batch norm with standardised",
    f"is ahead of BYOL with GN + WS** by {apart('bn-ws-tau-1', 'gn-ws')}.",
    f"it brings {apart('gn-ws', 'gn-ws-at-once')} points and costs batch norm"
    f" {apart('bn', 'bn-waits')}.",
    f"Without norms BYOL loses {byol} points, SimCLR {simclr}.",
    "Measured: by {} points small, by {} larger.".format(*ahead),
    f"BYOL loses {apart('bn', 'bn-no-colour')}, SimCLR"
    f" {apart('simclr-bn', 'simclr-no-colour')} and its lead",
    f"; {apart('bn', 'raft')} behind BYOL with LARS",
    f"| {apart('bn', 'bn-init')} behind, in a setting",
    f"it has {arm_means('bn-tau-996')}, which is {apart('bn', 'bn-tau-996')} behind,",
    f"never moves is {apart('bn', 'bn-tau-1')} behind.",
    f"the wait brought {apart_larger('gn-ws', 'gn-ws-at-once')} (one seed)",
  ):
    assert sentence in page()


def test_norms_and_standardised_weights():
  found = records.read(_REPORT, arms.ARMS)
  _, _, *table = tables.rows(_PAGE, "### GN + WS is behind").values()
  names = "bn", "bn-ws", "gn-ws-at-once", "gn-ws"
  for row, name in zip(table, names, strict=True):
    norm = name.removesuffix("-at-once")
    frozen, simclr = f"{norm}-tau-1", f"simclr-{norm}"
    both = [means(found[each]) for each in (name, frozen, simclr)]
    assert row == [both[0], both[1], apart(name, frozen), both[2]]


def test_how_near_to_collapse_runs_begin_and_end():
  def common(health):
    return health["projection_common"]

  found = records.read(_REPORT, arms.ARMS)
  start, end, batch_norm = (
    found[arm].mean(lambda r, network=network: r.health("projection_common", network))
    for arm, network in (
      ("none", "untrained"),
      ("none", "encoder"),
      ("bn", "untrained"),
    )
  )
  larger = json.loads((_RECORDS / "none.json").read_text())["found"]["health"]
  assert (
    f"is {start:.2f} at the start (batch norm: {batch_norm:.2f}) and {end:.2f} after"
  ) in page()
  assert (
    f"the larger network starts at {common(larger['untrained']):.2f} and ends at"
    f" {common(larger['encoder']):.2f}, with"
  ) in page()


def test_collapse_by_depth():
  def both(of, arm):
    return " / ".join(
      f"{arm.mean(lambda r, p=p: of(r, p)):.1f}" for p in results.PROBES
    )

  def ends_in_one_point(run):
    below = all(run.accuracy(p) < run.untrained(p) for p in results.PROBES)
    return below and min(run.feature_common, run.projection_common) > rules.COMMON

  found = records.read(_REPORT, arms.ARMS)
  _, _, *table = tables.rows(_PAGE, "**With a predictor no faster").items()
  assert [name for name, _ in table] == [str(depth) for depth in arms.DEPTHS]
  collapsed = 0
  for name, row in table:
    arm = found[f"none-depth-{name}"]
    in_one_point = sum(map(ends_in_one_point, arm))
    collapsed += in_one_point
    before = arm.mean(lambda r: r.health("projection_common", "untrained"))
    assert row == [
      both(results.Result.accuracy, arm),
      both(results.Result.untrained, arm),
      f"{before:.2f}",
      f"{in_one_point} of {len(arm)}",
    ]
    assert rules.collapses("").decide(arm, pixels={}) is False
  assert collapsed == 10
  assert "[ten of twelve end in one point]" in page()
  for sentence in (
    f"the slow one ends in one point ({trial('none-depth-50-predictor-1')}), the one 30"
    f" times as fast does not ({trial('none-depth-50-predictor-30')}).",
    f"At 10 layers neither does ({trial('none-depth-10-predictor-1')} and"
    f" {trial('none-depth-10-predictor-30')}).",
  ):
    assert sentence in page()
  ends = {
    name: trial_record(f"none-depth-{name}")["summary"]["health"]["encoder"][
      "projection_common"
    ]
    > rules.COMMON
    for name in (
      "10-predictor-1",
      "10-predictor-30",
      "50-predictor-1",
      "50-predictor-30",
    )
  }
  assert [name for name, in_one_point in ends.items() if in_one_point] == [
    "50-predictor-1"
  ]


def test_how_long_it_took():
  both = arms.ARMS, TRIALS
  runs, trials = (
    [
      r.summary["seconds"] / 60
      for arm in records.read(_REPORT, table).values()
      for r in arm
    ]
    for table in both
  )
  assert (
    f"takes {statistics.median(runs):.0f} minutes of a core (median; most take 6 to"
    f" 30), and an arm is three of them: {sum(runs + trials) / 60:.0f} hours for the"
    f" {len(runs)} runs and {len(trials)} trials"
  ) in page()
  assert sum(6 <= minutes <= 30 for minutes in runs) > 0.8 * len(runs)
  readme = " ".join((_ROOT / "README.md").read_text().split())
  assert f"runs of {statistics.median(runs):.0f} minutes of a core (median)" in readme


def test_the_papers_and_the_larger_runs_numbers():
  _, _, *table = tables.rows(_PAGE, "# The papers").values()
  for row, claim in zip(table, claims.CLAIMS, strict=True):
    cited = re.findall(r"\d+\.\d+", claim.paper.partition(";")[0])
    assert re.findall(r"\d+\.\d+", row[0]) == [n for n in cited if n in row[0]]
    stage = _LARGER.get(claim.arms[0]) if len(claim.arms) <= 2 else None
    shown = " / ".join(f"{each:.1f}" for each in larger(stage)) if stage else ""
    assert row[2] == shown


def test_what_sgd_does():
  found = records.read(_REPORT, arms.ARMS)
  names = {"no norm": "none", "GN + WS": "gn-ws", "batch norm": "bn"}
  _, _, *table = tables.rows(_PAGE, "### Under SGD").items()
  assert [name for name, _ in table] == list(names)
  for name, row in table:
    arm = found[f"{names[name]}-sgd"]
    assert len(arm) == 3

    def both(of, arm=arm):
      return " / ".join(
        f"{arm.mean(lambda r, p=p: of(r, p)):.1f}" for p in results.PROBES
      )

    collapsed = rules.projections_collapse("").decide(arm, pixels={})
    assert row == [
      both(results.Result.accuracy),
      both(results.Result.untrained),
      f"{arm.mean(lambda r: r.projection_common):.2f}",
      f"{arm.mean(lambda r: r.feature_common):.2f}",
      {True: "yes", False: "no"}[collapsed],
    ]
    assert rules.collapses("").decide(arm, pixels={}) is False


# What takes the place of the learned predictor -> the end of its arm's name.
_INSTEAD = {
  "a learned predictor": "",
  "the same, targets centred over the batch": "-centred",
  "DirectPred": "-direct-pred",
  "DirectCopy": "-direct-copy",
  "an orthogonal predictor": "-orthogonal",
}


def test_other_predictors_under_sgd():
  found = records.read(_REPORT, arms.ARMS)
  _, _, *table = tables.rows(_PAGE, "**DirectPred keeps GN + WS from it").items()
  assert [name for name, _ in table] == list(_INSTEAD)
  for name, row in table:
    expected = []
    for norm in ("gn-ws", "none"):
      arm = found[f"{norm}-sgd{_INSTEAD[name]}"]
      assert len(arm) == 3
      one_point = sum(r.projection_common > rules.COMMON for r in arm)
      expected += [means(arm), str(one_point)]
    assert [cell.strip("*") for cell in row] == expected
  spread = {
    name: found[f"gn-ws-sgd-{name}"].mean(lambda r: r.health("spread"))
    for name in ("centred", "direct-pred")
  }
  for sentence in (
    f"worth {apart('gn-ws-sgd-direct-pred', 'gn-ws-sgd')} points to GN + WS,** which"
    f" is then {apart('bn-sgd', 'gn-ws-sgd-direct-pred')} behind batch norm",
    "(spread {centred:.2f}, DirectPred {direct-pred:.2f}), and bring {}.".format(
      apart("gn-ws-sgd-centred", "gn-ws-sgd"), **spread
    ),
  ):
    assert sentence in page()


def test_other_predictors_where_the_target_moves_at_once():
  names = {
    **{words: (f"gn-ws{end}", f"none{end}") for words, end in _INSTEAD.items()},
    "a learned predictor": ("gn-ws-at-once", "none"),
    "DirectPred and IsoLoss": ("gn-ws-iso", None),
    "a learned predictor, and the wait": ("gn-ws", None),
  }
  found = records.read(_REPORT, arms.ARMS)
  _, _, *table = tables.rows(_PAGE, "### One batch statistic").items()
  assert {name for name, _ in table} == set(names)
  for name, row in table:
    expected = []
    for arm in names[name]:
      lowest = arm and f"{found[arm].mean(lambda r: r.lowest_spread):.2f}"
      expected += [means(found[arm]), lowest] if arm else ["", ""]
    assert row == expected
  both = [means(found[name]) for name in ("bn-direct-pred", "bn")]
  assert "is as good** as the learned predictor: {}, and {}.".format(*both) in page()
  assert rules.as_good("bn-direct-pred", "bn").answer(found, {})
  for arm in found["none-orthogonal"]:
    assert all(arm.accuracy(p) < arm.untrained(p) for p in results.PROBES)
  for arm in found["gn-ws-orthogonal"]:
    assert arm.accuracy("knn") < arm.untrained("knn")


def test_how_measures_without_labels_agree():
  found = records.read(_REPORT, arms.ARMS)
  apart = {name: arm for name, arm in found.items() if agreement.stays_apart(arm)}
  every, healthy = (agreement.agreement(each) for each in (found, apart))
  how_to = " ".join((_ROOT / "docs/how-to/no-labels.md").read_text().split())
  assert (
    f"linear accuracy is {every[agreement.SUM]['over_runs']:.2f}, and"
    f" {healthy[agreement.SUM]['over_runs']:.2f} among arms whose projections end"
    " apart."
  ) in how_to
  assert every[agreement.SUM]["lost"] + 0.3 < every[agreement.NEWEST]["lost"]
  assert healthy[agreement.SUM]["lost"] > healthy[agreement.NEWEST]["lost"]


def test_what_the_batch_does_to_an_image():
  found = records.read_study(_REPORT, "independence")["found"]
  _, _, *table = tables.rows(_PAGE, "### Only batch norm sees").values()
  assert table == [
    [f"{found[name]['prediction']:.3g}", f"{100 * found[name]['gradient']:.0f} %"]
    for name in ("bn", "gn-ws", "none")
  ]
  assert [found[name]["prediction"] for name in ("gn-ws", "none")] == [0, 0]


def test_batches():
  found = records.read(_REPORT, arms.ARMS)
  _, _, *table = tables.rows(_PAGE, "### A fast target").items()
  assert [name for name, _ in table] == ["64", "128", "512"]
  for name, row in table:
    both = [arm if name == "128" else f"{arm}-batch-{name}" for arm in ("bn", "gn-ws")]
    config = found[both[0]][0].config
    rate = config["optimiser"]["learning_rate"] * int(name) / 256
    assert row == [
      str(config["train"]["steps"]),
      f"{rate:g}",
      f"{config['target']['tau']:g}",
      *(means(found[arm]) for arm in both),
      f"{found[both[1]].mean(lambda r: r.lowest_spread):.2f}",
    ]
  for run in found["gn-ws-batch-512"]:
    assert min(run.feature_common, run.projection_common) > rules.COMMON
    assert run.accuracy("knn") < run.untrained("knn")
  falls = [
    dict(zip(*r.curves["spread"], strict=True)) for r in found["gn-ws-batch-512"]
  ]
  before, after = (np.mean([fall[step] for fall in falls]) for step in (248, 264))
  assert f"from a spread of {before:.2f} to {after:.2f} in 16 steps" in page()
  knn = {
    size: found[f"bn-batch-{size}"].mean(lambda r: r.accuracy("knn"))
    - found["bn"].mean(lambda r: r.accuracy("knn"))
    for size in (64, 512)
  }
  assert f"{-knn[512]:.1f} less at 512, {knn[64]:.1f} more at 64" in page()


# Of 750 steps, in the order of the page.
_OF_750_STEPS = (
  "gn-ws-batch-512-at-once",
  "gn-ws-batch-512-rate-075",
  "gn-ws-batch-512-rate-0375",
  "gn-ws-batch-512-wait-67",
  "gn-ws-batch-512-warmup-80",
  "gn-ws-batch-512-at-once-rate-0375",
  "gn-ws-batch-512-tau-98",
  "gn-ws-steps-750",
  "gn-ws-steps-750-tau-98",
)


def test_what_collapses_in_few_steps():
  _, _, *table = tables.read(_PAGE, "**It is the target's pace")
  for row, name in zip(table, _OF_750_STEPS, strict=True):
    config = trial_record(name)["config"]
    target, rate = config["target"], config["optimiser"]
    batch = config["train"]["batch_size"]
    assert config["train"]["steps"] == 750
    spread = trial_record(name)["curves"]["spread"][1]
    assert row == [
      str(batch),
      f"{target['tau']:g}",
      f"{rate['learning_rate'] * batch / 256:g}",
      {0.0: "none", 1.0: "a third", 2.0: "two thirds"}[round(3 * target["frozen"], 3)],
      f"{100 * rate['warmup']:g} %",
      trial(name),
      f"{min(spread):.2f}",
      f"{trial_record(name)['summary']['health']['encoder']['spread']:.2f}",
    ]
  assert (
    f"At 3000 steps such a trial has {trial('gn-ws-frozen-predictor-30')}." in page()
  )
  larger_run = json.loads((_RECORDS / "gn-ws.json").read_text())
  lowest = min(larger_run["curves"]["spread"][1])
  assert f"and a lowest spread of {lowest:.2f}." in page()


def trial_record(name):
  """The record of a trial."""
  return json.loads((_REPORT / "runs" / f"trial-{name}-seed0.json").read_text())


def trial(name):
  """Linear and kNN accuracy of a trial, as the page writes them."""
  found = trial_record(name)["summary"]
  return " / ".join(f"{100 * found[p]['encoder']:.1f}" for p in ("linear", "knn"))


def test_the_trials():
  table = tables.rows(_PAGE, "What made GN + WS profit")
  assert list(table.values())[2:] == [
    [trial("gn-ws-tau-1"), trial("gn-ws-tau-1-predictor-30")],
    [trial("gn-ws-tau-98"), trial("gn-ws-predictor-30")],
    ["not among these", trial("gn-ws-frozen-predictor-30")],
  ]
  rates = tables.rows(_PAGE, "Rates of each norm")
  shown = [cell.replace("*", "") for row in list(rates.values())[2:] for cell in row]
  assert shown == [
    "not tried",
    *(trial(f"bn-{name}") for name in ("rate-075", "predictor-30", "rate-3")),
    "not tried",
    trial("gn-ws-frozen-rate-075"),
    trial("gn-ws-frozen-predictor-30"),
    trial("gn-ws-frozen-rate-3"),
    *map(trial, ("none-rate-0375", "none-rate-075", "none")),
    "not tried",
    *("not tried", trial("none-frozen-rate-075"), trial("none-frozen"), "not tried"),
    *("not tried", trial("bn-ws-rate-075"), trial("bn-ws"), "not tried"),
  ]
