"""Flags, parsed as the command line parses them."""

import sys

import pytest
from absl import flags

from byol_jax import main


@pytest.fixture
def parsed(monkeypatch):
  """Parses flags as the command line does, and leaves none behind."""
  before = {*flags.FLAGS}
  given = main._define_flags()

  def parse(arguments):
    monkeypatch.setattr(sys, "argv", ["main", *arguments])  # which ml_collections reads
    main._parse_flags(given, sys.argv)
    return given.config.value

  yield parse
  for name in {*flags.FLAGS} - before:
    delattr(flags.FLAGS, name)
