"""Features streamed to a file: all of them, in bounded memory, after any kill."""

import json
import os
import tracemalloc

import jax
import numpy as np
import pytest

import byol_jax
from byol_jax import features
from byol_jax.data import datasets
from byol_jax.data.sources import ArrayDataset
from byol_jax.embed import blocks
from byol_jax.errors import UserError
from tests.embed.made import fake_encoder, write_images


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
  monkeypatch.setattr(blocks, "MOST_IMAGES", 5)


def dataset(count=23, seed=0):
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 256, (count, 10, 12, 3), dtype=np.uint8)
  splits = {"train": slice(None, -3), "test": slice(-3, None)}
  labels = np.arange(count) % 4 - 1
  return ArrayDataset("noise", {s: (images[p], labels[p]) for s, p in splits.items()})


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
@pytest.mark.parametrize("batch_size", [2, 5, 100])
def test_the_file_has_what_of_encoder_gives(tmp_path, ending, batch_size):
  encoder, data = fake_encoder(), dataset()
  out = tmp_path / f"out{ending}"
  about = byol_jax.write_features(encoder, data, out, batch_size=batch_size)
  found = byol_jax.read_features(out)
  expected = features.of_encoder(encoder, data.split("train+test"), 4)
  np.testing.assert_allclose(found.embedding, expected["embedding"], atol=1e-6)
  assert found.label.tolist() == expected["label"].tolist()
  assert found.path.tolist() == [str(i) for i in range(23)]
  assert found.provenance == about
  assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_the_file_says_where_it_is_from(tmp_path):
  encoder = fake_encoder()
  about = byol_jax.write_features(
    encoder, dataset(), tmp_path / "out.npz", split="test", notes={"run": "runs/mine"}
  )
  assert about["encoder"]["checksum"] == f"sha256:{encoder.checksum}"
  assert about["encoder"]["step"] == encoder.step
  assert about["encoder"]["image"]["size"] == 8
  assert about["images"] == {"set": "noise", "split": "test", "count": 3}
  assert about["run"] == "runs/mine"
  assert about["byol_jax"] == byol_jax.__version__
  assert {"command", "commit", "versions", "kind", "processor"} <= about.keys()
  assert about["left_out"] == {}


class Killed(BaseException):
  """As if the process ended here."""


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_a_killed_command_goes_on_after_the_last_block(tmp_path, monkeypatch, ending):
  encoder, out = fake_encoder(), tmp_path / f"out{ending}"
  whole = tmp_path / "whole.npz"
  byol_jax.write_features(encoder, dataset(), whole, batch_size=2)
  stream, looked_at = features.stream, []

  def killed_after(count):
    def stop(*arguments):
      for number, batch in enumerate(stream(*arguments)):
        if number == count:
          raise Killed
        looked_at.extend(batch["index"].tolist())
        yield batch

    return stop

  for count in (2, 4, 0, 5):
    monkeypatch.setattr(features, "stream", killed_after(count))
    with pytest.raises(Killed):
      byol_jax.write_features(encoder, dataset(), out, batch_size=2)
    assert not out.exists()
  # A block is three batches: 4 images were lost, then 2, nothing, and 4.
  assert looked_at == [*range(4), *range(8), *range(6, 16)]
  monkeypatch.setattr(features, "stream", stream)
  byol_jax.write_features(encoder, dataset(), out, batch_size=2)
  for one, other in zip(
    byol_jax.read_features(out), byol_jax.read_features(whole), strict=True
  ):
    np.testing.assert_array_equal(one, other)
  assert not (tmp_path / f"out{ending}.partial").exists()


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
@pytest.mark.parametrize("left", [("settings.json", "a.npz"), ("settings.json",), ()])
def test_a_command_that_was_killed_at_its_very_end_is_complete(
  tmp_path, monkeypatch, ending, left
):
  out = tmp_path / f"f{ending}"

  def killed(_):  # once the file has its name
    folder = out.with_name(f"{out.name}.partial")
    for path in folder.iterdir():
      if path.name not in left:
        path.unlink()
    raise Killed

  encoder = fake_encoder()
  with monkeypatch.context() as patch:
    patch.setattr(blocks.Blocks, "remove", killed)
    with pytest.raises(Killed):
      byol_jax.write_features(encoder, dataset(), out, batch_size=4)

  def kept():
    found = out.stat()
    return found.st_ino, found.st_mtime_ns

  before = kept()
  about = byol_jax.write_features(encoder, dataset(), out, batch_size=4)
  assert about == byol_jax.read_features(out).provenance
  assert kept() == before
  assert list(tmp_path.glob("f*")) == [out]
  for other in (dataset(seed=1), dataset(22)):
    with pytest.raises(UserError, match="is there already"):
      byol_jax.write_features(encoder, other, out, batch_size=4)
  assert kept() == before


