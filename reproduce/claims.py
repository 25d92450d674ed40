"""The papers' claims, and our own questions, with the rules that decide on them."""

from typing import NamedTuple

from reproduce import rules
from reproduce.arms import ARMS
from reproduce.results import Results


class Claim(NamedTuple):
  """A row of the report.

  Attributes:
    says: the claim, or a question.
    rule: by which arms decide on it.
    source: paper and place; none for a question of our own.
    paper: its numbers, in its setting.
  """

  says: str
  rule: rules.Rule
  source: str = ""
  paper: str = ""

  @property
  def arms(self) -> tuple[str, ...]:
    """Those whose numbers decide, in the order in which they are shown."""
    return self.rule.arms

  def answer(self, found: Results) -> bool | None:
    """Whether it holds; None where that is open, or runs are missing."""
    if any(len(found.get(name, ())) < ARMS[name].seeds for name in self.arms):
      return None
    return self.rule.answer(found)


_A, _B, _C = "BYOL", "BYOL without batch statistics", "RAFT"

CLAIMS = (
  Claim(
    "BYOL learns",
    rules.learns("bn"),
    f"{_A}, table 1",
    "74.3 (1000 epochs)",
  ),
  Claim(
    "BYOL without any norm learns nothing",
    rules.fails("none"),
    f"{_B}, 3.1",
    "0.1 (300 epochs)",
  ),
  Claim(
    "BYOL without any norm ends collapsed",
    rules.collapses("none"),
    f"{_B}, 3.1",
    "0.1, as good as chance",
  ),
  Claim(
    "batch norm in the encoder alone is enough",
    rules.as_good("bn-encoder", "bn"),
    f"{_B}, 3.1; {_A}, section 5",
    "72.1, everywhere 72.5 (300 epochs)",
  ),
  Claim(
    "group norm and weight standardisation are enough",
    rules.learns("gn-ws"),
    f"{_B}, 3.3",
    "73.9 (1000 epochs)",
  ),
  Claim(
    "group norm and weight standardisation are as good as batch norm",
    rules.as_good("gn-ws", "bn"),
    f"{_B}, 3.3; {_A}, table 1",
    "73.9 and 74.3 (1000 epochs)",
  ),
  Claim(
    "batch norm as an initialisation learns, less well than batch norm",
    rules.learns_less("bn-init", "bn"),
    f"{_B}, 3.2; {_A}, table 1",
    "65.7 and 74.3 (1000 epochs)",
  ),
  Claim(
    "SimCLR without norms learns",
    rules.learns("simclr-none"),
    f"{_B}, 3.1, by a review of it; notes on it say that it fails",
    "not known",
  ),
  Claim(
    "SimCLR learns, less well than BYOL",
    rules.learns_less("simclr", "bn"),
    f"{_A}, table 16",
    "67.9 and 72.5 (300 epochs)",
  ),
  Claim(
    "BYOL without a predictor learns nothing",
    rules.fails("bn-np"),
    f"{_A}, table 19",
    "0.2 (300 epochs)",
  ),
  Claim(
    "with a target that never moves (tau = 1) BYOL is far behind",
    rules.is_far_behind("bn-tau-1", "bn"),
    f"{_A}, table 5a",
    "18.8 and 72.5 (300 epochs)",
  ),
  Claim(
    "with a target that is the online network (tau = 0) BYOL learns nothing",
    rules.fails("bn-tau-0"),
    f"{_A}, table 5a; tables 19 and 21",
    "0.3; 5.5 (300 epochs)",
  ),
  Claim(
    "without colour BYOL loses less than SimCLR",
    rules.costs_less(("bn", "bn-no-colour"), ("simclr", "simclr-no-colour")),
    f"{_A}, table 17",
    "72.5 to 63.4, 67.9 to 45.7 (300 epochs)",
  ),
  Claim(
    "batch statistics of few images hurt BYOL",
    rules.hurts("bn", "bn-of-4"),
    f"{_A}, table 16",
    "72.5 with 4096, 59.7 with 64 (300 epochs)",
  ),
  Claim(
    "RAFT learns",
    rules.learns("raft"),
    f"{_C}, table 1",
    "71.3, untrained 42.7",
  ),
  Claim(
    "BYOL' learns",
    rules.learns("byol-prime"),
    f"{_C}, table 1",
    "69.2, untrained 42.7",
  ),
  Claim(
    "RAFT learns with a linear predictor",
    rules.learns("raft-linear"),
    f"{_C}, table 1",
    "67.6, untrained 42.7",
  ),
  Claim(
    "BYOL' learns with a linear predictor",
    rules.learns("byol-prime-linear"),
    f"{_C}, table 1",
    "68.6, untrained 42.7",
  ),
  Claim(
    "RAFT without a predictor learns nothing",
    rules.fails("raft-np"),
    f"{_C}, table 1",
    "11.7, untrained 42.7",
  ),
  Claim(
    "BYOL' without a predictor learns nothing",
    rules.fails("byol-prime-np"),
    f"{_C}, table 1",
    "16.9, untrained 42.7",
  ),
)

_GN_WS = "group norm with weight standardisation"

QUESTIONS = (
  Claim(
    "At four times the length: does BYOL without any norm learn nothing?",
    rules.fails("none-long"),
  ),
  Claim(
    f"Does it learn with {_GN_WS}?",
    rules.learns("gn-ws-long"),
  ),
  Claim(
    "Is it far behind with tau = 1?",
    rules.is_far_behind("bn-tau-1-long", "bn-long"),
  ),
  Claim(
    "With a fast predictor: does BYOL without any norm learn nothing?",
    rules.fails("none-fast"),
  ),
  Claim(
    f"Is {_GN_WS} as good as batch norm?",
    rules.as_good("gn-ws-fast", "bn-fast"),
  ),
  Claim(
    "Does batch norm as an initialisation learn, less well than batch norm?",
    rules.learns_less("bn-init-fast", "bn-fast"),
  ),
  Claim(
    "Is BYOL far behind with tau = 1?",
    rules.is_far_behind("bn-tau-1-fast", "bn-fast"),
  ),
  Claim(
    "With a slow predictor: does BYOL learn?",
    rules.learns("bn-slow"),
  ),
  Claim(
    "Does it learn nothing with tau = 0?",
    rules.fails("bn-tau-0-slow"),
  ),
  Claim(
    "With 34 layers: does it learn with batch norm?",
    rules.learns("bn-deep"),
  ),
  Claim(
    "Under SGD: does it learn with batch norm?",
    rules.learns("bn-sgd"),
  ),
  Claim(
    "Does BYOL without any norm end collapsed?",
    rules.collapses("none-sgd"),
  ),
  Claim(
    f"Does it with {_GN_WS}?",
    rules.collapses("gn-ws-sgd"),
  ),
  Claim(
    "Under SGD, at four times the length: does BYOL without any norm end collapsed?",
    rules.collapses("none-sgd-long"),
  ),
  Claim(
    f"Does it learn with {_GN_WS}?",
    rules.learns("gn-ws-sgd-long"),
  ),
  Claim(
    "At a batch of 16: does it hurt batch norm?",
    rules.hurts("bn", "bn-batch-16"),
  ),
  Claim(
    f"Does it hurt {_GN_WS}?",
    rules.hurts("gn-ws", "gn-ws-batch-16"),
  ),
  Claim(
    "Does it at the rate of a batch of 128?",
    rules.hurts("gn-ws", "gn-ws-one-rate-16"),
  ),
)
