"""The page as a whole: what a reader of it finds, and what harms nobody."""

import html.parser
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from byol_jax import report
from byol_jax.errors import UserError
from byol_jax.report import pictures
from tests.report import made_up

GOLDEN = Path(__file__).parents[1] / "golden" / "run"


class Page(html.parser.HTMLParser):
  """Elements [(tag, attributes)] and text of a page; open tags must be closed."""

  EMPTY = frozenset({"meta", "img", "path", "use", "rect"})

  def __init__(self, path):
    super().__init__()
    self.elements, self.text, self._open = [], "", []
    self.source = Path(path).read_text()
    self.feed(self.source)
    self.close()
    assert not self._open

  def handle_starttag(self, tag, attributes):
    self.elements.append((tag, dict(attributes)))
    if tag not in self.EMPTY:
      self._open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.elements.append((tag, dict(attributes)))

  def handle_endtag(self, tag):
    assert tag in self.EMPTY or self._open.pop() == tag

  def handle_data(self, data):
    self.text += data

  def all(self, tag):
    return [attributes for name, attributes in self.elements if name == tag]


def files(folder):
  return {
    str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
    for path in folder.rglob("*")
    if path.is_file()
  }


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
  """The report of the run of version 0.1: its path, and the files before it."""
  folder = tmp_path_factory.mktemp("golden") / "run"
  shutil.copytree(GOLDEN, folder)
  before = files(folder)
  return report.write([folder]), before


def test_the_report_of_an_old_run_is_whole(golden):
  path, _ = golden
  page = Page(path)
  assert path.name == "report.html"
  assert path.stat().st_size < 3_000_000
  headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page.source)
  assert headings == [
    "The verdict",
    "What was trained on what",
    "Accuracies beside their baselines",
    "Curves",
    "What it was shown",
    "A map of the embeddings",
    "Nearest neighbours",
    "Nearest neighbours before training",
    "Skipped files",
    "How it was made",
  ]
  assert "no sign of it" in page.text
  assert "40 images" in page.text
  assert "32.5 ± 14.5 %" in page.text
  assert "The run has no starts.jsonl" in page.text
  assert "The run has no figures/views.png." in page.text


def test_nothing_but_the_report_is_written(golden):
  path, before = golden
  after = files(path.parent)
  del after[path.name]
  assert after == before


def test_it_needs_nothing_from_elsewhere(golden):
  page = Page(golden[0])
  for tag in ("script", "link", "iframe", "object", "base"):
    assert not page.all(tag)
  assert all(image["src"].startswith("data:image/") for image in page.all("img"))
  assert not re.search(r"@import|url\((?!#)", page.source)
  references = [a for _, attributes in page.elements for a in attributes.items()]
  links = [value for name, value in references if name in ("href", "xlink:href", "src")]
  assert all(link.startswith(("#", "data:image/")) for link in links)


def test_it_is_for_all_readers(golden):
  page = Page(golden[0])
  assert page.all("html") == [{"lang": "en"}]
  assert len(page.all("h1")) == 1
  assert len(page.all("img")) == 3
  assert all(len(image["alt"]) > 40 for image in page.all("img"))
  assert all(cell["scope"] in ("col", "row") for cell in page.all("th"))
  assert len(page.all("caption")) == len(page.all("table")) == 3
  # A curve is hidden from who cannot see it, and said instead.
  assert all(svg["aria-hidden"] == "true" for svg in page.all("svg"))
  assert page.source.count('class="spoken"') == len(page.all("svg")) == 11
  assert "lowest 2.097 at step 3, highest 4.366 at step 1" in page.text
  assert "prefers-color-scheme: dark" in page.source
  identifiers = [a["id"] for _, a in page.elements if "id" in a]
  assert len(identifiers) == len(set(identifiers))


def test_a_report_may_be_written_again_and_nothing_else_over(golden, tmp_path):
  path = tmp_path / "out.html"
  folder = made_up.write(tmp_path / "run")
  assert report.write([folder], path) == path
  first = path.stat().st_ino
  assert report.write([folder], str(path)).stat().st_ino != first  # in one go
  path.write_text("<p>years of work</p>")
  with pytest.raises(UserError, match=r"out\.html is there and is no report"):
    report.write([folder], path)
  assert path.read_text() == "<p>years of work</p>"
  with pytest.raises(UserError, match="is a folder"):
    report.write([folder], tmp_path)
  with pytest.raises(UserError, match="nowhere does not exist: create it"):
    report.write([folder], tmp_path / "nowhere" / "out.html")
  with pytest.raises(UserError, match="name the folder of a run"):
    report.write([])
  assert not list(tmp_path.glob("*.tmp"))


EVIL = "</style><script>alert('$x$ {{ 7 * 7 }} & \udcff')</script>"


def test_whatever_names_hold_they_do_no_harm(tmp_path):
  settings = made_up.config(data__name=EVIL, data__train=EVIL, seed=EVIL)
  settings[EVIL] = EVIL
  start = dict.fromkeys(made_up.START, EVIL) | {"versions": {EVIL: EVIL}}
  folder = made_up.write(tmp_path / "<b>&\udcff", settings, starts=[start] * 2)
  (folder / "skipped.tsv").write_bytes(os.fsencode(f"{EVIL}\t{EVIL}\n"))
  other = made_up.write(tmp_path / "other", settings | {"seed": 1})
  for runs in ([folder], [folder, other]):
    page = Page(report.write(runs))
    assert not page.all("script")
    assert not page.all("b")
    assert "{{ 7 * 7 }}" in page.text
    assert "<b>&\\udcff" in page.text


@pytest.mark.parametrize("summary", [None, made_up.SUMMARY])
@pytest.mark.parametrize("records", [None, [], made_up.RECORDS])
@pytest.mark.parametrize("starts", [None, [made_up.START]])
def test_whatever_a_run_lacks_there_is_a_report(tmp_path, summary, records, starts):
  folder = made_up.write(
    tmp_path / "run", records=records, summary=summary, starts=starts
  )
  text = Page(report.write([folder])).text
  assert ("Nothing was logged yet" in text) == (not records)
  assert ("no starts.jsonl" in text) == (starts is None)
  assert ("no test accuracies" in text) == (summary is None)
  assert "Not drawn: " in text
  assert "--images=FOLDER" in text


def test_several_runs_are_one_page_beside_them(tmp_path):
  folders = [
    made_up.write(tmp_path / "all" / name, made_up.config(seed=seed))
    for seed, name in enumerate(("one", "two"))
  ]
  path = report.write(folders)
  assert path == tmp_path / "all" / "comparison.html"
  page = Page(path)
  assert "Comparison of 2 runs" in page.text
  assert page.text.count(", best") == 6  # equal in three columns
  assert "one: 2 at step 5, 1 at step 10" in page.text
  assert len(page.all("img")) == 0


def test_the_images_may_have_moved(tmp_path, monkeypatch):
  folder = tmp_path / "run"
  shutil.copytree(GOLDEN, folder)
  config = json.loads((folder / "config.json").read_text())
  config["data"]["name"] = "folder"
  (folder / "config.json").write_text(json.dumps(config))
  monkeypatch.setattr(pictures, "sample", lambda *given: pytest.fail("sampled"))
  assert "Not drawn: name the folder of images" in Page(report.write([folder])).text
  text = Page(report.write([folder], images=tmp_path / "nowhere")).text
  assert f"Not drawn: {tmp_path}/nowhere does not exist" in text
