"""The papers' claims, and the rules by which the runs decide on them."""

from collections.abc import Callable
from typing import NamedTuple

import scipy.stats

from reproduce.arms import ARMS
from reproduce.results import Result, Results, Seeds

LEARNED = 5.0  # points
FAILED = 2.0
MARGIN = 2.0
CONFIDENCE = 0.95

AGREES, DISAGREES, UNDECIDED = "agrees", "disagrees", "not decided"

RULES = f"""\
An arm has learned where with every seed its linear accuracy is at least {LEARNED:g}
points above that of itself untrained, and nothing has collapsed: its projections have a
spread of at least 0.1 and its features an effective rank of at least 2. It has failed
where with every seed it gains less than {FAILED:g} points. What lies between, or
differs from seed to seed, decides nothing. One arm is behind another where the
{100 * CONFIDENCE:g} % interval of the difference of their means (Welch's, which takes
several seeds) is below 0, and as good where it has learned and is not behind. It is far
behind one that has learned where it gains less than half as much. One loss is smaller
than another where that makes {MARGIN:g} points or more. As long as a run of an arm is
missing nothing is decided. Arms called “fast” have a predictor that learns four times
as fast as the rest, “slow” ones a tenth as fast; “long” ones make four times the steps.
These rules were written, and the setting chosen, on trials with seed 0, which is not
among the runs. Added when seed 1 was there: the claims on linear predictors, and, to
find out why others disagree, the slow and the long arms and group norm at one rate."""


def _linear(result: Result) -> float:
  return result.linear


def _gain(result: Result) -> float:
  return result.gain


def _learned(arm: Seeds) -> bool:
  return all(result.gain >= LEARNED and not result.collapsed for result in arm)


def _failed(arm: Seeds) -> bool:
  return all(result.gain < FAILED for result in arm)


def _behind(one: Seeds, other: Seeds) -> bool | None:
  """None where there are too few seeds to tell."""
  if min(len(one), len(other)) < 2:
    return None
  accuracies = ([result.linear for result in arm] for arm in (one, other))
  test = scipy.stats.ttest_ind(*accuracies, equal_var=False)
  return bool(test.confidence_interval(CONFIDENCE).high < 0)


def _verdict(holds: bool, fails: bool) -> str:
  return AGREES if holds else DISAGREES if fails else UNDECIDED


def learns(name: str) -> Callable[[Results], str]:
  """The arm has learned."""
  return lambda arms: _verdict(_learned(arms[name]), _failed(arms[name]))


def fails(name: str) -> Callable[[Results], str]:
  """The arm has learned nothing that its untrained form did not have."""
  return lambda arms: _verdict(_failed(arms[name]), _learned(arms[name]))


def is_far_behind(one: str, other: str) -> Callable[[Results], str]:
  """The first gains less than half of what the second does."""

  def decide(arms: Results) -> str:
    if not _learned(arms[other]):
      return UNDECIDED
    behind = arms[one].mean(_gain) < arms[other].mean(_gain) / 2
    return _verdict(behind, not behind)

  return decide


def as_good(one: str, other: str) -> Callable[[Results], str]:
  """The first has learned, and is not behind the second."""

  def decide(arms: Results) -> str:
    if (behind := _behind(arms[one], arms[other])) is None:
      return UNDECIDED
    return _verdict(_learned(arms[one]) and not behind, behind or _failed(arms[one]))

  return decide


def learns_less(one: str, other: str) -> Callable[[Results], str]:
  """The first has learned, and is behind the second."""

  def decide(arms: Results) -> str:
    if (behind := _behind(arms[one], arms[other])) is None:
      return UNDECIDED
    return _verdict(_learned(arms[one]) and behind, not behind or _failed(arms[one]))

  return decide


def loses_less(
  one: tuple[str, str], other: tuple[str, str]
) -> Callable[[Results], str]:
  """From its first to its second arm, one pair loses less than the other."""

  def decide(arms: Results) -> str:
    first, second = (
      arms[before].mean(_linear) - arms[after].mean(_linear)
      for before, after in (one, other)
    )
    return _verdict(second - first >= MARGIN, first - second >= MARGIN)

  return decide


class Claim(NamedTuple):
  """A row of the report.

  Attributes:
    says: the claim.
    source: paper and place.
    paper: its numbers, in its setting.
    arms: those whose numbers decide.
    decide: the rule.
  """

  says: str
  source: str
  paper: str
  arms: tuple[str, ...]
  decide: Callable[[Results], str]


_A, _B, _C = "BYOL", "BYOL without batch statistics", "RAFT"
_OURS = "our question"

