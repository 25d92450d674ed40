import pytest

from byol_jax.data import splits
from byol_jax.errors import UserError

SIZES = {"train": 10, "test": 4, "empty": 0}


@pytest.mark.parametrize(
  ("spec", "expected"),
  [
    ("train", {"train": range(10)}),
    ("train[1:]", {"train": range(1, 10)}),
    ("train[-3:]", {"train": range(7, 10)}),
    ("train[:20%]", {"train": range(2)}),
    ("test[50%:]", {"test": range(2, 4)}),
    ("train[7:9]+test", {"train": range(7, 9), "test": range(4)}),
    ("test+train[:1]", {"test": range(4), "train": range(1)}),
  ],
)
def test_a_spec_names_positions_in_their_order(spec, expected):
  parts = splits.resolve("tiny", spec, SIZES)
  found = [(name, range(SIZES[name])[part]) for name, part in parts]
  assert found == list(expected.items())


def test_all_is_every_split():
  parts = splits.resolve("tiny", "all", {"train": 10, "test": 4})
  assert [name for name, _ in parts] == ["train", "test"]


def test_files_may_be_counted():
  shards = {"train": [3, 4, 3], "test": [4]}
  found = splits.resolve("tiny", "train[1shard:]", shards)
  assert found == [("train", slice(3, None))]
  with pytest.raises(UserError, match=r"it has train \(10 images\), test \(4 "):
    splits.resolve("tiny", "train[3shard:]", shards)


def test_a_split_may_be_named_twice():
  parts = splits.resolve("tiny", "test[:1]+test[3:]", SIZES)
  assert [range(4)[part] for _, part in parts] == [range(1), range(3, 4)]


@pytest.mark.parametrize(
  "spec",
  [
    "",
    "all[:10%]",
    "validation",
    "Train",
    "train[",
    "train[3]",
    "train[5:5]",
    "train[9:5]",
    "train[:1%]",
    "train[:99999]",
    "train[::2]",
    "train+",
    "empty",
    "train[3:]+test[4:]",
  ],
)
def test_a_spec_that_names_nothing_is_answered_with_what_there_is(spec):
  with pytest.raises(UserError) as raised:
    splits.resolve("tiny", spec, SIZES)
  message = str(raised.value)
  assert message.startswith(f"tiny has nothing for the split {spec!r}: it has ")
  assert "train (10 images), test (4 images), empty (0 images)" in message
