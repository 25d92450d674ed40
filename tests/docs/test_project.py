"""What a project says of itself agrees with itself."""

import datetime
import re
from pathlib import Path

import pytest
import yaml

import byol_jax

ROOT = Path(__file__).parents[2]
CHANGES = (ROOT / "CHANGELOG.md").read_text()
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_versions_are_semantic_and_the_newest_is_ours():
  headings = re.findall(r"^## (.*)$", CHANGES, re.MULTILINE)
  form = r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d|not tagged yet)"
  found = [re.fullmatch(form, heading).groups() for heading in headings]
  numbers = [tuple(map(int, version)) for *version, _ in found]
  assert numbers == sorted(set(numbers), reverse=True)
  assert ".".join(map(str, numbers[0])) == byol_jax.__version__
  dates = [datetime.date.fromisoformat(date) for *_, date in found[1:]]
  assert dates == sorted(dates, reverse=True)


def test_changes_are_of_the_known_kinds():
  kinds = set(re.findall(r"^### (.*)$", CHANGES, re.MULTILINE))
  assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_is_of_this_version_and_licence():
  citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
  assert citation["version"] == byol_jax.__version__
  assert f'license = "{citation["license"]}"' in (ROOT / "pyproject.toml").read_text()
  readme = (ROOT / "README.md").read_text()
  numbers = r"arxiv(?:\.org/abs/|:| )(\d{4}\.\d{4,5})"
  cited = {
    identifier["value"].removeprefix("arXiv:")
    for reference in citation["references"]
    for identifier in reference["identifiers"]
  }
  assert cited == set(re.findall(numbers, readme, re.IGNORECASE))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_are_as_github_reads_them(path):
  form = yaml.safe_load(path.read_text())
  if path.stem == "config":
    assert form == {"blank_issues_enabled": True}
    return
  assert {"name", "description", "body"} <= form.keys()
  fields = [field for field in form["body"] if field["type"] != "markdown"]
  assert {f["type"] for f in fields} <= {"textarea", "input", "checkboxes", "dropdown"}
  assert len({field["id"] for field in fields}) == len(fields)
  assert all(field["attributes"]["label"] for field in fields)
