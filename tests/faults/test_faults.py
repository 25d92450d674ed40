"""The short form of each kind; `python -m tests.faults` is the long one."""

import importlib
import os
import time

import pytest

from tests.faults.child import Child


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
