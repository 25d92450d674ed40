"""The rows of the report."""

import pytest

from reproduce import arms, claims

ROWS = (*claims.CLAIMS, *claims.QUESTIONS)


@pytest.mark.parametrize("claim", ROWS, ids=lambda claim: claim.says)
def test_a_row_whose_runs_are_missing_is_open(claim):
  assert set(claim.arms) <= arms.ARMS.keys()
  assert claim.answer({}) is None


def test_claims_have_a_source_and_questions_have_none():
  assert all(claim.source and claim.paper for claim in claims.CLAIMS)
  assert not any(question.source for question in claims.QUESTIONS)
