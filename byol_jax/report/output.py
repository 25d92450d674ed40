"""Files that a report is written to: never over anything else, and in one go."""

import base64
import datetime
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

import byol_jax
from byol_jax import disk
from byol_jax.disk import absolute
from byol_jax.errors import UserError

# How a report begins, in HTML and in Markdown.
_OURS = ('<meta name="generator" content="byol_jax.report', "<!-- byol_jax.report")


def checked(path: str | os.PathLike[str]) -> Path:
  """A path to write to, if it may be written.

  Raises:
    UserError: it may not: it is a folder, is there and is no report, or cannot be.
  """
  path = absolute(path)
  if path.is_dir():
    raise UserError(f"{path} is a folder: give --out=FILE.html")
  if not path.parent.is_dir():
    there = path.parent.exists()
    what = "is no folder: give one" if there else "does not exist: create it"
    raise UserError(f"{path.parent} {what}, or choose another --out")
  if path.is_symlink() and not path.exists():
    raise UserError(f"{path} is a link to nothing: choose another --out")
  if path.exists() and not path.is_file():  # a pipe would be waited for without end
    raise UserError(f"{path} is no file: give --out=FILE.html")
  if path.exists() and not _is_ours(path):
    raise UserError(f"{path} is there and is no report: choose another --out")
  if not os.access(path if path.exists() else path.parent, os.W_OK):
    raise UserError(f"{path} cannot be written: choose another --out")
  return path


def _is_ours(path: Path) -> bool:
  start = path.read_text(errors="replace")[:1000]
  return any(mark in start for mark in _OURS)


def write(path: Path, template: str, page: Mapping[str, Any]) -> None:
  """Writes what a template of this folder makes of a page."""
  # Names of files may hold what is no UTF-8.
  content = _rendered(template, page).encode(errors="backslashreplace")
  try:
    disk.replace(path, content, alone=False)
  except OSError as error:
    raise UserError(
      f"cannot write {path}: {error.strerror}; choose another --out"
    ) from error


def _rendered(template: str, page: Mapping[str, Any]) -> str:
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=template.endswith(".html"),
    finalize=None if template.endswith(".html") else _in_markdown,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters["base64"] = lambda found: base64.b64encode(found).decode()
  now = datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds")
  return environment.get_template(template).render(
    page, version=byol_jax.__version__, now=now
  )


def _in_markdown(value: Any) -> str:
  """A value as text in one line, of which Markdown makes nothing else."""
  text = " ".join(str(value).split())
  text = re.sub(r"([\\`*\[\]<>|~$&])", r"\\\1", text)
  return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # within a word it is one
