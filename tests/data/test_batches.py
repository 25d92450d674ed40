"""Order, content and life of the batches."""

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import chex
import numpy as np
import pytest
from scipy import stats

from byol_jax import machine
from byol_jax.data import batches, sources
from byol_jax.data.sources import ArraySource
from byol_jax.data.views import View
from byol_jax.errors import UserError

WHOLE = View(crop_area=(1, 1), crop_aspect=(1, 1), flip=0)


def _numbered(count, side=4):
  """Image i has the value i in each of its pixels, and the label i."""
  values = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
  images = np.broadcast_to(values, (count, side, side, 1))
  return ArraySource(images, np.arange(count), count)


def _noise(count):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (count, 12, 15, 3), dtype=np.uint8)
  return ArraySource(images, np.arange(count), count)


def _train(source, steps=range(6), batch_size=8, **kwargs):
  views = [View(), View(flip=0)]
  settings = {"size": 6, "batch_size": batch_size, "seed": 3, "steps": steps}
  return list(batches.train_batches(source, views, **settings, **kwargs))


def _one_batch(source, views, *, size=4, seed=0, step=0, batch_size):
  """A step's batch."""
  (batch,) = batches.train_batches(
    source,
    views,
    size=size,
    batch_size=batch_size,
    seed=seed,
    steps=range(step, step + 1),
  )
  return batch


