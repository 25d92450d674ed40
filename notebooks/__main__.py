"""Runs the notebooks again, and keeps their outputs.

  python -m notebooks                    all of them
  python -m notebooks collapse mirror    these two
  python -m notebooks --fast             made small: whether they run; keeps nothing

Each is run from top to bottom in a new folder that has the clone's configs/. In the
fast form the "fast" of a cell's metadata, where there is one, takes the cell's place.
"""

from byol_jax import interrupts

if __name__ == "__main__":
  interrupts.importing()

import copy
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from byol_jax import commands
from byol_jax.errors import UserError, no_such

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("first-run", "collapse", "own-images", "mirror", "pytorch")

# On GitHub. Of all files only the notebooks have it, and this command writes it there.
REPOSITORY = "OWNER/byol_jax"

_BADGE = (
  "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
  "(https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}.ipynb)"
)
_SETUP = """\
# Installs byol_jax where it is not, as in Colab, and goes to its folder.
import importlib.util
import shutil
from pathlib import Path

if (found := importlib.util.find_spec("byol_jax")) is None:
  !git clone -q https://github.com/REPOSITORY clone
  %cd -q clone
  extra = "[cuda]" if shutil.which("nvidia-smi") else ""
  %pip install -q -e ".{extra}"
elif not Path("configs").exists():
  %cd -q {Path(found.origin).parents[1]}"""

# What differs from one machine to the next is left out.
_METADATA = {
  "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
  "language_info": {"name": "python"},
}

Notebook = Any  # nbformat has no types


def main(argv: Sequence[str]) -> None:
  """Runs notebooks, and prints how long each took.

  Raises:
    UserError: there is none of a name, a package is missing, or a cell failed.
  """
  parser = commands.Parser(prog="python -m notebooks", allow_abbrev=False)
  parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
  parser.add_argument("--fast", action="store_true", help="small, and keep nothing")
  given = parser.parse_args(argv)
  for name in given.names:
    if name not in NAMES:
      raise no_such("notebook", name, NAMES)
  for name in given.names or NAMES:
    began = time.monotonic()
    notebook = run(name, fast=given.fast)
    if not given.fast:
      path(name).write_text(to_text(notebook))
    commands.say(f"{name}: {time.monotonic() - began:.0f} s", path(name))


def path(name: str) -> Path:
  """Where the notebook of that name lies."""
  return ROOT / "notebooks" / f"{name}.ipynb"


def run(name: str, *, fast: bool) -> Notebook:
  """Runs a notebook in a new folder, which is then deleted; it with its outputs.

  Raises:
    UserError: a package is missing, or a cell failed.
  """
  try:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
  except ImportError as error:
    raise UserError(
      f"{error.name} is not installed: pip install -e '.[notebooks]'"
    ) from error
  notebook = with_head(nbformat.read(path(name), as_version=4), name)
  if fast:
    for cell in notebook.cells:
      cell.source = cell.metadata.get("fast", cell.source)
  with tempfile.TemporaryDirectory() as folder:
    Path(folder, "configs").symlink_to(ROOT / "configs")
    client = NotebookClient(
      notebook,
      timeout=None,
      startup_timeout=600,
      kernel_name="python3",
      record_timing=False,
      coalesce_streams=True,
      resources={"metadata": {"path": folder}},
    )
    try:
      client.execute(env=_environment(fast))
    except CellExecutionError as error:
      raise UserError(f"{name}: {_what_failed(notebook)}") from error
    _clean(notebook, os.path.realpath(folder))
  return notebook


def with_head(notebook: Notebook, name: str) -> Notebook:
  """The same, with the badge on top of its text and the installation as its code."""
  notebook = copy.deepcopy(notebook)
  text, code = notebook.cells[:2]
  badge = _BADGE.format(repository=REPOSITORY, name=name)
  text.source = "\n".join([badge, *text.source.splitlines()[1:]])
  code.source = _SETUP.replace("REPOSITORY", REPOSITORY)
  return notebook


def to_text(notebook: Notebook) -> str:
  """The notebook's file."""
  import nbformat

  nbformat.validate(notebook)
  return nbformat.writes(notebook) + "\n"


def _environment(fast: bool) -> dict[str, str]:
  """That of a kernel: `python` is this one, and byol_jax this clone's."""
  programs = [os.path.dirname(sys.executable), os.environ.get("PATH", "")]
  found = os.environ | {"PATH": os.pathsep.join(programs), "PYTHONPATH": str(ROOT)}
  if fast:
    found["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
  return found


def _what_failed(notebook: Notebook) -> str:
  """The cell that failed and the last that it said, in one line."""
  for cell in notebook.cells:
    outputs = cell.get("outputs", [])
    said = [o.text for o in outputs if o.get("name") == "stderr"]
    for output in outputs:
      if output.output_type == "error":
        last = "".join(said).strip() or f"{output.ename}: {output.evalue}"
        return f"the cell {cell.id} failed: {last.splitlines()[-1]}"
  return "its kernel ended"


def _clean(notebook: Notebook, folder: str) -> None:
  """Leaves the place where it was run out of the outputs, and the machine."""
  notebook.metadata.clear()
  notebook.metadata.update(copy.deepcopy(_METADATA))
  for cell in notebook.cells:
    for output in cell.get("outputs", []):
      if output.output_type == "stream":
        output.text = output.text.replace(f"{folder}/", "")
    if cell.cell_type == "code":  # of a bar that has gone, blanks are left
      cell.outputs = [o for o in cell.outputs if o.get("text", "bar").strip()]


if __name__ == "__main__":
  commands.run(lambda: main(sys.argv[1:]), sys.argv[:1])
