"""What evaluations share: which encoders, which images, and a line of results."""

import dataclasses
import logging
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import byol_jax
from byol_jax import parallel
from byol_jax.data import datasets, sources
from byol_jax.errors import UserError
from byol_jax.run import results
from byol_jax.run.folder import RunDir
from configs import knn
from experiments.downstream import encoders, frozen, outcomes
from experiments.labels import FIT, HELD_OUT
from tests.embed.made import write_images

GOLDEN = Path(__file__).parents[2] / "golden" / "run"


@pytest.fixture
def runs(tmp_path):
  """Two runs, an encoder's file, and what else lies in such a folder."""
  folder = tmp_path / "runs"
  for name in ("a-seed1", "b-seed2"):
    shutil.copytree(GOLDEN, folder / name)
  byol_jax.load_encoder(GOLDEN).save(folder / "c.safetensors")
  (folder / "logs").mkdir()
  (folder / "knn").mkdir()
  (folder / "knn" / "config.json").write_text('{"experiment": "knn"}')
  (folder / "results.jsonl").write_text("")
  return folder


def config_of(encoder, **data):
  config = knn.get_config()
  config.encoder = str(encoder)
  config.data.update(train="train[:20]", test="test[:10]")
  config.data.update(data)
  config.eval.batch_size = 8
  return config


def evaluated(config, run_dir):
  return {"encoder": Path(config.encoder).name, "folder": run_dir.path.name}


def test_a_pattern_stands_for_the_encoders_that_it_matches(runs, tmp_path):
  run_dir = RunDir(tmp_path / "out")
  found = encoders.each(config_of(runs / "*"), run_dir, evaluated)
  names = ["a-seed1", "b-seed2", "c.safetensors"]
  assert found == {name: {"encoder": name, "folder": name} for name in names}
  found = encoders.each(config_of(tmp_path / "*" / "*-seed?"), run_dir, evaluated)
  assert list(found) == ["a-seed1", "b-seed2"]


def test_encoders_of_one_name_have_folders_of_their_own(runs, tmp_path):
  shutil.copytree(runs, tmp_path / "more")
  found = encoders.each(
    config_of(tmp_path / "*" / "a-seed1"), RunDir(tmp_path / "out"), evaluated
  )
  assert list(found) == ["more-a-seed1", "runs-a-seed1"]


def test_encoders_whose_folders_would_be_one_are_refused(runs, tmp_path):
  for name in ("a/b-c", "a-b/c"):
    shutil.copytree(GOLDEN, tmp_path / "more" / name)
  with pytest.raises(UserError, match=r"a-b/c and .*a/b-c would both be called a-b-c"):
    encoders.each(
      config_of(tmp_path / "more" / "*" / "*"), RunDir(tmp_path / "out"), evaluated
    )


def test_an_encoder_that_cannot_be_evaluated_stops_no_other(runs, tmp_path):
  (runs / "b-seed2" / "config.json").write_text("[]")
  done = []

  def evaluate(config, run_dir):
    if "a-seed1" in config.encoder:
      raise UserError("it has no checkpoint")
    done.append(run_dir.path.name)
    return {}

  message = r"1 of 3 encoders could .* such as .*/a-seed1 \(it has no checkpoint\)"
  with pytest.raises(UserError, match=message):
    encoders.each(config_of(runs / "*"), RunDir(tmp_path / "out"), evaluate)
  assert done == ["b-seed2", "c.safetensors"]


def test_on_several_hosts_none_goes_on_where_another_may_wait(
  runs, tmp_path, monkeypatch
):
  monkeypatch.setattr(encoders.jax, "process_count", lambda: 2)
  monkeypatch.setattr(parallel, "value_from_first_host", lambda read: read())
  done = []

  def evaluate(config, run_dir):
    done.append(run_dir.path.name)
    raise UserError("a file of this host is damaged")

  with pytest.raises(UserError, match="/a-seed1: a file of this host is damaged"):
    encoders.each(config_of(runs / "*"), RunDir(tmp_path / "out"), evaluate)
  assert done == ["a-seed1"]


