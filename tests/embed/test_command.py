"""`python -m byol_jax.embed`, in a process of its own."""

import os
import subprocess
import sys

import byol_jax
from tests.devices import xla_flags
from tests.embed.made import write_images
from tests.embed.test_job import RUN


def run(tmp_path, *flags):
  environment = os.environ | {
    "XDG_CACHE_HOME": str(tmp_path / "cache"),
    "XLA_FLAGS": xla_flags(2),
  }
  return subprocess.run(
    [sys.executable, "-m", "byol_jax.embed", *flags],
    env=environment,
    capture_output=True,
    text=True,
    errors="surrogateescape",
    check=False,
  )


def test_from_a_folder_to_features_and_drawings(tmp_path):
  name = os.fsdecode(b"\xff.png")  # any bytes can be printed
  write_images(tmp_path / "photos", [*(f"{i}.png" for i in range(5)), name])
  out = tmp_path / "out.npz"
  done = run(
    tmp_path,
    *(f"--encoder={RUN}", f"--images={tmp_path / 'photos'}", f"--out={out}"),
    *("--map", "--duplicates", f"--neighbours={tmp_path / 'photos' / name}", "--k=3"),
  )
  assert done.returncode == 0, done.stderr
  assert f"images: the folder {tmp_path / 'photos'} (train 6)" in done.stderr
  drawn = ["duplicates-0.998.tsv", "map-pca.png", f"neighbours-{name[:-4]}.png"]
  lines = [f"{out}: 6 images, 32 features each", f"{tmp_path}/out.{drawn[0]}: 0 pairs"]
  lines += [f"{tmp_path}/out.{name}" for name in drawn[1:]]
  assert done.stdout.splitlines() == lines
  assert len(byol_jax.read_features(out).path) == 6
  names = {path.name for path in tmp_path.iterdir()} - {"cache", "photos"}
  assert names == {"out.npz", *(f"out.{name}" for name in drawn)}


def test_a_mistake_is_one_line(tmp_path):
  done = run(tmp_path, "--ouT=x")
  assert done.returncode == 1
  assert done.stderr.startswith("byol_jax: Unknown command line flag 'ouT'")
  assert done.stderr.count("\n") == 1
