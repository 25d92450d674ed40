"""The notebooks were run as they stand, agree with their outputs, and still run."""

import re

import nbformat
import pytest

from byol_jax.errors import UserError
from notebooks import __main__ as notebooks
from tests.docs.test_links import broken

NAMES = notebooks.NAMES
MOST_BYTES = 2_000_000
# What a path on somebody's machine begins with.
PLACE = re.compile(r"(?<![\w.])/(?:content|home|mnt|opt|root|tmp|usr|var|work)/")


def read(name):
  return nbformat.read(notebooks.path(name), as_version=4)


def code_of(notebook):
  return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(notebook):
  return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def said(notebook):
  """What the outputs say, without pictures."""
  outputs = [output for cell in code_of(notebook) for output in cell.outputs]
  data = (output.get("data", {}).get("text/plain", "") for output in outputs)
  return "\n".join([*(output.get("text", "") for output in outputs), *data])


def pictures(notebook):
  outputs = [output for cell in code_of(notebook) for output in cell.outputs]
  return [output for output in outputs if "image/png" in output.get("data", {})]


def test_every_notebook_is_named():
  files = {path.stem for path in (notebooks.ROOT / "notebooks").glob("*.ipynb")}
  assert files == {*NAMES}
  page = (notebooks.ROOT / "notebooks" / "README.md").read_text()
  assert tuple(re.findall(r"\]\(([\w-]+)\.ipynb\)", page)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_with_the_badge_and_the_installation(name):
  notebook = read(name)
  text, code = notebook.cells[:2]
  assert notebook == notebooks.with_head(notebook, name)
  assert f"{notebooks.REPOSITORY}/blob/main/notebooks/{name}.ipynb" in text.source
  assert text.source.splitlines()[2].startswith("# ")
  assert f"github.com/{notebooks.REPOSITORY} " in code.source
  assert code.outputs == []  # it was there


def test_the_repository_is_written_in_one_place():
  patterns = ("*.md", "*.toml", "docs/**/*.md", "notebooks/*.md", "notebooks/*.py")
  files = [file for pattern in patterns for file in notebooks.ROOT.glob(pattern)]
  found = [file.name for file in files if notebooks.REPOSITORY in file.read_text()]
  assert found == ["__main__.py"]


@pytest.mark.parametrize("name", NAMES)
def test_it_was_run_once_from_top_to_bottom(name):
  cells = code_of(read(name))
  assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
  kinds = {output.output_type for cell in cells for output in cell.outputs}
  assert "error" not in kinds


@pytest.mark.parametrize("name", NAMES)
def test_its_file_is_easy_to_compare(name):
  notebook, file = read(name), notebooks.path(name)
  assert file.read_text() == notebooks.to_text(notebook)
  assert file.stat().st_size < MOST_BYTES
  assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", cell.id) for cell in notebook.cells)
  assert pictures(notebook)
  assert not PLACE.search(said(notebook))


@pytest.mark.parametrize("name", NAMES)
def test_its_text_names_what_is_there(name):
  notebook = read(name)
  assert list(broken(notebooks.path(name), "\n".join(text_of(notebook)))) == []
  # Other numbers with a point are measured: they are in what the cells have said.
  text = re.sub(r"(arXiv|theorem) [\d.]+", "", "\n".join(text_of(notebook)))
  measured = set(re.findall(r"(?<![\w.])\d+\.\d+(?:e-\d+)?", text))
  outputs = said(notebook)
  assert {number for number in measured if number not in outputs} == set()


@pytest.mark.parametrize("name", NAMES)
def test_its_fast_form_runs_the_same_commands(name):
  for cell in code_of(read(name)):
    fast = cell.metadata.get("fast", cell.source).splitlines()
    assert fast[0].split("=")[0] == cell.source.splitlines()[0].split("=")[0]
    if fast[0] == "%%bash":
      assert fast[1] == cell.source.splitlines()[1]


@pytest.mark.slow  # CI has a job for notebooks
@pytest.mark.parametrize("name", NAMES)
def test_its_fast_form_runs(name):
  before = notebooks.path(name).read_bytes()
  found = notebooks.run(name, fast=True)
  assert notebooks.path(name).read_bytes() == before
  assert len(pictures(found)) == len(pictures(read(name)))
  assert not PLACE.search(said(found))
  if name == "mirror":  # the theorem is of any run
    assert re.search(r"BYOL' - RAFT, -W: 4 to \de-1\d, all steps", said(found))


@pytest.mark.parametrize(
  ("source", "line"),
  [
    ("1 / 0", "ZeroDivisionError: division by zero"),
    ("%%bash\necho no such run >&2\nexit 1", "no such run"),
  ],
)
def test_a_cell_that_fails_is_one_line(source, line, tmp_path, monkeypatch):
  notebook = read("mirror")
  cell = nbformat.v4.new_code_cell(source, id="fails")
  notebook.cells = [*notebook.cells[:2], cell]
  file = tmp_path / "mirror.ipynb"
  file.write_text(notebooks.to_text(notebook))
  monkeypatch.setattr(notebooks, "path", lambda name: file)
  with pytest.raises(UserError, match=f"^mirror: the cell fails failed: {line}$"):
    notebooks.main(["mirror"])
  assert nbformat.read(file, as_version=4).cells[-1].outputs == []


def test_another_name_is_refused():
  says = r"no notebook 'mirrors': did you mean mirror\? There are first-run,"
  with pytest.raises(UserError, match=says):
    notebooks.main(["mirror", "mirrors"])
