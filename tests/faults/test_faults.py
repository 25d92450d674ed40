"""A few of each kind of fault, to see that the trials themselves do what they say."""

import itertools

import pytest

from tests.faults.forked import Forked
from tests.faults.inputs import command_line, values
from tests.faults.inputs.bad import Bad, instead, tried
from tests.faults.inputs.place import Place


@pytest.fixture(scope="module")
def forked():
  return Forked()


def test_bad_inputs_are_one_line_and_change_nothing(forked, tmp_path):
  place = Place(tmp_path, forked)
  kinds = command_line.rows(place), values.rows(place)
  for bad in itertools.chain(*(itertools.islice(rows, 6) for rows in kinds)):
    # To take all the ways out would take a minute: the long form does.
    trial = tried(bad._replace(way_out=None), forked, tmp_path)
    assert not trial.wrong, trial


def test_a_trial_fails_where_the_input_is_fine_or_the_way_out_is_none(forked, tmp_path):
  place = Place(tmp_path, forked)
  bad = place.views("--config.train.stepz=1")

  def wrong(**changes):
    fields = {"name": "x", "command": bad, "says": "did you mean steps", **changes}
    return tried(Bad(**fields), forked, tmp_path).wrong

  assert not wrong()
  assert wrong(says="did you mean lamps").startswith("it does not say 'did you mean l")
  assert "did you mean steps" in wrong(way_out=instead(bad))
  assert not wrong(way_out=instead(bad), leads_to="no setting")
  assert wrong(command=place.views()).startswith("status 0")
