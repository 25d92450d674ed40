"""The rows of the report."""

import pytest

from reproduce import arms, claims

QUESTIONS = (*claims.QUESTIONS, *claims.ASKED_AFTERWARDS)
ROWS = (claims.GATE, *claims.CLAIMS, *QUESTIONS)
PIXELS = {"linear": 41.0, "knn": 36.0}


@pytest.mark.parametrize("claim", ROWS, ids=lambda claim: claim.says)
def test_a_row_misses_what_has_not_run(claim):
  assert {*claim.arms, *claim.beside} <= arms.ARMS.keys()
  assert claim.answer({}, PIXELS) is claims.Answer.MISSING


def test_what_is_compared_has_the_same_seeds():
  for claim in ROWS:
    assert len({arms.ARMS[name].seeds for name in claim.arms}) == 1, claim.says


def test_claims_have_a_source_and_questions_have_none():
  assert all(claim.source and claim.paper for claim in claims.CLAIMS)
  assert not any(question.source for question in QUESTIONS)


def test_what_the_claims_need_is_run_first():
  runs = claims.runs(arms.ARMS)
  assert {run.id for run in runs} == {run.id for run in arms.runs(arms.ARMS)}
  assert len(runs) == 3 * len(arms.ARMS)
  named = {name for each in claims.CLAIMS for name in (*each.arms, *each.beside)}
  first, others = runs[: 3 * len(named)], runs[3 * len(named) :]
  assert {run.name for run in first} == named
  assert not {run.name for run in others} & named
  assert [run.id for run in claims.runs({"bn-ws": arms.BN})] == [
    "bn-ws-seed1",
    "bn-ws-seed2",
    "bn-ws-seed3",
  ]