@pytest.fixture
def partial(tmp_path, monkeypatch):
  """The folder that a killed command leaves."""
  stream = features.stream

  def stop(*arguments):
    batches = stream(*arguments)
    yield from (next(batches) for _ in range(7))
    raise Killed

  monkeypatch.setattr(features, "stream", stop)
  with pytest.raises(Killed):
    byol_jax.write_features(
      fake_encoder(), dataset(), tmp_path / "out.npz", batch_size=2
    )
  monkeypatch.setattr(features, "stream", stream)
  folder = tmp_path / "out.npz.partial"
  assert len([*folder.glob("*.npz")]) == 2
  return folder


def other_encoder():
  encoder = fake_encoder()
  encoder.params["linear"]["w"] = encoder.params["linear"]["w"] + 1
  return encoder


def other_form():
  encoder = fake_encoder()
  form = encoder.description.image._replace(crop=0.5)
  description = encoder.description._replace(image=form)
  object.__setattr__(encoder, "description", description)
  return encoder


@pytest.mark.parametrize(
  ("change", "what"),
  [
    ({"encoder": other_encoder}, "encoder"),
    ({"encoder": other_form}, "encoder"),
    ({"dataset": lambda: dataset(seed=1)}, "set of images"),
    ({"split": "train"}, "set of images"),
    ({"batch_size": 4}, "batch size"),
  ],
)
def test_it_goes_on_with_the_same_alone(partial, change, what):
  given = {"encoder": fake_encoder, "dataset": dataset, "split": None, "batch_size": 2}
  given |= change
  before = {path.name: path.read_bytes() for path in partial.iterdir()}
  with pytest.raises(UserError, match=f"begun with a different {what}: give the same"):
    byol_jax.write_features(
      given["encoder"](),
      given["dataset"](),
      partial.with_name("out.npz"),
      split=given["split"],
      batch_size=given["batch_size"],
    )
  assert {path.name: path.read_bytes() for path in partial.iterdir()} == before


def again(partial):
  byol_jax.write_features(
    fake_encoder(), dataset(), partial.with_name("out.npz"), batch_size=2
  )


def test_a_block_that_is_gone_is_made_again(partial, tmp_path):
  min(partial.glob("*.npz")).unlink()
  again(partial)
  found = byol_jax.read_features(tmp_path / "out.npz")
  assert found.path.tolist() == [str(i) for i in range(23)]


