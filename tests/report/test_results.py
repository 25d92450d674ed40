"""The page of results: what a reader finds, what it copes with, what is refused."""

import pytest

from byol_jax import report
from byol_jax.errors import UserError
from byol_jax.report import results, same_work
from byol_jax.run import results as stored
from byol_jax.run.folder import RunDir
from configs import knn as knn_config
from experiments import knn
from tests.report import test_papers
from tests.report.made_up import result, write_results
from tests.report.test_page import EVIL, GOLDEN, Page, files


def systems(**values):
  """Results of several systems: name -> accuracies by seed."""
  return [
    result(value, seed, f"runs/{name}-seed{seed}", {"objective__name": name})
    for name, of_seeds in values.items()
    for seed, value in enumerate(of_seeds)
  ]


def table(*lines):
  return results.page(lines)["results"]


def texts(*lines):
  page = results.page(lines)
  return " ".join([*page["reading"], *page["notes"], *page["papers"]])


def test_evaluations_are_rows_and_systems_columns():
  both = systems(bn=(0.5, 0.75))
  found = table(*both, both[0] | {"metric": "top_5", "value": 0.9})
  data = "cifar10 test, 10000 images; fitted to train"
  assert found.header == ["evaluation", "tested on", "bn (2 seeds)"]
  assert found.rows == [
    ["kNN, top-1", data, "62.5 ± 17.7"],  # (75 - 50) / sqrt(2)
    ["kNN, top-5", data, "90.0 (of 1)"],
  ]


def test_of_more_systems_than_evaluations_systems_are_rows():
  found = table(*systems(bn=(0.5,), gn=(0.25,)))
  title = "kNN, top-1: cifar10 test, 10000 images; fitted to train"
  assert found.header == ["system", title]
  assert found.rows == [["bn (1 seed)", "50.0"], ["gn (1 seed)", "25.0"]]


def test_what_was_not_measured_is_said():
  first, second = systems(bn=(0.5,), gn=(0.25,))
  found = table(first, second | {"metric": "top_5"})
  assert [row[2:] for row in found.rows] == [
    ["50.0", "not measured"],
    ["not measured", "25.0"],
  ]


def test_the_best_is_marked_where_seeds_can_tell():
  lines = systems(bn=(0.58, 0.59, 0.6), gn=(0.54, 0.55, 0.56))
  assert table(*lines).rows[0][1] == "59.0 ± 1.0, best"
  assert "best" not in table(*lines).rows[1][1]
  assert "Welch" in texts(*lines)
  alone = systems(bn=(0.9,), gn=(0.1,))
  assert "best" not in str(table(*alone).rows)
  assert "No best is marked" in texts(*alone)


def test_the_papers_number_stands_beside_the_same_work_and_has_its_source(monkeypatch):
  monkeypatch.setattr(same_work, "evaluation_of", lambda line: "linear")
  ours = test_papers.of(test_papers.pretraining())
  lines = [
    ours | {"protocol": "linear", "value": 0.742},
    result(0.5, 1, "runs/small-seed1", protocol="linear"),
  ]
  found = results.page(lines)
  assert [row[1] for row in found["results"].rows] == ["74.2; paper 74.3", "50.0"]
  assert found["papers"] == ["74.3: BYOL, table 1"]
  assert "paper" not in texts(lines[1]).lower()


def test_what_was_left_out_and_what_is_not_averaged_is_said():
  lines = systems(bn=(0.5,))
  older = lines[0] | {"time": "2025-01-01T00:00:00+00:00", "value": 0.1}
  assert "1 older result was left out" in texts(*lines, older)
  assert "2 older results were left out" in texts(*lines, older, older | {"value": 0.2})
  encoder = lines[0]["encoder"] | {"checksum": "1"}
  again = lines[0] | {"encoder": encoder}
  assert "bn, encoder 2: of settings, seed and step that" in texts(*lines, again)
  assert texts(*lines) == " ".join(results.page(lines)["reading"])


def test_images_that_were_converted_are_said():
  line = result(images="28 x 28 x 1 shown as 32 x 32 x 3")
  expected = (
    "bn, cifar10 test, 10000 images; fitted to train: images of 28 x 28 x 1 shown as"
    " 32 x 32 x 3, which changes the accuracy."
  )
  assert results.page([line])["notes"] == [expected]


def test_each_protocol_is_explained_once_and_unknown_ones_too():
  lines = [result(), result(0.1, 1), result(protocol="newer")]
  (knn, words), (newer, unknown) = results.page(lines)["protocols"]
  assert (knn, newer) == ("kNN", "newer")
  assert "held-out" in words
  assert "does not know it" in unknown


