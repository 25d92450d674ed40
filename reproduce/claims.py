"""The papers' claims, and our own questions, with the rules that decide on them."""

import enum
from collections.abc import Mapping
from typing import NamedTuple

from reproduce import arms, rules
from reproduce.arms import ARMS, Arm, Run
from reproduce.results import Results


class Answer(enum.Enum):
  """What runs say of a claim; MISSING as long as some of its runs are to come."""

  YES = True
  NO = False
  OPEN = None
  MISSING = "missing"


class Claim(NamedTuple):
  """A row of the report.

  Attributes:
    says: the claim, or a question.
    rule: by which arms decide on it.
    source: paper and place; none for a question of our own.
    paper: its numbers, in its setting.
    beside: arms whose numbers are shown too, and decide nothing.
  """

  says: str
  rule: rules.Rule
  source: str = ""
  paper: str = ""
  beside: tuple[str, ...] = ()

  @property
  def arms(self) -> tuple[str, ...]:
    """Those whose numbers decide, in the order in which they are shown."""
    return self.rule.arms

  def answer(self, found: Results, pixels: Mapping[str, float] | None) -> Answer:
    """Whether it holds, by all seeds of its arms and by raw pixels."""
    if pixels is None:
      return Answer.MISSING
    if any(len(found.get(name, ())) < len(ARMS[name].seeds) for name in self.arms):
      return Answer.MISSING
    return Answer(self.rule.answer(found, pixels))


_A, _B, _C = "BYOL", "BYOL without batch statistics", "RAFT"

GATE = Claim(
  "BYOL is ahead of its own frozen target, and both are above pixels",
  rules.passes_the_gate("bn", "bn-tau-1"),
)

