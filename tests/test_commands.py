"""What commands set for their process."""

import resource

import pytest

from byol_jax import commands

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
  ("soft", "hard", "expected"),
  [
    (1024, 4096, (4096, 4096)),
    (1024, 2**20, (2**16, 2**20)),
    (1024, INFINITE, (2**16, INFINITE)),
    (2**17, 2**20, None),
    (INFINITE, INFINITE, None),
    (4096, 4096, None),
  ],
)
def test_many_files_may_be_open(monkeypatch, soft, hard, expected):
  found = []
  monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
  monkeypatch.setattr(resource, "setrlimit", lambda which, limits: found.append(limits))
  commands._set_up_files()
  assert found == ([expected] if expected else [])


def test_a_limit_that_cannot_be_raised_stays(monkeypatch):
  def refuse(which, limits):
    raise ValueError("current limit exceeds maximum limit")

  monkeypatch.setattr(resource, "getrlimit", lambda which: (256, INFINITE))
  monkeypatch.setattr(resource, "setrlimit", refuse)
  commands._set_up_files()
