"""The papers' claims, and the rules by which the runs decide on them."""

import math
from collections.abc import Callable
from typing import NamedTuple

from reproduce.arms import ARMS
from reproduce.results import Arm, Arms, Result

LEARNED = 5.0  # points
NOISE = 2.0

AGREES, DISAGREES, UNDECIDED = "agrees", "disagrees", "not decided"

RULES = f"""\
A network has learned where its linear accuracy is at least {LEARNED:g} points above
that of itself untrained and its projections have not collapsed, with every seed; it has
failed where with every seed one of the two is missing. One arm is as good as another,
or behind it, where the difference of the means is within, or beyond, {NOISE:g} standard
deviations of that difference; arms with one seed do not decide such a claim. It is far
behind where it gains less than half as much over itself untrained. As long as a run of
an arm is missing nothing is decided. Arms called “fast” have a predictor that learns
four times as fast as the rest. The rules are older than the runs, but for the one about
missing runs; the setting was chosen by trials with seed 0."""


def _linear(result: Result) -> float:
  return result.linear


def _learned(arm: Arm) -> bool:
  return all(result.gain >= LEARNED and not result.collapsed for result in arm)


def _failed(arm: Arm) -> bool:
  """No run of it has learned anything that its untrained form did not have."""
  return all(result.collapsed or result.gain < LEARNED for result in arm)


def _difference(one: Arm, other: Arm) -> tuple[float, float | None]:
  """Of the means, and its standard deviation where both have several seeds."""
  difference = one.mean(_linear) - other.mean(_linear)
  variances = [
    deviation**2 / len(arm)
    for arm in (one, other)
    if (deviation := arm.deviation(_linear)) is not None
  ]
  return difference, math.sqrt(sum(variances)) if len(variances) == 2 else None


def _verdict(holds: bool) -> str:
  return AGREES if holds else DISAGREES


def learns(name: str) -> Callable[[Arms], str]:
  """The arm has learned."""
  return lambda arms: _verdict(_learned(arms[name]))


def fails(name: str) -> Callable[[Arms], str]:
  """The arm has collapsed, or learned nothing."""
  return lambda arms: _verdict(_failed(arms[name]))


def is_far_behind(one: str, other: str) -> Callable[[Arms], str]:
  """The first gains less than half of what the second does."""

  def decide(arms: Arms) -> str:
    gains = [arms[name].mean(lambda result: result.gain) for name in (one, other)]
    return _verdict(gains[0] < gains[1] / 2)

  return decide


def stays_apart(name: str) -> Callable[[Arms], str]:
  """The arm has not collapsed with any seed."""
  return lambda arms: _verdict(not any(result.collapsed for result in arms[name]))


def as_good(one: str, other: str) -> Callable[[Arms], str]:
  """The first is not behind the second by more than noise."""

  def decide(arms: Arms) -> str:
    difference, deviation = _difference(arms[one], arms[other])
    if deviation is None:
      return UNDECIDED
    return _verdict(difference >= -NOISE * deviation)

  return decide


def learns_less(one: str, other: str) -> Callable[[Arms], str]:
  """The first has learned, and is behind the second by more than noise."""

  def decide(arms: Arms) -> str:
    difference, deviation = _difference(arms[one], arms[other])
    if deviation is None:
      return UNDECIDED
    return _verdict(_learned(arms[one]) and difference < -NOISE * deviation)

  return decide


def loses_less(one: tuple[str, str], other: tuple[str, str]) -> Callable[[Arms], str]:
  """From its first to its second arm, one pair loses less than the other."""

  def decide(arms: Arms) -> str:
    losses = [
      arms[before].mean(_linear) - arms[after].mean(_linear)
      for before, after in (one, other)
    ]
    return _verdict(losses[0] < losses[1])

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
  decide: Callable[[Arms], str]


_A, _B, _C = "BYOL", "BYOL without batch statistics", "RAFT"

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
    "batch norm in the encoder alone is enough",
    f"{_B}, 3.1",
    "72.1, with all of them 72.5",
    ("bn-encoder", "bn"),
    learns("bn-encoder"),
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
    "the same, with a fast predictor",
    f"{_B}, 3.2",
    "65.7 and 74.3",
    ("bn-init-fast", "bn-fast"),
    learns_less("bn-init-fast", "bn-fast"),
  ),
  Claim(
    "with a fast predictor it still fails without any norm",
    "our question",
    "",
    ("none-fast",),
    fails("none-fast"),
  ),
  Claim(
    "SimCLR without norms does not collapse",
    f"{_B}, 3.1",
    "“still performs reasonably well”",
    ("simclr-none",),
    stays_apart("simclr-none"),
  ),
  Claim(
    "BYOL without a predictor collapses",
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
    f"{_A}, table 5a",
    "0.3",
    ("bn-tau-0",),
    fails("bn-tau-0"),
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


def verdict(claim: Claim, arms: Arms) -> str:
  """agrees, disagrees, or not decided where runs are missing."""
  if any(len(arms.get(name, ())) < ARMS[name].seeds for name in claim.arms):
    return UNDECIDED
  return claim.decide(arms)
