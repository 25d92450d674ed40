"""Every link of a page leads to a file and a heading that are there."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
  path
  for pages in ("*.md", "docs/**/*.md", "notebooks/*.md")
  for path in ROOT.glob(pages)
)
CODE = [
  file
  for folder in ("byol_jax", "experiments", "configs", "benchmarks", "reproduce")
  for file in sorted((ROOT / folder).rglob("*.py"))
]


def prose(page):
  """A page without its blocks of code."""
  return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(text):
  """Those that GitHub gives headings: a second one of the same name ends in -1."""
  found, seen = set(), Counter()
  for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
    words = re.sub(r"\]\(.*?\)", "", heading).strip().lower()
    name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
    found.add(f"{name}-{seen[name]}" if seen[name] else name)
    seen[name] += 1
  return found


def broken(page, text):
  """The relative links of a page that lead nowhere."""
  for link in re.findall(r"\]\(([^)\s]*)\)", text):
    if re.match(r"[a-z]+:", link):
      continue
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    there = target.exists()
    if there and anchor:
      there = anchor in anchors(prose(target) if path else text)
    if not there:
      yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page(page):
  assert list(broken(page, prose(page))) == []


def test_broken_links_are_found():
  text = "# One\n# One\n## Of `a.b`, and c\n[x](#one) [x](#one-1) [x](#of-ab-and-c)\n"
  assert list(broken(ROOT / "README.md", text)) == []
  text += "[x](#two) [x](docs/none.md) ![x](docs/design.md#none) [x](https://none.org)"
  expected = ["#two", "docs/none.md", "docs/design.md#none"]
  assert list(broken(ROOT / "README.md", text)) == expected


def test_pages_that_code_names_are_there():
  named = {
    name for file in CODE for name in re.findall(r"docs/[\w/-]+\.md", file.read_text())
  }
  assert "docs/settings.md" in named
  assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
