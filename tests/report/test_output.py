"""Markdown in which names do no harm; what is written over is in test_page.py."""

import os
import re

import pytest

from byol_jax.errors import UserError
from byol_jax.report import output

PAGE = {
  "title": "T",
  "reading": [],
  "notes": [],
  "papers": [],
  "protocols": [],
  "differing": None,
  "made": "",
}


def cells(tmp_path, text):
  """What the cells of a table's row hold, as the source has them."""
  table = {"caption": "c", "header": ["a", "b"], "rows": [[text, "end"]]}
  path = tmp_path / "x.md"
  tables = dict.fromkeys(("results", "systems", "chosen"), table)
  output.write(path, "results.md", PAGE | tables)
  lines = path.read_text().splitlines()
  assert lines[0].startswith("<!-- byol_jax.report ")
  row = lines[lines.index("|---|---|") + 1]
  assert row.startswith("|")
  return [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", row)[1:-1]]


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("runs/bn_tau-98", "runs/bn_tau-98"),
    ("a|b", r"a\|b"),
    ("a\\", r"a\\"),
    ("<script>", r"\<script\>"),
    ("a\n| b\r\nc\td", r"a \| b c d"),
    ("*a* _b_ `c` ~d~", r"\*a\* \_b\_ \`c\` \~d\~"),
    ("$e$ [f](g) &lt;", r"\$e\$ \[f\](g) \&lt;"),
    ("{{ 7 * 7 }}", r"{{ 7 \* 7 }}"),
  ],
)
def test_a_cell_is_its_text_in_one_line_and_nothing_else(tmp_path, text, expected):
  assert cells(tmp_path, text) == [expected, "end"]


def test_a_file_is_no_folder_and_a_link_to_nothing_is_left_alone(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(UserError, match="file is no folder: give one, or choose"):
    output.checked(tmp_path / "file" / "x.html")
  link = tmp_path / "link.html"
  link.symlink_to(link)
  with pytest.raises(UserError, match="is a link to nothing: choose another --out"):
    output.checked(link)


def test_a_pipe_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "x.html")
  with pytest.raises(UserError, match=r"is no file: give --out=FILE\.html"):
    output.checked(tmp_path / "x.html")


def test_names_may_hold_what_is_no_utf_8(tmp_path):
  assert cells(tmp_path, "a\udcff")[0] == "a\\udcff"