def test_a_damaged_block_is_named_and_nothing_is_lost(partial, tmp_path):
  block = max(partial.glob("*.npz"))
  content = bytearray(block.read_bytes())
  content[len(content) // 3] ^= 1
  block.write_bytes(content)
  with pytest.raises(UserError, match=f"{block.name} is damaged .*: delete it"):
    again(partial)
  block.unlink()
  again(partial)
  assert len(byol_jax.read_features(tmp_path / "out.npz").path) == 23


def test_a_block_of_another_name_is_said(partial, tmp_path):
  last = max(partial.glob("*-*.npz"))
  other = last.with_name("notes-of-mine.npz")
  other.write_text("precious")
  with pytest.raises(UserError, match=f"{other} is no block of features: move it away"):
    again(partial)
  other.unlink()
  longer = last.with_name(f"{last.stem[:13]}{99:012d}.npz")
  last.rename(longer)
  with pytest.raises(UserError, match=f"{longer} has not as many images .*: delete it"):
    again(partial)
  longer.unlink()
  os.mkfifo(longer)
  with pytest.raises(UserError, match=f"{longer} is damaged .*pipe .*: delete it"):
    again(partial)
  longer.unlink()
  again(partial)


def test_a_link_among_the_blocks_is_not_written_through(partial, tmp_path):
  theirs = tmp_path / "theirs"
  theirs.write_text("precious")
  (partial / "unfinished.npz").symlink_to(theirs)
  again(partial)
  assert theirs.read_text() == "precious"
  assert not (tmp_path / "out.npz").is_symlink()


def test_two_at_a_time_are_refused(partial):
  opened = blocks.Blocks(partial.with_name("out.npz"), _settings(partial))
  with opened, pytest.raises(UserError, match=r"another run is at work in .*partial"):
    again(partial)
  again(partial)


def _settings(partial):
  return json.loads((partial / "settings.json").read_text())


def test_a_folder_of_something_else_is_left_alone(tmp_path):
  folder = tmp_path / "out.npz.partial"
  folder.mkdir()
  (folder / "thesis.txt").touch()
  with pytest.raises(UserError, match="is not empty and holds no features"):
    byol_jax.write_features(fake_encoder(), dataset(), tmp_path / "out.npz")
  assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_memory_is_bounded_by_blocks(tmp_path, monkeypatch):
  # 16 MB of features in all, 1 MB a block.
  monkeypatch.setattr(blocks, "MOST_IMAGES", 64)

  def wide(encoder, source, batch_size, first=0):
    for start in range(first * batch_size, len(source), batch_size):
      index = np.arange(start, min(start + batch_size, len(source)))
      embedding = np.zeros((len(index), 2**12), np.float32)
      yield {"embedding": embedding, "index": index, "label": index.astype(np.int32)}

  monkeypatch.setattr(features, "stream", wide)
  images = np.zeros((1000, 1, 1, 3), np.uint8)
  data = ArrayDataset("black", {"train": (images, np.zeros(1000, int))})
  peaks = {}
  for ending in (".npz", ".parquet"):
    tracemalloc.start()
    byol_jax.write_features(
      fake_encoder(), data, tmp_path / f"out{ending}", batch_size=32
    )
    peaks[ending] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
  size = 1000 * 2**12 * 4
  assert (tmp_path / "out.npz").stat().st_size > size
  assert max(peaks.values()) < size / 5, peaks


def test_names_of_files_survive_whatever_their_bytes(tmp_path):
  names = ["cat/1.png", os.fsdecode(b"cat/\xff.png"), "dog/日本.png", "dog/b\tc.png"]
  write_images(tmp_path / "photos", names)
  data = datasets.open_dataset("folder", str(tmp_path / "photos"))
  out = tmp_path / "out.npz"
  byol_jax.write_features(fake_encoder(), data, out)
  found = byol_jax.read_features(out)
  by_name = dict(zip(found.path.tolist(), found.label.tolist(), strict=True))
  assert by_name == dict(zip(names, [0, 0, 1, 1], strict=True))
  assert found.class_names == ("cat", "dog")


def test_unreadable_images_are_left_out_by_name(tmp_path, monkeypatch):
  write_images(tmp_path / "photos", [f"{i}.png" for i in range(9)])
  (tmp_path / "photos" / "text.png").write_text("no image")
  data = datasets.open_dataset("folder", str(tmp_path / "photos"))
  (tmp_path / "photos" / "4.png").unlink()  # between the scan and the reading
  out = tmp_path / "out.npz"
  about = byol_jax.write_features(fake_encoder(), data, out, batch_size=2)
  found = byol_jax.read_features(out)
  assert sorted(found.path) == [f"{i}.png" for i in range(9) if i != 4]
  assert about["left_out"].keys() == {"4.png", "text.png"}
  assert "No such file" in about["left_out"]["4.png"]
  assert about["images"]["count"] == 8


def test_if_all_are_unreadable_nothing_is_left(tmp_path):
  write_images(tmp_path / "photos", ["1.png", "2.png"])
  data = datasets.open_dataset("folder", str(tmp_path / "photos"))
  for path in (tmp_path / "photos").iterdir():
    path.write_bytes(b"\x89PNG")
  with pytest.raises(
    UserError, match=r"none of 2 images can be read; .\.png: .* damaged"
  ):
    byol_jax.write_features(fake_encoder(), data, tmp_path / "out.npz")
  assert {path.name for path in tmp_path.iterdir()} <= {"photos", "cache"}


def test_features_that_are_not_finite_are_refused(tmp_path):
  encoder = fake_encoder()
  encoder.params["linear"]["w"] = encoder.params["linear"]["w"] * np.nan
  with pytest.raises(UserError, match="features of 0 are NaN or infinite"):
    byol_jax.write_features(encoder, dataset(), tmp_path / "out.npz")


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path):
  encoder, data = fake_encoder(), dataset()
  (tmp_path / "there.npz").write_text("precious")
  grey = ArrayDataset(
    "grey", {"train": (np.zeros((3, 8, 8, 1), np.uint8), np.zeros(3, int))}
  )
  calls = [
    (lambda: byol_jax.write_features(encoder, data, tmp_path / "there.npz"), "already"),
    (lambda: byol_jax.write_features(encoder, data, tmp_path / "out.txt"), ".parquet"),
    (
      lambda: byol_jax.write_features(encoder, grey, tmp_path / "out.npz"),
      "1 channels",
    ),
    (
      lambda: byol_jax.write_features(encoder, data, tmp_path / "o.npz", split="valid"),
      "nothing for the split 'valid'",
    ),
    (
      lambda: byol_jax.write_features(encoder, data, tmp_path / "o.npz", batch_size=0),
      "batch_size is 0: give a multiple of 2",
    ),
  ]
  for call, message in calls:
    with pytest.raises(UserError, match=message):
      call()
  assert [path.name for path in tmp_path.iterdir()] == ["there.npz"]
  assert (tmp_path / "there.npz").read_text() == "precious"