def test_a_single_encoder_has_the_folder_itself(runs, tmp_path):
  odd = runs / "odd[1]"  # a pattern by its look
  (runs / "a-seed1").rename(odd)
  found = encoders.each(config_of(odd), RunDir(tmp_path / "out"), evaluated)
  assert found == {"encoder": "odd[1]", "folder": "out"}


@pytest.mark.parametrize(
  ("encoder", "message"),
  [
    ("runs/l*", "there is no encoder at .*give runs or files"),
    ("", "name the encoder"),
  ],
)
def test_where_there_is_no_encoder_one_line_says_so(runs, encoder, message):
  config = config_of(runs.parent / encoder)
  if not encoder:
    config.encoder = None
  with pytest.raises(UserError, match=message):
    encoders.each(config, RunDir(runs.parent / "out"), evaluated)


def made_up(monkeypatch, images, labels):
  arrays = {"train": (images, labels), "test": (images, labels)}
  opened = sources.ArrayDataset("made_up", arrays)
  monkeypatch.setitem(datasets.DATASETS, "made_up", lambda data_dir: opened)


def subject(tmp_path, **data):
  config = config_of(GOLDEN, **data)
  config.results = str(tmp_path / results.FILE)
  found = frozen.subject(config, RunDir(tmp_path / "out"))
  found.run_dir.claim(found.config)
  return found


def test_features_are_those_of_the_encoder_on_grey_images_too(tmp_path, monkeypatch):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (20, 9, 9, 1), dtype=np.uint8)
  made_up(monkeypatch, images, np.arange(20) % 3)
  found = subject(tmp_path, name="made_up", train="train", test="test")
  expected = found.encoder(images.repeat(3, axis=-1))
  for split, part in ((FIT, slice(18)), (HELD_OUT, slice(18, 20))):
    features = found.features(split)
    np.testing.assert_allclose(features.embedding, expected[part], atol=1e-5)
    np.testing.assert_array_equal(features.label, np.arange(20)[part] % 3)


def test_features_are_made_once_and_never_of_another_encoder(tmp_path):
  found = subject(tmp_path)
  first = found.features("test[:10]")
  (path,) = (tmp_path / "out" / "features").iterdir()
  before = path.stat().st_mtime_ns
  np.testing.assert_array_equal(found.features("test[:10]").embedding, first.embedding)
  assert path.stat().st_mtime_ns == before
  config = config_of(GOLDEN)
  config.update(which="2", results=found.config.results)
  with pytest.raises(UserError, match=r"is another encoder than it was when .* began"):
    frozen.subject(config, RunDir(tmp_path / "out"))


def test_images_without_a_label_are_left_out_and_counted(tmp_path, monkeypatch, caplog):
  images = np.random.default_rng(0).integers(0, 256, (20, 9, 9, 3), dtype=np.uint8)
  labels = np.array([-1, 0, 1, 2] * 5)
  made_up(monkeypatch, images, labels)
  found = subject(tmp_path, name="made_up", train="train", test="test")
  with caplog.at_level(logging.WARNING):
    features = found.features("test")
  assert features.label.tolist() == labels[labels >= 0].tolist()
  assert len(features.embedding) == 15
  assert "5 of 20 images have no label" in caplog.text


def test_images_that_cannot_be_read_are_listed_and_may_be_few_alone(
  tmp_path, monkeypatch, caplog
):
  write_images(tmp_path / "train", [f"{n % 2}/{n}.png" for n in range(20)])
  data = {"name": "folder", "data_dir": str(tmp_path / "train"), "max_unreadable": 0.1}
  found = subject(tmp_path, **data, train="train[:10]", test="train[10:]")
  source = found.dataset.split("train[10:]")
  path = tmp_path / "train" / source.name(3)
  path.write_bytes(path.read_bytes()[:100])
  with caplog.at_level(logging.WARNING):
    assert len(found.features("train[10:]").label) == 9
  assert f"{source.name(3)} is left out: " in caplog.text
  listed = (tmp_path / "out" / "skipped.tsv").read_text().splitlines()
  assert [line.partition("\t")[0] for line in listed] == [source.name(3)]
  found.config.data.max_unreadable = 0.0
  message = f"^1 images of .* data.max_unreadable = 0 of all, such as {source.name(3)}"
  with pytest.raises(UserError, match=message):
    found.features("train[10:]")  # they are kept, and looked at again


