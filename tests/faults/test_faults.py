"""The short form of each kind; `python -m tests.faults` is the long one."""

import importlib
import itertools
import os
import time

import pytest

from tests.faults.child import Child
from tests.faults.forked import Forked
from tests.faults.inputs import command_line, values
from tests.faults.inputs.bad import Bad, instead, tried
from tests.faults.inputs.place import Place


@pytest.mark.parametrize(
  ("kind", "count"), [("images", 60), ("records", 60), ("folders", 10)]
)
def test_nothing_is_wrong(kind, count, tmp_path):
  module = importlib.import_module(f"tests.faults.{kind}")
  results = list(module.trials(count, seed=0, folder=tmp_path))
  assert len(results) == count
  assert not [result for result in results if result.wrong]


def misbehave(how):
  """What a child is there for."""
  return {
    "": lambda: "",
    "says so": lambda: "it is wrong",
    "raises": lambda: 1 / 0,
    "dies": lambda: os._exit(7),
    "hangs": lambda: time.sleep(60),
    "takes memory": lambda: (b"x" * 2**26)[:0].decode(),
  }[how]()


def test_a_child_tells_what_went_wrong():
  with Child(misbehave, seconds=2, mib=32) as child:
    found = {how: child.ask(how, how).wrong for how in _WRONG}
  for how, wrong in _WRONG.items():
    assert found[how].startswith(wrong), how
  assert not found[""]


_WRONG = {
  "raises": "ZeroDivisionError: division by zero (",
  "dies": "the process has ended with status 7",
  "says so": "it is wrong",
  "hangs": "no answer within 2 s",
  "takes memory": "it took 64 MiB, more than 32",
  "": "",
}


# Bad inputs.


@pytest.fixture(scope="module")
def forked():
  return Forked()


def test_bad_inputs_are_one_line_and_change_nothing(forked, tmp_path):
  place = Place(tmp_path, forked)
  kinds = command_line.rows(place)[0], values.rows(place)[0]
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
