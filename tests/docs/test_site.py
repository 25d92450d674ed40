"""The site is built without a warning, from every page, and needs no network."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import byol_jax
from tests.docs.test_links import PAGES

ROOT = Path(__file__).parents[2]


def test_every_page_has_its_place():
  sections = runpy.run_path(str(ROOT / "docs" / "conf.py"))["PAGES"]
  named = [f"{page}.md" for pages in sections.values() for page in pages]
  placed = [(ROOT / "docs" / name).resolve() for name in named]
  assert sorted(placed) == sorted({*PAGES} - {ROOT / "README.md"})


def test_every_public_name_is_described():
  text = (ROOT / "docs" / "api.md").read_text()
  described = re.findall(r"^\.\. auto\w+:: (\w+)$", text, re.MULTILINE)
  assert sorted([*described, "__version__"]) == byol_jax.__all__


@pytest.fixture(scope="module")
def site(tmp_path_factory):
  pytest.importorskip("sphinx", reason="needs pip install -e '.[docs]'")
  pytest.importorskip("furo", reason="needs pip install -e '.[docs]'")
  out = tmp_path_factory.mktemp("site")
  command = [sys.executable, "-m", "sphinx", "-W", "-q", "-c", "docs", ".", out]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  return out


def test_pages_and_docstrings_are_in_it(site):
  for page in PAGES:
    assert (site / page.relative_to(ROOT).with_suffix(".html")).exists()
  assert "url=README.html" in (site / "index.html").read_text()
  api = (site / "docs" / "api.html").read_text()
  assert all(f'id="byol_jax.{name}"' in api for name in ("load_encoder", "Encoder"))


def test_nothing_of_it_is_loaded_from_elsewhere(site):
  loaded = r"<(?:script|img|iframe)[^>]*\ssrc=\"([^\"]*)|<link[^>]*\shref=\"([^\"]*)"
  for page in site.rglob("*.html"):
    found = {a or b for a, b in re.findall(loaded, page.read_text())}
    assert {url for url in found if re.match(r"https?:|//", url)} == set(), page
  for style in site.rglob("*.css"):
    assert not re.search(r"(?:@import|url\()[\s\"']*(?:https?:)?//", style.read_text())


def test_search_is_part_of_it(site):
  index = (site / "searchindex.js").read_text()
  assert "docs/settings" in index
  assert "collaps" in index  # the stem of a word of the pages
