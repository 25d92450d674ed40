"""Tables of the pages."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def read(page, after):
  """Rows of cells of the first table after a text, its two lines of headings too."""
  lines = iter((ROOT / page).read_text().partition(after)[2].splitlines())
  found = []
  for line in lines:
    if line.startswith("|"):
      found.append([cell.strip(" *") for cell in line.strip("|").split("|")])
    elif found:
      break
  return found


def rows(page, after):
  """First cell -> the others, of the first table after a text."""
  return {name: cells for name, *cells in read(page, after)}
