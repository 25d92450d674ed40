"""The picture of the rooms and the map of the design page are of the code as it is."""

import ast
import functools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "figures" / "rooms.svg"
CODE = ("byol_jax", "experiments", "configs", "benchmarks", "reproduce")
SVG = "{http://www.w3.org/2000/svg}"


def drawn():
  """Names in the picture, as data/ and main.py, from top to bottom."""
  texts = ElementTree.parse(PICTURE).iter(f"{SVG}text")
  names = [text.text.split() for text in texts if text.get("class") == "name"]
  return [name for some in names for name in some]


def place(name):
  """Where what is drawn lies; in the library, or beside it."""
  return ROOT / name if (ROOT / name).exists() else ROOT / "byol_jax" / name


def room(module):
  """byol_jax/data of byol_jax.data.folder, and experiments of experiments.knn."""
  parts = module.split(".")
  return "/".join(parts[:2]) if parts[0] == "byol_jax" else parts[0]


@functools.cache
def imports():
  """{room: rooms that it imports}."""
  found = {}
  for file in (file for folder in CODE for file in (ROOT / folder).rglob("*.py")):
    own = found.setdefault(
      room(".".join(file.relative_to(ROOT).with_suffix("").parts)), set()
    )
    for node in ast.walk(ast.parse(file.read_text())):
      if isinstance(node, ast.Import):
        own |= {room(name.name) for name in node.names}
      elif isinstance(node, ast.ImportFrom):
        own |= {room(f"{node.module}.{name.name}") for name in node.names}
  return found


def test_every_room_is_drawn_and_is_there():
  names = drawn()
  assert [name for name in names if not place(name).exists()] == []
  folders = [f.parent for f in ROOT.glob("byol_jax/*/__init__.py")]
  folders += [ROOT / name for name in (*CODE, "tests", "launch")]
  assert {*folders} - {ROOT / "byol_jax"} == {
    place(name) for name in names if name.endswith("/")
  }


@pytest.mark.parametrize(
  "theirs", ["data", "nets", "objectives", "optim", "probes", "run"]
)
def test_experiments_put_together(theirs):
  assert f"byol_jax/{theirs}" in imports()["experiments"]


@pytest.mark.parametrize("ours", ["byol_jax/embed", "byol_jax/export", "experiments"])
def test_an_encoder_is_opened_by_one_door(ours):
  assert "byol_jax/pretrained" in imports()[ours]


def test_imports_run_one_way():
  found = imports()
  above = {"experiments", "configs", "benchmarks", "reproduce", "tests"}
  library = {name for name in found if name.startswith("byol_jax")}
  assert {name for name in library if found[name] & above} == set()
  for pure in ("nets", "objectives", "optim"):
    known = {f"byol_jax/{name}" for name in (pure, "errors", "valid", "sphere")}
    assert found[f"byol_jax/{pure}"] & library <= known


def test_the_map_names_every_file():
  text = (ROOT / "docs" / "design.md").read_text()
  named = set(re.findall(r"[\w.]+", re.search(r"```\n(.*?)```", text, re.DOTALL)[1]))
  files = [f for folder in CODE[:2] for f in (ROOT / folder).rglob("*.py")]
  missing = {f.name for f in files if f.name != "__init__.py"} - named
  assert missing == set()


def test_every_colour_has_another_in_the_dark():
  style = ElementTree.parse(PICTURE).find(f"{SVG}style").text
  light, dark = style.split("@media (prefers-color-scheme: dark)")
  colours = r"^\s*([.#\w]+)[^{}]*\{[^{}]*fill: #"
  named = {*re.findall(colours, light, re.MULTILINE)}
  assert ".page" in named
  assert {*re.findall(colours, dark, re.MULTILINE)} == named