CLAIMS = (
  Claim("BYOL learns", rules.learns("bn"), f"{_A}, table 1", "74.3 (1000 epochs)"),
  Claim(
    "with a target that never moves (tau = 1) BYOL is behind",
    rules.behind("bn-tau-1", "bn"),
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
    "BYOL without a predictor learns nothing",
    rules.fails("bn-np"),
    f"{_A}, table 19",
    "0.2 (300 epochs)",
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
    "batch norm in the encoder alone is as good as everywhere",
    rules.as_good("bn-encoder", "bn"),
    f"{_B}, 3.1; {_A}, section 5",
    "72.1, everywhere 72.5 (300 epochs)",
  ),
  Claim(
    "BYOL with group norm and weight standardisation learns",
    rules.learns("gn-ws"),
    f"{_B}, 3.3",
    "73.9 (1000 epochs)",
    ("simclr-gn-ws",),
  ),
  Claim(
    "group norm and weight standardisation are as good as batch norm",
    rules.as_good("gn-ws", "bn"),
    f"{_B}, 3.3; {_A}, table 1",
    "73.9 and 74.3 (1000 epochs)",
    ("simclr-gn-ws", "simclr-bn"),
  ),
  Claim(
    "batch norm as an initialisation learns",
    rules.learns("bn-init"),
    f"{_B}, 3.2",
    "65.7 (1000 epochs)",
  ),
  Claim(
    "batch norm as an initialisation is behind batch norm",
    rules.behind("bn-init", "bn"),
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
    "SimCLR is behind BYOL",
    rules.behind("simclr-bn", "bn"),
    f"{_A}, table 16",
    "67.9 and 72.5 (300 epochs)",
  ),
  Claim(
    "without colour BYOL loses less than SimCLR",
    rules.costs_less(("bn", "bn-no-colour"), ("simclr-bn", "simclr-no-colour")),
    f"{_A}, table 17",
    "72.5 to 63.4, 67.9 to 45.7 (300 epochs)",
  ),
  Claim(
    "batch norm over few images is behind",
    rules.behind("bn-of-4", "bn"),
    f"{_A}, table 16",
    "59.7 with 64 images, 72.5 with 4096 (300 epochs)",
  ),
  Claim("RAFT learns", rules.learns("raft"), f"{_C}, table 1", "71.3, untrained 42.7"),
  Claim(
    "BYOL' learns", rules.learns("byol-prime"), f"{_C}, table 1", "69.2, untrained 42.7"
  ),
  Claim(
    "RAFT is ahead of BYOL, both with RAFT's Adam",
    rules.ahead("raft", "bn-adam"),
    f"{_C}, table 1",
    "71.3 and 64.3",
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


def runs(table: Mapping[str, Arm]) -> list[Run]:
  """The runs of some arms, first of those that the papers' claims are decided by."""
  decide = {name for each in (GATE, *CLAIMS) for name in (*each.arms, *each.beside)}
  first = {name: arm for name, arm in table.items() if name in decide}
  others = {name: arm for name, arm in table.items() if name not in decide}
  return [*arms.runs(first), *arms.runs(others)]


_GN_WS = "group norm and weight standardisation"


_EXPLANATIONS = (
  ("targets centred over the batch", "centred"),
  ("a predictor in closed form, DirectPred", "direct-pred"),
  ("DirectCopy", "direct-copy"),
  ("an orthogonal predictor", "orthogonal"),
)
_OF_GN_WS = (*_EXPLANATIONS, ("DirectPred and IsoLoss", "iso"))


def _does_the_bootstrap_help(what: str, arm: str) -> Claim:
  return Claim(f"{what}?", rules.ahead(arm, f"{arm}-tau-1"))


# Asked before their runs.
QUESTIONS = (
  _does_the_bootstrap_help(
    f"Is BYOL with {_GN_WS} ahead of its own frozen target", "gn-ws"
  ),
  _does_the_bootstrap_help("With batch norm and standardised weights", "bn-ws"),
  _does_the_bootstrap_help("Without any norm", "none"),
  Claim(
    f"With {_GN_WS} and a target that moves at once?",
    rules.ahead("gn-ws-at-once", "gn-ws-tau-1"),
  ),
  Claim(
    f"Does waiting for a third of the run help {_GN_WS}?",
    rules.ahead("gn-ws", "gn-ws-at-once"),
  ),
  Claim("Does it help batch norm?", rules.ahead("bn-waits", "bn")),
  Claim(
    "Does group norm cost SimCLR less than BYOL?",
    rules.costs_less(("simclr-bn", "simclr-gn-ws"), ("bn", "gn-ws")),
  ),
  Claim(
    "Is batch norm in the projector alone as good as everywhere?",
    rules.as_good("bn-projector", "bn"),
  ),
  Claim("In the predictor alone?", rules.as_good("bn-predictor", "bn")),
  Claim(
    "Is a slow target (tau 0.996) behind one of 0.98?", rules.behind("bn-tau-996", "bn")
  ),
  *(
    Claim(
      f"Without any norm, {depth} layers and a predictor no faster than the rest: do"
      " projections collapse?",
      rules.projections_collapse(f"none-depth-{depth}"),
    )
    for depth in arms.DEPTHS
  ),
  Claim("With 50 layers: do features?", rules.collapses("none-depth-50")),
  Claim("With 50 layers: does it learn nothing?", rules.fails("none-depth-50")),
  Claim(
    "Under SGD: do projections collapse without any norm?",
    rules.projections_collapse("none-sgd"),
  ),
  *(
    Claim(f"Do they with {words}?", rules.projections_collapse(f"none-sgd-{arm}"))
    for words, arm in _EXPLANATIONS
  ),
  Claim(
    f"Under SGD, with {_GN_WS}: do projections collapse?",
    rules.projections_collapse("gn-ws-sgd"),
  ),
  *(
    Claim(f"Do they with {words}?", rules.projections_collapse(f"gn-ws-sgd-{arm}"))
    for words, arm in _EXPLANATIONS
  ),
  *(
    Claim(
      f"With {_GN_WS} and no wait, is it better with {words}?",
      rules.ahead(f"gn-ws-{arm}", "gn-ws-at-once"),
    )
    for words, arm in _OF_GN_WS
  ),
  *(
    Claim(
      f"Without any norm, is it better with {words}?",
      rules.ahead(f"none-{arm}", "none"),
    )
    for words, arm in _EXPLANATIONS
  ),
  Claim(
    "With batch norm, is DirectPred as good as the learned predictor?",
    rules.as_good("bn-direct-pred", "bn"),
  ),
  *(
    Claim(
      f"Is a batch of {batch} behind one of 128 with {words}?",
      rules.behind(f"{arm}-batch-{batch}", arm),
    )
    for batch in arms.BATCHES
    for words, arm in (("batch norm", "bn"), (_GN_WS, "gn-ws"))
  ),
)

# Asked when the runs that answer them were there: no rule could be chosen blindly.
ASKED_AFTERWARDS = (
  Claim(
    "Is group norm behind batch norm, both with standardised weights?",
    rules.behind("gn-ws", "bn-ws"),
  ),
  Claim(
    "Does it cost SimCLR less than BYOL then?",
    rules.costs_less(("simclr-bn-ws", "simclr-gn-ws"), ("bn-ws", "gn-ws")),
  ),
  Claim(
    f"Does a moving target bring batch norm more than {_GN_WS}?",
    rules.costs_less(("bn-tau-1", "bn"), ("gn-ws-tau-1", "gn-ws")),
  ),
  Claim(
    "And batch norm with standardised weights?",
    rules.costs_less(("bn-ws-tau-1", "bn-ws"), ("gn-ws-tau-1", "gn-ws")),
  ),
  Claim(
    "Does it bring batch norm more without standardised weights than with them?",
    rules.costs_less(("bn-tau-1", "bn"), ("bn-ws-tau-1", "bn-ws")),
  ),
  Claim(
    "With standardised weights and a target that moves at once, is group norm behind"
    " batch norm?",
    rules.behind("gn-ws-at-once", "bn-ws"),
  ),
  Claim(
    "Does it cost SimCLR less than BYOL then?",
    rules.costs_less(("simclr-bn-ws", "simclr-gn-ws"), ("bn-ws", "gn-ws-at-once")),
  ),
  Claim(
    "Does the target bring batch norm more then?",
    rules.costs_less(("bn-ws-tau-1", "bn-ws"), ("gn-ws-tau-1", "gn-ws-at-once")),
  ),
  Claim(
    f"Is {_GN_WS} with a moving target behind batch norm, weights standardised too,"
    " with a frozen one?",
    rules.behind("gn-ws", "bn-ws-tau-1"),
  ),
  *(
    Claim(
      f"Is {words} ahead of BYOL with batch norm and a frozen target?",
      rules.ahead(arm, "bn-tau-1"),
    )
    for words, arm in (
      ("RAFT", "raft"),
      ("BYOL'", "byol-prime"),
      ("batch norm as an initialisation", "bn-init"),
    )
  ),
  *(
    Claim(
      f"Is {_GN_WS} with the wait ahead of it without, and with {words}?",
      rules.ahead("gn-ws", f"gn-ws-{arm}"),
    )
    for words, arm in _OF_GN_WS
  ),
  Claim(
    "Under SGD: do projections collapse with batch norm?",
    rules.projections_collapse("bn-sgd"),
  ),
  *(
    Claim(
      f"Under SGD, {network}: is it better with {words}?",
      rules.ahead(f"{norm}-sgd-{arm}", f"{norm}-sgd"),
    )
    for network, norm in (("without any norm", "none"), (f"with {_GN_WS}", "gn-ws"))
    for words, arm in _EXPLANATIONS
  ),
  Claim(
    f"Under SGD, is {_GN_WS} with DirectPred as good as batch norm with a learned"
    " predictor?",
    rules.as_good("gn-ws-sgd-direct-pred", "bn-sgd"),
  ),
)