def test_systems_are_described():
  file = result(pretrained=None, encoder__path="a.safetensors", encoder__step=7)
  early = result(0.5, 1, "runs/gn-seed1", {"encoder__norm": "group"}, encoder__step=4)
  page = results.page([result(), early, file])
  first, second, third = page["systems"].rows
  assert first[0] == "bn"
  assert first[1:4] == [
    "ResNet-10, width 1.0, norm batch",
    "nowhere train, 32 x 32 pixels",
    "10 steps of 16 images",
  ]
  assert first[4].startswith("seed 0: runs/bn-seed0 (sha256 ")
  assert second[3] == "10 steps of 16 images, as it was at step 4"
  assert third[2:4] == ["not known: a file", "step 7"]
  assert page["differing"].rows == [["encoder.norm", "batch", "group"]]
  assert results.page([result()])["differing"] is None


def test_what_was_chosen_is_there_once_where_all_agree():
  lines = systems(bn=(0.5, 0.6, 0.7))
  lines[2]["setting"] = {"k": 5, "logits": {"clip": 20.0}}
  (row,) = results.page(lines)["chosen"].rows
  assert row[2] == "k 20, temperature 0.1; k 5, logits.clip 20"


def test_what_an_evaluation_leaves_is_a_row(tmp_path):
  config = knn_config.get_config()
  config.update(encoder=str(GOLDEN), k=(5,), temperature=(0.1, 0.2))
  config.data.update(train="train[:64]", test="test[:40]")
  config.eval.batch_size = 16
  with config.unlocked():
    config.results = str(tmp_path / "results.jsonl")
  found = knn.run(config, RunDir(tmp_path / "knn"))
  page = results.page(stored.read(config.results))
  (row,) = page["results"].rows
  images = "photos test[:40], 40 images; fitted to train[:64]"
  title = "kNN, top-1, k = [5], temperature = [0.1, 0.2]"
  assert row == [title, images, f"{100 * found['knn']['encoder']:.1f}"]
  assert page["systems"].rows[0][3] == "4 steps of 16 images"
  assert page["chosen"].rows[0][2] == f"k 5, temperature {found['temperature']}"


@pytest.fixture
def lines(tmp_path):
  """A results.jsonl."""
  return write_results(tmp_path / "results.jsonl", systems(bn=(0.5,), gn=(0.25,)))


def test_both_forms_are_written_beside_the_file_and_nothing_else(lines):
  before = files(lines.parent)
  markdown, page = report.write_results(lines)
  assert (markdown.name, page.name) == ("results.md", "results.html")
  after = files(lines.parent)
  assert after.keys() - before.keys() == {"results.md", "results.html"}
  assert {name: after[name] for name in before} == before
  assert "| bn (1 seed) | 50.0 |\n| gn (1 seed) | 25.0 |\n" in markdown.read_text()
  found = Page(page)
  assert "bn (1 seed)" in found.text
  assert not found.all("script") + found.all("link") + found.all("img")
  assert len(found.all("caption")) == len(found.all("table")) == 4
  report.write_results(lines)  # over its own


def test_one_form_can_be_asked_for(lines, tmp_path):
  assert report.write_results(lines, tmp_path / "x.md") == [tmp_path / "x.md"]
  assert not (tmp_path / "results.md").exists()
  with pytest.raises(UserError, match=r"x\.txt is no name for a table: give --out="):
    report.write_results(lines, tmp_path / "x.txt")


def test_nothing_is_written_over_what_is_no_report(lines):
  mine = lines.with_suffix(".html")
  mine.write_text("years of work")
  with pytest.raises(UserError, match=r"results\.html is there and is no report"):
    report.write_results(lines)
  assert mine.read_text() == "years of work"
  assert not lines.with_suffix(".md").exists()


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (None, r"cannot read .*results\.jsonl: No such file"),
    ("", r"has no results yet: an evaluation"),
    ('{"format": 1, "ha', r"has no results yet"),
    ("{}\n", r"has no result in line 1: delete that line, or name"),
    ('{"format": 2}\n', r"install a newer one$"),
  ],
)
def test_a_file_without_results_is_one_line(tmp_path, content, message):
  path = tmp_path / "results.jsonl"
  if content is not None:
    path.write_text(content)
  with pytest.raises(UserError, match=message) as caught:
    report.write_results(path)
  assert "\n" not in str(caught.value)


def test_whatever_names_hold_they_do_no_harm(tmp_path):
  evil = f"{EVIL}|\n|x"
  lines = [
    result(
      seed=evil,
      run=f"runs/{number}{evil}",
      settings={"objective__name": f"{number}{evil}", "data__name": evil},
      protocol=evil,
      metric=evil,
      data=evil,
      train=evil,
      test=evil,
      setting={evil: evil},
      config={evil: evil},
      images=evil,
      commit=evil,
      byol_jax=evil,
      encoder__network={"depth": evil, "norm": evil},
    )
    for number in range(2)
  ]
  markdown, page = report.write_results(write_results(tmp_path / "r.jsonl", lines))
  found = Page(page)
  assert not found.all("script")
  assert "{{ 7 * 7 }}" in found.text
  text = markdown.read_text()
  assert "<script>" not in text.replace(r"\<script\>", "")
  tables = [line for line in text.splitlines() if line.startswith("|")]
  widths = [line.replace(r"\|", "").count("|") for line in tables]
  assert widths == [3] * 4 + [6] * 4 + [4] * 3 + [3] * 4
