"""Images that cannot be read, and folders that changed, in training runs."""

import shutil
import types

import chex
import jax
import numpy as np
import pytest
from PIL import Image

from byol_jax import load_encoder, machine, parallel
from byol_jax.data import datasets, processes
from byol_jax.errors import UserError
from byol_jax.run import image_list
from byol_jax.run.folder import RunDir
from experiments import dial, pretrain
from experiments.inputs import Inputs, check_folder
from tests import tiny


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
  """40 images in two classes; the pixels of b/7.png are damaged."""
  rng = np.random.default_rng(0)
  for name in "ab":
    (tmp_path / "photos" / name).mkdir(parents=True)
    for number in range(20):
      image = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
      Image.fromarray(image).save(tmp_path / "photos" / name / f"{number}.png")
  damage(tmp_path / "photos" / "b" / "7.png")
  return tmp_path / "photos"


def damage(path):
  """Breaks the pixels; header and end stay, so that only decoding finds it."""
  content = bytearray(path.read_bytes())
  middle = len(content) // 2
  content[middle : middle + 100] = bytes(100)
  path.write_bytes(content)


def config(photos, **data):
  """A tiny run on the folder, all settings given but those of its splits."""
  found = tiny.config(steps=3)
  data = {"train": "train", "max_unreadable": 0.05} | data
  found.data.update(name="folder", data_dir=str(photos), **data)
  found.probe.update(
    train="train[8:]", test="train[:8]", valid_train="train[8:]", valid_test="train[:8]"
  )
  found.eval.update(every_steps=3, baselines=("pixels",))
  return found


def run(photos, workdir, **data):
  return pretrain.run(config(photos, **data), RunDir(workdir))


def test_a_run_on_a_folder(photos, tmp_path):
  (photos / "a" / "0.png").write_bytes(b"")
  summary = run(photos, tmp_path / "run")
  assert set(summary["knn"]) == {"encoder", "pixels"}
  skipped = (tmp_path / "run" / "skipped.tsv").read_text().splitlines()
  assert sorted(line.split("\t")[0] for line in skipped) == ["a/0.png", "b/7.png"]
  assert "a/0.png\tthe file is empty" in skipped
  assert load_encoder(tmp_path / "run").step == 3

  # The same images under another name go on; one more does not.
  moved = photos.rename(tmp_path / "moved")
  assert run(moved, tmp_path / "run") == summary
  (moved / "a" / "20.png").write_bytes((moved / "a" / "1.png").read_bytes())
  (moved / "b" / "3.png").unlink()
  with pytest.raises(UserError) as error:
    run(moved, tmp_path / "run")
  assert (
    "1 new or changed (such as a/20.png), 1 gone or changed (such as b/3.png); put"
  ) in str(error.value)
  assert (tmp_path / "run" / "summary.json").exists()


def test_too_many_unreadable_images(photos, tmp_path):
  for number in range(2):
    (photos / "a" / f"{number}.png").write_bytes(b"")
  message = (
    r"^2 images of .*, more than data.max_unreadable = 0.01 of all, such as a/[01]"
  )
  with pytest.raises(UserError, match=message):
    run(photos, tmp_path / "run", max_unreadable=0.01)
  assert not (tmp_path / "run").exists()


def test_what_is_found_while_training_counts(photos):
  for number in range(6):
    damage(photos / "a" / f"{number}.png")
  settings = config(photos, max_unreadable=0.1)
  dataset = datasets.open_dataset("folder", str(photos))
  inputs = Inputs(settings, dataset)
  told = []
  inputs.on_unreadable = lambda unreadable: told.append(dict(unreadable))
  view = pretrain.views.from_settings(settings.views.view1)
  message = r"\d images of .* cannot be read, more than data.max_unreadable = 0.1 of"
  with pytest.raises(UserError, match=message):
    for _ in inputs.batches([view], 0):
      pass
  assert 4 < len(told[-1]) <= 7
  assert set(told[-1]) <= {"b/7.png", *(f"a/{number}.png" for number in range(6))}


def test_a_run_among_the_images_is_refused(photos, tmp_path):
  dataset = datasets.open_dataset("folder", str(photos))
  (tmp_path / "link").symlink_to(photos)
  for place in (photos, photos / "runs" / "mine", tmp_path / "link" / "run"):
    with pytest.raises(UserError, match="lies among the images of"):
      check_folder(RunDir(place), dataset, "folder")
  assert check_folder(RunDir(tmp_path / "photos and runs"), dataset, "folder") is None


def test_the_folder_of_another_data_set_is_said_to_be(photos, tmp_path):
  other = tmp_path / "other"
  other.mkdir()
  (other / "config.json").write_text('{"data": {"name": "photos"}}')
  image_list.write(other / image_list.NAME, ["1", "2"])
  dataset = datasets.open_dataset("folder", str(photos))
  line = r"another config \(data.name is photos there, and folder here\); choose anoth"
  with pytest.raises(UserError, match=line):
    check_folder(RunDir(other), dataset, "folder")