def _join_hosts(batches_of_hosts):
  return [
    {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    for parts in zip(*batches_of_hosts, strict=True)
  ]


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_hosts_split_the_same_global_batches(hosts):
  source = _noise(21)
  split = [_train(source, host=h, hosts=hosts) for h in range(hosts)]
  chex.assert_trees_all_equal(_join_hosts(split), _train(source))


@pytest.mark.parametrize("step", range(6))
def test_a_restart_continues_exactly(step):
  source = _noise(21)
  restarted = _train(source, range(step, 6))
  chex.assert_trees_all_equal(restarted, _train(source)[step:])


def test_worker_processes_change_nothing():
  source = _noise(21)
  chex.assert_trees_all_equal(
    _train(source, range(1, 4), batch_size=130, workers=1),
    _train(source, range(1, 4), batch_size=130),
  )


def test_shapes_types_and_positions():
  batch = _train(_noise(21), host=1, hosts=2)[0]
  assert batch.keys() == {"view1", "view2", "label", "position", "unreadable"}
  for view in (batch["view1"], batch["view2"]):
    chex.assert_shape(view, (4, 6, 6, 3))
    assert view.dtype == np.uint8
  assert batch["label"].dtype == batch["position"].dtype == np.int32
  assert batch["position"].tolist() == [4, 5, 6, 7]
  assert batch["unreadable"].tolist() == [-1, -1, -1, -1]


@pytest.mark.parametrize("batch_size", [4, 10, 32, 127, 192])
def test_every_epoch_is_a_permutation(batch_size):
  source = _numbered(10)
  run = batches.train_batches(
    source, [WHOLE], size=4, batch_size=batch_size, seed=0, steps=range(20)
  )
  order = np.concatenate([batch["label"] for batch in run])
  epochs = order[: len(order) // 10 * 10].reshape(-1, 10)
  np.testing.assert_array_equal(
    np.sort(epochs), np.tile(np.arange(10), (len(epochs), 1))
  )
  assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_pixels_belong_to_their_labels():
  batch = _one_batch(_numbered(10), [WHOLE], batch_size=10, seed=5, step=7)
  np.testing.assert_array_equal(
    batch["view1"], np.broadcast_to(batch["label"][:, None, None, None], (10, 4, 4, 1))
  )


def test_every_place_of_an_epoch_gets_every_image_equally_often():
  orders = np.array([batches.permutation(3, epoch, 5) for epoch in range(4000)])
  table = np.array([np.bincount(place, minlength=5) for place in orders.T])
  # Rows and columns both add up to 4000, so the sum over the 5 x 5 cells is
  # 5 / 4 of a chi-square variable with 4 x 4 degrees of freedom.
  statistic = ((table - 800) ** 2 / 800).sum() * 4 / 5
  assert 0.01 < stats.chi2(16).sf(statistic) < 0.99


def test_the_seed_changes_order_and_crops():
  first, second = (
    _one_batch(_noise(64), [WHOLE], batch_size=64, seed=seed) for seed in (0, 1)
  )
  assert (first["label"] != second["label"]).mean() > 0.9
  # The same position in the same order still gets crops of its own seed.
  draws = [batches.crop_uniforms(seed, 0, 0, 8) for seed in (0, 1)]
  assert not np.intersect1d(*draws).size


def test_crops_differ_by_view_and_by_position():
  draws = [batches.crop_uniforms(0, view, 0, 2000) for view in (0, 1)]
  values = np.concatenate(draws).ravel()
  assert len(np.unique(values)) == len(values) == 2 * 2000 * 5
  assert stats.kstest(values, "uniform").pvalue > 0.01
  correlations = np.corrcoef(np.concatenate(draws, axis=1), rowvar=False)
  assert np.abs(correlations - np.eye(10)).max() < 0.1


def test_a_position_draws_the_same_numbers_in_any_run():
  whole = batches.crop_uniforms(7, 1, 0, 40)
  for first, count in ((0, 1), (13, 5), (39, 1)):
    part = batches.crop_uniforms(7, 1, first, count)
    np.testing.assert_array_equal(part, whole[first : first + count])


def test_views_flip_as_they_say():
  image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
  source = ArraySource(image, np.zeros(1, int), 1)
  views = [WHOLE, WHOLE._replace(flip=1.0)]
  batch = _one_batch(source, views, batch_size=2)
  np.testing.assert_array_equal(batch["view1"], np.repeat(image, 2, axis=0))
  np.testing.assert_array_equal(batch["view2"], batch["view1"][:, :, ::-1])


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 8, 37])
def test_eval_shows_every_image_once(hosts, count):
  source = _numbered(count)
  settings = {"size": 4, "crop": 1.0, "batch_size": 8, "hosts": hosts}
  split = [
    list(batches.eval_batches(source, **settings, host=host)) for host in range(hosts)
  ]
  joined = _join_hosts(split)  # fails where hosts differ in batches
  assert len(joined) == -(-count // 8)
  mask = np.concatenate([batch["mask"] for batch in joined])
  labels = np.concatenate([batch["label"] for batch in joined])
  pixels = np.concatenate([batch["image"] for batch in joined])[:, 0, 0, 0]
  assert mask.dtype == bool
  assert labels[mask].tolist() == pixels[mask].tolist() == list(range(count))
  assert set(labels[~mask]) <= {-1}


def test_batch_size_has_to_be_divisible_by_hosts():
  source, message = _numbered(8), r"batch_size 10 .* by 4 hosts"
  share = {"size": 4, "batch_size": 10, "hosts": 4}
  with pytest.raises(UserError, match=message):
    batches.train_batches(source, [WHOLE], **share, seed=0, steps=range(1))
  with pytest.raises(UserError, match=message):
    batches.eval_batches(source, **share, crop=1.0)


class _Watched(ArraySource):
  reads = itertools.count()

  def __getitem__(self, index):
    next(self.reads)
    return super().__getitem__(index)


def _grain_threads():
  return [t for t in threading.enumerate() if t.name.startswith("grain")]


def test_little_is_loaded_ahead_and_dropping_the_iterator_stops_its_threads():
  source = _Watched(np.zeros((9, 4, 4, 1), np.uint8), np.zeros(9, int), 1)
  run = batches.train_batches(
    source, [WHOLE], size=4, batch_size=128, seed=0, steps=range(10_000)
  )
  next(run)
  time.sleep(0.3)
  assert _grain_threads()
  # One batch given out, one ahead, and a chunk of 64 for every thread.
  assert next(source.reads) <= 2 * 128 + 64 * (machine.cores() + 1)
  del run
  deadline = time.time() + 60  # however busy the machine is
  while _grain_threads() and time.time() < deadline:
    time.sleep(0.05)
  assert not _grain_threads()


class _Damaged(ArraySource):
  def __getitem__(self, index):
    raise UserError("an image cannot be decoded")


def test_errors_of_the_source_reach_the_caller():
  source = _Damaged(np.zeros((9, 4, 4, 1), np.uint8), np.zeros(9, int), 1)
  with pytest.raises(UserError, match="cannot be decoded"):
    _one_batch(source, [WHOLE], batch_size=8)


class _Holey(ArraySource):
  """Some of its images cannot be read."""

  holes = frozenset({0, 3, 4, 8})

  def __getitem__(self, index):
    if index in self.holes:
      raise sources.Unreadable("torn")
    return super().__getitem__(index)


def test_images_that_cannot_be_read_are_replaced_in_training_and_left_out_after_it():
  pixels = np.arange(9, dtype=np.uint8)[:, None, None, None]
  source = _Holey(np.broadcast_to(pixels, (9, 4, 4, 1)), np.arange(9), 9)
  (batch,) = batches.train_batches(
    source, [WHOLE], size=4, batch_size=9, seed=0, steps=range(1)
  )
  planned = batches.permutation(0, 0, 9)
  instead = {0: 1, 3: 5, 4: 5, 8: 1}
  shown = [instead.get(index, index) for index in planned]
  np.testing.assert_array_equal(batch["view1"][:, 0, 0, 0], shown)
  np.testing.assert_array_equal(batch["label"], shown)
  np.testing.assert_array_equal(
    batch["unreadable"], [index if index in instead else -1 for index in planned]
  )

  (batch,) = batches.eval_batches(source, size=4, crop=1.0, batch_size=10)
  np.testing.assert_array_equal(batch["index"][batch["mask"]], [1, 2, 5, 6, 7])
  np.testing.assert_array_equal(batch["label"][batch["mask"]], [1, 2, 5, 6, 7])


def test_a_source_of_nothing_readable_says_why():
  source = _Holey(np.zeros((1, 4, 4, 1), np.uint8), np.zeros(1, int), 1)
  run = batches.train_batches(
    source, [WHOLE], size=4, batch_size=2, seed=0, steps=range(1)
  )
  with pytest.raises(sources.Unreadable, match="torn"):
    next(run)


ORPHANS = """
import glob, os, signal
import numpy as np
from byol_jax.data import batches, sources, views
if __name__ == "__main__":
  images = np.zeros((64, 8, 8, 3), np.uint8)
  source = sources.ArraySource(images, np.zeros(64, np.int32), 2)
  found = batches.train_batches(
    source, [views.View()], size=8, batch_size=8, seed=0, steps=range(1000), workers=1
  )
  next(found)
  tasks = glob.glob("/proc/self/task/*/children")
  print(*[open(task).read() for task in tasks], flush=True)
  os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="asks Linux")
def test_workers_end_with_a_process_that_is_killed(tmp_path):
  path = tmp_path / "orphans.py"
  path.write_text(ORPHANS)
  root = Path(batches.__file__).parents[2]
  done = subprocess.run(
    [sys.executable, path],
    env=os.environ | {"PYTHONPATH": str(root)},
    stdout=subprocess.PIPE,
    text=True,
    timeout=120,
    check=False,
  )
  children = done.stdout.split()
  assert children
  deadline = time.monotonic() + 20
  while alive := [pid for pid in children if _runs(pid)]:
    assert time.monotonic() < deadline, alive
    time.sleep(0.1)


def _runs(pid):
  """Whether a process is there and has not ended: one may be left for its parent."""
  try:
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
  except (FileNotFoundError, ProcessLookupError):
    return False
  return state != "Z"