def test_one_image_is_a_data_set_too(tmp_path):
  assert jax.device_count() == 2
  data = ArrayDataset(
    "one", {"train": (np.zeros((1, 8, 8, 3), np.uint8), np.array([-1]))}
  )
  byol_jax.write_features(fake_encoder(), data, tmp_path / "out.npz")
  assert byol_jax.read_features(tmp_path / "out.npz").embedding.shape == (1, 5)


def test_grey_images_of_a_folder_are_seen_as_colours(tmp_path):
  write_images(tmp_path / "grey", ["1.png", "2.png", "3.png"], channels=1)
  data = datasets.open_dataset("folder", str(tmp_path / "grey"))
  encoder, source = fake_encoder(), data.split("train")
  byol_jax.write_features(encoder, data, tmp_path / "out.npz")
  found = byol_jax.read_features(tmp_path / "out.npz")
  for row in range(3):
    image = np.repeat(source[row][0], 3, axis=-1)
    np.testing.assert_allclose(found.embedding[row], encoder(image[None])[0], atol=1e-5)


def test_a_disk_that_is_gone_for_a_while_costs_no_image(tmp_path, monkeypatch):
  photos, away = tmp_path / "photos", tmp_path / "away"
  write_images(photos, [f"{i}.png" for i in range(20)])
  data = datasets.open_dataset("folder", str(photos))
  stream, out = features.stream, tmp_path / "out.npz"

  def stream_and_go(*args):
    for number, batch in enumerate(stream(*args)):
      if number == 4:
        photos.rename(away)
        batch = {name: values[:0] for name, values in batch.items()}
      yield batch

  with monkeypatch.context() as patch:
    patch.setattr(features, "stream", stream_and_go)
    with pytest.raises(UserError, match=r"cannot read .*: No such .* the same command"):
      byol_jax.write_features(fake_encoder(), data, out, batch_size=2)
  away.rename(photos)
  about = byol_jax.write_features(fake_encoder(), data, out, batch_size=2)
  assert (about["images"]["count"], about["left_out"]) == (20, {})