def test_a_whole_config_is_made_of_the_preset_and_kept(photos, tmp_path, monkeypatch):
  found = tiny.SYSTEMS["byol_gn_ws"]("folder")
  found.data.update(data_dir=str(photos), name="unlabelled_folder")
  made = pretrain.Pretrain(found, RunDir(tmp_path / "run")).config
  assert dial._open(made) == []
  assert made.data.size == 32
  assert made.probe.valid_train == "train[4:36]"
  assert found.data.size is None

  RunDir(tmp_path / "run").claim(made)
  monkeypatch.setattr(machine, "cores", lambda: 4)  # another machine
  again = pretrain.Pretrain(found, RunDir(tmp_path / "run")).config
  assert again.to_dict() == made.to_dict()
  assert pretrain.Pretrain(found).config.train.epochs == made.train.epochs == 1000


def test_images_that_must_be_enlarged_are_counted(photos, caplog):
  dataset = datasets.open_dataset("folder", str(photos))
  settings = config(photos, size=21)
  with caplog.at_level("WARNING", logger="absl"):
    Inputs(settings, dataset)
  assert "40 of 40 images have fewer than data.size = 21 pixels a side" in caplog.text
  caplog.clear()
  Inputs(config(photos, size=20), dataset)
  assert "enlarged" not in caplog.text


def cropped_batches(photos, on_device):
  """All batches of the run as a step has them, and what was found unreadable."""
  settings = config(photos, on_device=on_device)
  settings.train.accumulate = 2
  inputs = Inputs(settings, datasets.open_dataset("folder", str(photos)))
  crop = parallel.pmap(
    lambda _, batch: jax.tree.map(parallel.gather, inputs.cropped(batch))
  )
  kinds = [pretrain.views.from_settings(settings.views[v]) for v in ("view1", "view2")]
  found = [jax.device_get(crop(0, batch)) for batch in inputs.batches(kinds, 0)]
  return found, inputs.unreadable


def test_images_on_the_device_show_what_the_host_would_have_sent(photos):
  ours, our_unreadable = cropped_batches(photos, on_device=True)
  theirs, their_unreadable = cropped_batches(photos, on_device=False)
  assert len(ours) == 3
  assert our_unreadable == their_unreadable
  assert list(our_unreadable) == ["b/7.png"]  # 48 places show all 40 images
  for one, other in zip(ours, theirs, strict=True):
    chex.assert_trees_all_equal_shapes_and_dtypes(one, other)
    for key in one.keys() - {"view1", "view2"}:
      np.testing.assert_array_equal(one[key], other[key])
    for key in ("view1", "view2"):
      distance = np.abs(one[key].astype(int) - other[key])
      assert distance.max() <= 1
      assert (distance > 0).mean() < 0.05


def test_images_of_several_sizes_cannot_live_on_the_device(photos, tmp_path):
  Image.new("RGB", (25, 20)).save(photos / "a" / "3.png")
  message = r"of one size; image (a|b)/.* pixels, .* set data.on_device=False$"
  with pytest.raises(UserError, match=message):
    run(photos, tmp_path / "run", on_device=True)
  assert not (tmp_path / "run").exists()


def test_images_on_the_device_fit_there(photos, monkeypatch):
  monkeypatch.setattr(parallel, "device_memory", lambda: 4 * 40 * 20 * 24 * 3 - 1)
  message = r"40 images of 20 x 24 x 3 take 0.0 GiB, more than 25% of the 0.0 GiB of a"
  with pytest.raises(UserError, match=message):
    Inputs(config(photos, on_device=True), datasets.open_dataset("folder", str(photos)))


def test_images_of_other_channels_than_the_encoders(photos):
  dataset = datasets.open_dataset("folder", str(photos))
  with pytest.raises(
    UserError, match="have 3 channels, and the encoder was trained on 1"
  ):
    Inputs(config(photos), dataset, channels=1)


def test_batches_that_fill_the_memory_are_refused(photos, tmp_path, monkeypatch):
  """Of 16 images to train on, or of the 32 of the largest split to evaluate."""
  monkeypatch.setattr(machine, "memory", lambda: 2 * 32 * 16 * 16 * 3)
  given = config(photos)
  given.eval.batch_size = 64
  pretrain.Pretrain(given)
  given.data.size = 17
  with pytest.raises(
    UserError, match=r"batches of 32 images of data\.size = 17 take .*:"
  ):
    pretrain.Pretrain(given)


def test_workers_without_shared_memory_are_refused(photos, monkeypatch):
  monkeypatch.setattr(processes, "_SHARED", photos)
  monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=0))
  pretrain.Pretrain(config(photos))
  with pytest.raises(UserError, match=r"data\.workers = 2 take 0 MiB of shared memory"):
    pretrain.Pretrain(config(photos, workers=2))
