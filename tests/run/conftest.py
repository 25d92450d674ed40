"""What the tests of writing and of reading checkpoints share."""

import pytest

from tests.run.states import save


@pytest.fixture
def saved(tmp_path):
  """A run's folder with checkpoints of make_state(10) and make_state(20)."""
  save(tmp_path / "checkpoints", 10, 20)
  return tmp_path