CLAIMS = (
  Claim("BYOL learns", f"{_A}, table 1", "74.3", ("bn",), learns("bn")),
  Claim(
    "without any norm it fails",
    f"{_B}, 3.1",
    "0.1 (random)",
    ("none",),
    fails("none"),
  ),
  Claim(
    "without any norm it fails at four times the length",
    _OURS,
    "",
    ("none-long",),
    fails("none-long"),
  ),
  Claim(
    "batch norm in the encoder alone is enough",
    f"{_B}, 3.1; {_A}, section 5",
    "72.1, with all of them 72.5",
    ("bn-encoder", "bn"),
    as_good("bn-encoder", "bn"),
  ),
  Claim(
    "group norm and weight standardisation are enough",
    f"{_B}, 3.3",
    "73.9",
    ("gn-ws",),
    learns("gn-ws"),
  ),
  Claim(
    "they are as good as batch norm",
    f"{_B}, 3.3",
    "73.9 and 74.3",
    ("gn-ws", "bn"),
    as_good("gn-ws", "bn"),
  ),
  Claim(
    "batch norm as an initialisation learns, less well",
    f"{_B}, 3.2",
    "65.7 and 74.3",
    ("bn-init", "bn"),
    learns_less("bn-init", "bn"),
  ),
  Claim(
    "the same with a fast predictor",
    _OURS,
    "",
    ("bn-init-fast", "bn-fast"),
    learns_less("bn-init-fast", "bn-fast"),
  ),
  Claim(
    "with a fast predictor it still fails without any norm",
    _OURS,
    "",
    ("none-fast",),
    fails("none-fast"),
  ),
  Claim(
    "SimCLR without norms learns",
    f"{_B}, 3.1, by a review of it; notes on it say that it fails",
    "not known",
    ("simclr-none",),
    learns("simclr-none"),
  ),
  Claim(
    "BYOL without a predictor fails",
    f"{_A}, table 19",
    "0.2",
    ("bn-np",),
    fails("bn-np"),
  ),
  Claim(
    "a target that never moves (tau = 1) is far behind",
    f"{_A}, table 5a",
    "18.8 and 72.5",
    ("bn-tau-1", "bn"),
    is_far_behind("bn-tau-1", "bn"),
  ),
  Claim(
    "a target that is the online network (tau = 0) fails",
    f"{_A}, tables 5a; 19 and 21",
    "0.3; 5.5",
    ("bn-tau-0",),
    fails("bn-tau-0"),
  ),
  Claim(
    "tau = 1 is far behind at four times the length",
    _OURS,
    "",
    ("bn-tau-1-long", "bn-long"),
    is_far_behind("bn-tau-1-long", "bn-long"),
  ),
  Claim(
    "with a slow predictor tau = 0 fails",
    f"{_A}, table 21, by its trend",
    "5.5, and 62.8 with one twice as fast",
    ("bn-tau-0-slow",),
    fails("bn-tau-0-slow"),
  ),
  Claim(
    "with a slow predictor BYOL learns",
    _OURS,
    "",
    ("bn-slow",),
    learns("bn-slow"),
  ),
  Claim(
    "without colour BYOL loses less than SimCLR",
    f"{_A}, table 17",
    "72.5 to 63.4, 67.9 to 45.7",
    ("bn", "bn-no-colour", "simclr", "simclr-no-colour"),
    loses_less(("bn", "bn-no-colour"), ("simclr", "simclr-no-colour")),
  ),
  Claim("RAFT learns", f"{_C}, table 1", "71.3", ("raft",), learns("raft")),
  Claim(
    "BYOL' learns", f"{_C}, table 1", "69.2", ("byol-prime",), learns("byol-prime")
  ),
  Claim(
    "RAFT learns with a linear predictor",
    f"{_C}, table 1",
    "67.6",
    ("raft-linear",),
    learns("raft-linear"),
  ),
  Claim(
    "BYOL' learns with a linear predictor",
    f"{_C}, table 1",
    "68.6",
    ("byol-prime-linear",),
    learns("byol-prime-linear"),
  ),
  Claim(
    "RAFT fails without a predictor",
    f"{_C}, table 1",
    "11.7, untrained 42.7",
    ("raft-np",),
    fails("raft-np"),
  ),
  Claim(
    "BYOL' fails without a predictor",
    f"{_C}, table 1",
    "16.9, untrained 42.7",
    ("byol-prime-np",),
    fails("byol-prime-np"),
  ),
)


def verdict(claim: Claim, arms: Results) -> str:
  """agrees, disagrees, or not decided where runs are missing."""
  if any(len(arms.get(name, ())) < ARMS[name].seeds for name in claim.arms):
    return UNDECIDED
  return claim.decide(arms)
