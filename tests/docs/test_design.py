"""The worked examples of docs/design.md work as they stand there, in a fresh clone.

Each block is put into the file that it names; nothing else of the clone is touched.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from byol_jax import objectives
from tests import tiny
from tests.devices import xla_flags
from tests.test_main import flags_of

ROOT = Path(__file__).parents[2]
DESIGN = (ROOT / "docs" / "design.md").read_text()
CODE = ("byol_jax", "experiments", "configs")
EXAMPLES = ("A norm", "An objective", "A system", "A data set", "An evaluation")


def blocks(heading):
  """{file: code} of the Python blocks under a heading."""
  section = DESIGN.split(f"### {heading}\n")[1].split("\n### ")[0]
  code = re.findall(r"```python\n# (\S+)\n(.*?)```", section, re.DOTALL)
  assert code
  return dict(code)


def test_every_example_is_here():
  found = re.findall(r"^### (.*)$", DESIGN.split("## Adding things")[1], re.MULTILINE)
  assert tuple(found) == EXAMPLES
  marked = sum(len(blocks(heading)) for heading in EXAMPLES)
  assert DESIGN.count("```python") == marked


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
  """A clone in which every example has been followed."""
  root = tmp_path_factory.mktemp("clone")
  skip = shutil.ignore_patterns("__pycache__")
  for folder in ("byol_jax", "experiments", "configs", "tests"):
    shutil.copytree(ROOT / folder, root / folder, ignore=skip)
  for heading in EXAMPLES:
    for file, code in blocks(heading).items():
      with (root / file).open("a") as out:
        out.write("\n\n" + code)
  images = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)
  labels = np.arange(64) % 4
  arrays = {}
  for split in ("train", "test"):
    arrays |= {f"{split}_images": images, f"{split}_labels": labels}
  np.savez(root / "images.npz", **arrays)
  return root


def run(clone, *arguments):
  return subprocess.run(
    [sys.executable, *map(str, arguments)],
    cwd=clone,
    env=os.environ | {"XLA_FLAGS": xla_flags(1), "PYTHONPATH": str(clone)},
    check=False,
    capture_output=True,
    text=True,
  )


def test_they_pass_lint(clone):
  shutil.copy(ROOT / "pyproject.toml", clone)
  # Imports of a block that is added stand in the middle of its file.
  done = run(clone, "-m", "ruff", "check", "--ignore=E402,I001", *CODE)
  assert done.returncode == 0, done.stdout


def test_their_settings_are_in_the_reference(clone):
  done = run(clone, "-m", "experiments.reference")
  assert done.returncode == 0, done.stderr
  assert "| `objective.vicreg.invariance` | its config's |" in done.stdout


@pytest.mark.slow  # mypy from nothing takes a minute
def test_they_are_typed_as_the_rest_is(clone):
  shutil.copy(ROOT / "pyproject.toml", clone)
  done = run(clone, "-m", "mypy", *CODE)
  assert done.returncode == 0, done.stdout


def launch(clone, config, workdir, *flags):
  done = run(
    clone,
    *("-m", "byol_jax.main", f"--config=configs/{config}.py"),
    *(f"--workdir={clone / workdir}", *flags),
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


def tiny_flags(system):
  """Those that make a system tiny."""
  config = tiny.config(system, steps=2)
  return flags_of(config, base=tiny.SYSTEMS[system](None))


@pytest.mark.slow  # CI has a job for the documentation
def test_norm_system_data_set_and_evaluation(clone):
  flags = [f for f in tiny_flags("byol") if ".norm=" not in f]
  flags += ["--config.encoder.norm=rms", "--config.data.name=npz"]
  flags += [f"--config.data.data_dir={clone}"]
  launch(clone, "simsiam", "run", *flags)
  saved = json.loads((clone / "run" / "encoder.json").read_text())
  assert saved["network"]["norm"] == "rms"
  flags = [f"--config.encoder={clone / 'run'}", "--config.data.name=npz"]
  flags += [f"--config.data.data_dir={clone}"]
  found = launch(clone, "centroids", "centroids", *flags)
  assert 0.25 < found["centroids"]["encoder"] <= 1  # of images that it has seen
  summary = json.loads((clone / "centroids" / "summary.json").read_text())
  assert summary == found


@pytest.mark.slow
def test_objective_with_settings_of_its_own(clone):
  flags = tiny_flags("simclr")
  setting = "--config.objective.vicreg.covariance=2.0"
  launch(clone, "vicreg", "vicreg", *flags, setting)
  first, *_ = (clone / "vicreg" / "metrics.jsonl").read_text().splitlines()[1:]
  row = json.loads(first)
  terms = [row[f"loss_{name}"] for name in ("invariance", "variance", "covariance")]
  np.testing.assert_allclose(row["loss"], np.dot([25, 25, 2], terms), rtol=1e-4)
  saved = json.loads((clone / "vicreg" / "config.json").read_text())
  assert saved["objective"]["vicreg"]["covariance"] == 2.0


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (
      ["configs/vicreg.py", "--config.objective.vicreg.variance=-1.0"],
      "give 0 or more",
    ),
    (
      ["configs/vicreg.py", "--config.target.kind=ema"],
      "vicreg takes no target",
    ),
    (["configs/centroids.py"], "name the run whose encoder is wanted"),
    (
      ["configs/byol.py", "--config.data.name=npz", "--config.data.data_dir=/nowhere"],
      r"images\.npz does not exist",
    ),
  ],
)
def test_what_they_need_is_checked(clone, flags, message, tmp_path):
  name, *rest = flags
  done = run(
    *(clone, "-m", "byol_jax.main", f"--config={name}"),
    *(f"--workdir={tmp_path}/run", *rest),
  )
  assert done.returncode == 1
  assert re.search(message, done.stderr.splitlines()[-1]), done.stderr


def test_the_tests_find_what_was_added(clone):
  code = """
from tests import test_batch_independence, tiny
from byol_jax.objectives import OBJECTIVES
assert "rms" in test_batch_independence.WITHOUT
assert {"simsiam", "vicreg"} <= tiny.SYSTEMS.keys()
assert "centroids" not in tiny.SYSTEMS
assert "vicreg" in OBJECTIVES
"""
  done = run(clone, "-c", code)
  assert done.returncode == 0, done.stderr


def test_the_added_objective_is_the_papers():
  namespace = dict(vars(objectives))
  namespace["OBJECTIVES"] = {}
  exec(blocks("An objective")["byol_jax/objectives.py"], namespace)
  z1, z2 = np.random.default_rng(0).normal(size=(2, 64, 3)).astype(np.float32) / 2
  found, _ = namespace["vicreg"](objectives.Outputs((z1, z2), (z1, z2), (z1, z2)))
  expected = 25 * np.mean((z1 - z2) ** 2)
  for z in (z1, z2):
    products = np.cov(z.T, bias=True)
    hinge = np.maximum(0, 1 - np.sqrt(np.diag(products) + 1e-4))
    assert hinge.all()
    off_diagonal = products[~np.eye(3, dtype=bool)]
    expected += 25 * hinge.mean() / 2 + np.sum(off_diagonal**2) / 3
  np.testing.assert_allclose(found, expected, rtol=1e-4)
