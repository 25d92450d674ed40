"""The evaluation by nearest neighbours, beside scikit-learn's on the same features."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

import byol_jax
from byol_jax.data import datasets, sources
from byol_jax.errors import UserError
from byol_jax.run import results
from byol_jax.run.folder import RunDir
from configs import knn as configs_knn
from experiments import knn
from experiments.downstream import frozen, outcomes

GOLDEN = Path(__file__).parents[1] / "golden" / "run"


def config_of(**changes):
  config = configs_knn.get_config()
  config.encoder = str(GOLDEN)
  config.data.update(train="train[:80]", test="test[:30]", held_out=20)
  config.eval.batch_size = 40
  config.update(k=(1, 3, 9), temperature=(0.01, 0.5), **changes)
  return config


def scikit_learn(train, test, k, temperature):
  def weights(distance):
    return np.exp(-distance / temperature)

  model = KNeighborsClassifier(k, metric="cosine", weights=weights)
  return model.fit(*train).score(*test)


def labelled_features(split):
  encoder, source = byol_jax.load_encoder(GOLDEN), datasets.open_dataset("photos", None)
  source = source.split(split)
  pairs = [source[i] for i in range(len(source))]
  features = [encoder(image[None])[0] for image, _ in pairs]
  return np.stack(features), np.array([label for _, label in pairs])


def test_it_reports_the_pair_that_is_best_on_held_out_images(tmp_path):
  run_dir = RunDir(tmp_path / "out", start={"started": "today"})
  summary = knn.run(config_of(), run_dir)
  assert run_dir.starts() == [{"started": "today"}]
  encoder = byol_jax.load_encoder(GOLDEN)
  assert summary["evaluated"] == {
    "path": str(GOLDEN),
    "step": encoder.step,
    "checksum": encoder.checksum,
  }
  train, test = labelled_features("train[:80]"), labelled_features("test[:30]")
  grid = [(k, t) for k in (1, 3, 9) for t in (0.01, 0.5)]
  fit, held_out = ([x[:60] for x in train], [x[60:] for x in train])
  scores = [scikit_learn(fit, held_out, *each) for each in grid]
  chosen = grid[int(np.argmax(scores))]  # the first of the best
  assert (summary["k"], summary["temperature"]) == chosen
  expected = scikit_learn(train, test, *chosen)
  assert summary["knn"]["encoder"] == pytest.approx(expected)
  found = {(r["k"], r["temperature"]): r["held_out"] for r in summary["of_all"]}
  assert found == pytest.approx(dict(zip(grid, scores, strict=True)))
  assert summary["test_images"] == 30


def interrupted(*_, **__):
  raise KeyboardInterrupt


def test_a_killed_one_comes_to_the_same_and_to_one_line(tmp_path, monkeypatch):
  expected = knn.run(config_of(), RunDir(tmp_path / "whole" / "out"))
  (line,) = results.read(tmp_path / "whole" / results.FILE)
  workdir = tmp_path / "killed" / "out"
  # While features are made, before the result is written, and after that.
  for owner, name in (
    (frozen.files, "read_features"),
    (outcomes, "record"),
    (outcomes, "ended"),
  ):
    with monkeypatch.context() as patched:
      patched.setattr(owner, name, interrupted)
      with pytest.raises(KeyboardInterrupt):
        knn.run(config_of(), RunDir(workdir))
  assert (workdir / "features").exists()
  for _ in range(2):  # the second has nothing left to do
    assert knn.run(config_of(), RunDir(workdir)) == expected
    (again,) = results.read(tmp_path / "killed" / results.FILE)
  assert again["value"] == line["value"]
  assert not (workdir / "features").exists()
  assert json.loads((workdir / "summary.json").read_text()) == expected
  other = tmp_path / "other.jsonl"  # of a complete one
  knn.run(config_of(results=str(other)), RunDir(workdir))
  (again,) = results.read(other)
  told = ("value", "setting", "test_images")
  assert [again[key] for key in told] == [line[key] for key in told]


def test_nothing_is_chosen_by_one_class(tmp_path, monkeypatch):
  source = datasets.open_dataset("photos", None).split("train[:40]")
  ordered = sources.ArrayDataset(
    "ordered", {"train": (source.images, np.arange(40) // 20)}
  )
  monkeypatch.setitem(datasets.DATASETS, "ordered", lambda data_dir: ordered)
  config = config_of()
  config.data.update(name="ordered", train="train", test="train", held_out=10)
  with pytest.raises(UserError, match="held out has one class alone on its 10 images"):
    knn.run(config, RunDir(tmp_path / "several"))
  config.update(k=(3,), temperature=(0.5,))  # nothing to choose
  assert knn.run(config, RunDir(tmp_path / "one"))["k"] == 3
  config.data.train = "train[:20]"
  with pytest.raises(UserError, match="all images to train on are of one class"):
    knn.run(config, RunDir(tmp_path / "none"))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"k": ()}, r"k is \(\): give 1 or more, each"),
    ({"k": (0,)}, r"k is \(0,\): give 1 or more, each"),
    (
      {"temperature": (0.1, 0.0)},
      r"temperature is \(0.1, 0.0\): give more than 0, each",
    ),
    ({"encoder": "nowhere"}, "no checkpoint at .*nowhere"),
    ({"eval": {"batch_size": 0}}, "eval.batch_size is 0: give 1 to 65,536"),
    ({"seed": -1}, "seed is -1: give 0 to 4,294,967,295"),
    ({"data": {"test": "test[:1]"}}, r"'test\[:1\]' has one image: give two or more"),
    ({"data": {"valid": "test[:1]", "held_out": None}}, r"'test\[:1\]' has one image"),
  ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(tmp_path, change, message):
  config = config_of()
  config.update(change)
  with pytest.raises(UserError, match=message):
    knn.run(config, RunDir(tmp_path / "out"))
  assert not (tmp_path / "out").exists()