def test_too_many_unreadable_images_are_refused_at_once(tmp_path):
  write_images(tmp_path / "train", [f"{n % 2}/{n}.png" for n in range(20)])
  (tmp_path / "train" / "0" / "x.png").write_text("no image")
  data = {"name": "folder", "data_dir": str(tmp_path / "train")}
  with pytest.raises(UserError, match=r"^1 images of .* cannot be read, more than"):
    frozen.subject(config_of(GOLDEN, **data), RunDir(tmp_path / "out"))
  assert not (tmp_path / "out").exists()


def test_a_set_without_labels_is_refused_at_once(tmp_path, monkeypatch):
  made_up(monkeypatch, np.zeros((20, 9, 9, 3), np.uint8), np.full(20, -1))
  with pytest.raises(
    UserError, match="made_up has no labels, one an image: give images of"
  ):
    subject(tmp_path, name="made_up", train="train", test="test")


def test_a_collapse_is_said_first(tmp_path, monkeypatch, caplog):
  made_up(monkeypatch, np.full((20, 9, 9, 3), 128, np.uint8), np.arange(20) % 2)
  found = subject(tmp_path, name="made_up", train="train", test="test")
  with caplog.at_level(logging.WARNING):
    found.features("test")
  assert "has collapsed, or was not trained: 1.0000" in caplog.text


def damaged(tmp_path, factor):
  encoder = byol_jax.load_encoder(GOLDEN)
  params = jax.tree.map(lambda x: x * factor, encoder.params)
  path = tmp_path / "damaged.safetensors"
  dataclasses.replace(encoder, params=params).save(path)
  return path


def test_an_encoder_that_says_0_of_all_has_collapsed(tmp_path, caplog):
  config = config_of(damaged(tmp_path, 0.0))
  frozen.subject(config, RunDir(tmp_path / "out")).look("test[:10]")
  assert "has collapsed, or was not trained: 1.0000" in caplog.text


def test_weights_that_are_no_numbers_are_told_before_anything_is_written(tmp_path):
  config = config_of(damaged(tmp_path, np.nan))
  with pytest.raises(UserError, match=r"weights of .* are NaN or infinite"):
    frozen.subject(config, RunDir(tmp_path / "out"))
  assert not (tmp_path / "out").exists()


def test_one_image_is_no_collapse(tmp_path, caplog):
  subject(tmp_path).look("test[:10]", images=1)
  assert "collapsed" not in caplog.text


def test_images_to_choose_by_that_are_fitted_to_are_said(tmp_path, caplog):
  subject(tmp_path, valid="train[15:25]")
  assert (
    "5 of the 10 images of 'train[15:25]', to choose settings by, are in 'train[:20]'"
    " too, which is fitted to: the choice says nothing of new images"
  ) in caplog.text


def test_a_result_says_what_it_is_of(tmp_path):
  found = subject(tmp_path)
  summary = {"knn": {"encoder": 0.25}, "test_images": 10, "k": 5}
  outcomes.record(found, "knn", {"top_1": "knn"}, summary, ["k"])
  (line,) = results.read(tmp_path / results.FILE)
  assert line["value"] == 0.25
  assert line["setting"] == {"k": 5}
  assert (line["data"], line["train"], line["test"]) == (
    "photos",
    "train[:20]",
    "test[:10]",
  )
  assert line["encoder"]["checksum"] == found.encoder.checksum
  assert line["pretrained"]["config"]["seed"] == 13
  assert line["run"] == str(tmp_path / "out")
  other = found._replace(run_dir=RunDir(tmp_path / "out", writes=False))
  summary["knn"]["encoder"] = 0.5
  outcomes.record(other, "knn", {"top_1": "knn"}, summary, [])
  assert len(results.read(tmp_path / results.FILE)) == 1
