"""Files of features: what was written is read, also by others."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import byol_jax
from byol_jax import machine
from byol_jax.embed import files
from byol_jax.errors import UserError

NAMES = ["a.png", "ünï/日本.jpg", "b\tc\n.png", "with space.png", "last"]
NOT_UTF8 = os.fsdecode(b"\xff\xfe.png")
ABOUT = {
  "encoder": {"step": 3, "checksum": "sha256:00"},
  "images": {"split": "train"},
  "left_out": {NOT_UTF8: "damaged"},
}


def block(path, names, first=0):
  rng = np.random.default_rng(first)
  embedding = rng.normal(size=(len(names), 3)).astype(np.float32)
  label = np.arange(first, first + len(names), dtype=np.int32) - 1
  np.savez(path, embedding=embedding, path=np.array(names, np.str_), label=label)
  return embedding, label


def written(tmp_path, ending, names=NAMES, class_names=("cat", "dog", "fox", "owl")):
  """A file of two blocks and an empty one, and what should be in it."""
  blocks = [tmp_path / f"{i}.npz" for i in range(3)]
  parts = [
    block(blocks[0], names[:2]),
    block(blocks[1], []),
    block(blocks[2], names[2:]),
  ]
  path = tmp_path / f"features{ending}"
  files.write(path, blocks, class_names, ABOUT)
  return path, *(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
@pytest.mark.parametrize("names", [NAMES, [*NAMES, NOT_UTF8]])
def test_what_was_written_is_read(tmp_path, ending, names):
  path, embedding, label = written(tmp_path, ending, names)
  found = byol_jax.read_features(path)
  np.testing.assert_array_equal(found.embedding, embedding)
  assert found.embedding.dtype == np.float32
  assert found.path.tolist() == names
  assert found.label.tolist() == label.tolist()
  assert found.class_names == ("cat", "dog", "fox", "owl")
  assert found.provenance == ABOUT


def test_numpy_opens_it_without_pickle(tmp_path):
  path, embedding, label = written(tmp_path, ".npz", [*NAMES, NOT_UTF8], ())
  with np.load(path, allow_pickle=False) as arrays:
    assert {*arrays} == {"embedding", "path", "label", "class_names", "provenance"}
    np.testing.assert_array_equal(arrays["embedding"], embedding)
    np.testing.assert_array_equal(arrays["label"], label)
    assert os.fsencode(arrays["path"][-1]) == b"\xff\xfe.png"
    assert json.loads(str(arrays["provenance"])) == ABOUT
    assert arrays["class_names"].shape == (0,)


def test_pandas_of_parquet_sees_strings_and_lists(tmp_path):
  path, embedding, _ = written(tmp_path, ".parquet")
  table = pq.read_table(path)
  assert table.column("path").to_pylist() == NAMES
  np.testing.assert_array_equal(table.column("embedding").to_pylist(), embedding)
  names = json.loads(table.schema.metadata[b"class_names"])
  assert names == ["cat", "dog", "fox", "owl"]


def test_names_that_are_no_utf8_are_bytes_in_parquet(tmp_path):
  path, *_ = written(tmp_path, ".parquet", [*NAMES, NOT_UTF8])
  assert pq.read_table(path).column("path").to_pylist()[-1] == b"\xff\xfe.png"


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("features", "to be written: name a file .npz or .parquet"),
    ("features.csv", "name a file .npz or .parquet"),
    ("missing/features.npz", "missing is not there: make it first"),
    ("there.npz", "there.npz is there already: choose another name, or delete it"),
    ("link.npz", "is there already"),
    ("there.npz/x.npz", "there.npz is no folder: give one"),
  ],
)
def test_a_name_that_is_none(tmp_path, name, message):
  (tmp_path / "there.npz").touch()
  (tmp_path / "link.npz").symlink_to("nowhere")
  with pytest.raises(UserError, match=message):
    files.check_new(files.check_place(tmp_path / name))


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_a_damaged_file_is_named(tmp_path, ending, kept):
  path, *_ = written(tmp_path, ending)
  content = path.read_bytes()
  path.write_bytes(content[: int(kept * len(content))])
  with pytest.raises(UserError, match=f"features{ending} is damaged, or holds no"):
    files.read_features(path)


def test_a_damaged_name_of_a_column_is_named(tmp_path):
  path, *_ = written(tmp_path, ".parquet")
  content = path.read_bytes()
  assert content.count(b"label") > 1
  path.write_bytes(content.replace(b"label", b"lobel"))
  with pytest.raises(UserError, match=r"features\.parquet is damaged, or holds no"):
    files.read_features(path)


def test_other_files_are_no_features(tmp_path):
  np.savez(tmp_path / "other.npz", images=np.zeros(3))
  pq.write_table(pa.table({"embedding": [[1.0, 2.0]]}), tmp_path / "other.parquet")
  path, *_ = written(tmp_path, ".npz")
  arrays = dict(np.load(path))
  np.savez(tmp_path / "short.npz", **arrays | {"label": arrays["label"][1:]})
  for name, message in (
    ("other.npz", "holds no features"),
    ("other.parquet", "holds no features"),
    ("short.npz", r"holds no features \(its arrays are of different lengths\)"),
    ("other.txt", "name a file .npz or .parquet"),
    ("none.npz", "none.npz is not there"),
  ):
    with pytest.raises(UserError, match=message):
      files.read_features(tmp_path / name)


@pytest.mark.parametrize(
  ("name", "value", "message"),
  [
    ("embedding", np.zeros((5, 3), complex), r"its embedding is complex128\[5, 3\]"),
    ("embedding", np.zeros((5, 3), np.str_), "its embedding is <U1"),
    ("embedding", np.zeros((5, 0), np.float32), r"its embedding is float32\[5, 0\]"),
    ("label", np.zeros(5, np.str_), "its labels <U1"),
    ("label", np.full(5, np.nan), "its labels float64"),
    ("label", np.full(5, 4), "a label is of none of its 4 classes"),
    ("label", np.full(5, -2), "a label is of none of its 4 classes"),
    ("path", np.arange(5), "its paths are int64"),
    ("class_names", np.arange(4), "its names of classes are no texts"),
    ("class_names", np.array([["a"], ["b"]]), "its names of classes are no texts"),
    ("provenance", np.array("[]"), "its provenance is of another form"),
    ("provenance", np.array("{}"), "its provenance is of another form"),
    ("provenance", np.array('{"a":' * 100_000), "recursion"),
    (
      "provenance",
      np.array(json.dumps(ABOUT | {"data": "x"})),
      "its provenance is of another form",
    ),
  ],
)
def test_what_is_of_another_form_is_no_features(tmp_path, name, value, message):
  path, *_ = written(tmp_path, ".npz")
  with np.load(path) as arrays:
    np.savez(path, **(dict(arrays) | {name: value}))
  with pytest.raises(UserError, match=f"holds no features .*{message}"):
    byol_jax.read_features(path)


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_a_pipe_is_not_waited_for(tmp_path, ending):
  os.mkfifo(tmp_path / f"features{ending}")
  with pytest.raises(UserError, match=r"holds no features .*it is a pipe or a device"):
    byol_jax.read_features(tmp_path / f"features{ending}")


def test_what_could_fill_the_memory_is_not_unpacked(tmp_path):
  path, *_ = written(tmp_path, ".npz")
  with np.load(path) as arrays:
    np.savez_compressed(path, **arrays)
  with pytest.raises(UserError, match=r"no features \(it is compressed, as no file of"):
    byol_jax.read_features(path)


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_what_is_more_than_memory_is_not_read(tmp_path, monkeypatch, ending):
  path, *_ = written(tmp_path, ending)
  monkeypatch.setattr(machine, "memory", lambda: 59)  # five of three take 60
  with pytest.raises(
    UserError, match=r"takes 0.0 GiB of memory, and there are 0.0 here"
  ):
    byol_jax.read_features(path)


def test_a_small_file_of_many_rows_is_not_read(tmp_path):
  path = tmp_path / "bomb.parquet"
  size = 1000
  one = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(size, np.float32)), size)
  table = pa.table({"embedding": one, "path": pa.array(["a"]), "label": pa.array([0])})
  rows = table.take(pa.array(np.zeros(1000, np.int64)))
  with pq.ParquetWriter(path, table.schema) as writer:
    for _ in range(100):
      writer.write_table(rows)
  assert path.stat().st_size < 2**20
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(machine, "memory", lambda: 2**28)  # of 381 MiB
    with pytest.raises(
      UserError, match=r"takes 0.4 GiB of memory, and there are 0.2 here"
    ):
      byol_jax.read_features(path)
