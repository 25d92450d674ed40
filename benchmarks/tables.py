"""Markdown tables, printed line by line as their figures come in."""

from collections.abc import Iterable
from typing import Any


def head(headings: Iterable[Any]) -> None:
  """The first line of a table, and the one that makes it a table."""
  cells = list(headings)
  row(cells)
  row(["---"] * len(cells))


def row(cells: Iterable[Any]) -> None:
  """One line of a table."""
  print(line(cells), flush=True)


def line(cells: Iterable[Any]) -> str:
  """The text of one line of a table."""
  return "| " + " | ".join(map(str, cells)) + " |"


def with_spread(value: str, spread: float) -> str:
  """A median, and half the distance of the quartiles as a share of it."""
  return f"{value} ±{50 * spread:.0f}%"
