"""What is built and installed, away from the clone; and what an import costs."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import byol_jax

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"


def run(*command, cwd=None):
  kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
  done = subprocess.run(
    [str(part) for part in command],
    cwd=cwd,
    env=kept,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  """The wheel and the sdist; the wheel is built from the sdist."""
  source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
  not_source = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "runs")
  shutil.copytree(ROOT, source, ignore=not_source, dirs_exist_ok=True)
  run(sys.executable, "-m", "build", "--no-isolation", f"--outdir={dist}", source)
  (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
  assert len(list(dist.iterdir())) == 2
  return {"wheel": wheel, "sdist": sdist}


def sources():
  """Every file of the library, as it lies in the clone."""
  files = (ROOT / "byol_jax").rglob("*")
  suffixes = (".py", ".typed", ".html", ".css", ".md")
  return {str(f.relative_to(ROOT)) for f in files if f.suffix in suffixes}


def test_the_wheel_holds_the_library_alone(built):
  with zipfile.ZipFile(built["wheel"]) as wheel:
    names = set(wheel.namelist())
  (info,) = {name.split("/")[0] for name in names} - {"byol_jax"}
  assert info == f"byol_jax-{byol_jax.__version__}.dist-info"
  assert "byol_jax/py.typed" in names
  assert {f"{info}/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= names
  assert {name for name in names if name.startswith("byol_jax/")} == sources()


def test_the_sdist_holds_what_it_is_built_from(built):
  with tarfile.open(built["sdist"]) as sdist:
    files = [member.name for member in sdist.getmembers() if member.isfile()]
  names = {name.split("/", 1)[1] for name in files}
  assert names >= {"requirements.txt", "README.md", "LICENSE", "pyproject.toml"}
  assert names >= sources()
  folders = {name.split("/")[0] for name in names if "/" in name}
  assert folders == {"byol_jax", "byol_jax.egg-info"}


def test_a_script_beside_the_clone_finds_the_package(tmp_path):
  clone, site = tmp_path / "byol_jax", tmp_path / "site"
  (clone / "byol_jax").mkdir(parents=True)
  (clone / "byol_jax" / "__init__.py").write_text('__version__ = "0"')
  for name in ("pyproject.toml", "README.md", "requirements.txt"):
    shutil.copy(ROOT / name, clone)
  build = "import setuptools.build_meta as build; print(build.build_editable('..'))"
  *_, wheel = run(sys.executable, "-c", build, cwd=clone).split()
  zipfile.ZipFile(tmp_path / wheel).extractall(site)
  script = f"import site; site.addsitedir({str(site)!r}); import byol_jax"
  found = run(
    sys.executable, "-S", "-c", f"{script}; print(byol_jax.__file__)", cwd=tmp_path
  )
  assert found.strip() == str(clone / "byol_jax" / "__init__.py")


# The run of tests/golden, as someone has it who has byol_jax and nothing else.
_USE = """
import importlib.metadata, pathlib, sys
import numpy as np
import byol_jax

golden, site = map(pathlib.Path, sys.argv[1:])
assert site in pathlib.Path(byol_jax.__file__).parents, byol_jax.__file__
assert importlib.metadata.version("byol_jax") == byol_jax.__version__
stored = np.load(golden / "features.npz")
for step in (2, 4):
  encoder = byol_jax.load_encoder(golden / "run", step)
  features = encoder(stored["images"])
  np.testing.assert_allclose(features, stored[f"step{step}"], rtol=1e-5, atol=1e-5)
print("the same features")
"""


def install_and_use(package, folder, *, dependencies):
  """Installs a package into a new environment, and uses it there.

  Args:
    package: a wheel or an sdist.
    folder: a new one, for the environment.
    dependencies: whether they are installed too; those of the tests are used
      otherwise.
  """
  run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
  python = folder / "venv" / "bin" / "python"
  code = "import sysconfig; print(sysconfig.get_path('purelib'))"
  site = Path(run(python, "-c", code).strip())
  options = []
  if not dependencies:
    # Comes after `site`, and leaves out what an editable install of byol_jax adds.
    (site / "of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    options = ["--no-index", "--no-deps", "--no-build-isolation"]
  pip = [sys.executable, "-m", "pip", f"--python={python}"]
  run(*pip, "install", *options, package)
  assert run(python, "-c", _USE, GOLDEN, site, cwd=folder) == "the same features\n"


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_encoder_is_loaded_where_there_is_no_clone(built, kind, tmp_path):
  install_and_use(built[kind], tmp_path, dependencies=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_nothing_is_missing_in_an_empty_environment(built, kind, tmp_path):
  install_and_use(built[kind], tmp_path, dependencies=True)


def test_an_import_takes_the_standard_library_alone():
  code = """
import sys
before = {*sys.modules}
import byol_jax
added = {name.split(".")[0] for name in {*sys.modules} - before}
print(*sorted(added - {*sys.stdlib_module_names}))
"""
  assert run(sys.executable, "-c", code, cwd=ROOT) == "byol_jax\n"


def test_every_public_name_is_there_and_no_other():
  for name in byol_jax.__all__:
    assert getattr(byol_jax, name) is not None
  assert {*byol_jax.__all__} <= {*dir(byol_jax)}
  with pytest.raises(AttributeError, match="load_decoder"):
    _ = byol_jax.load_decoder


def test_every_dependency_has_an_oldest_version():
  # From which continuous integration makes the constraints for its oldest versions.
  lines = (ROOT / "requirements.txt").read_text().splitlines()
  assert all(re.fullmatch(r"[\w-]+>=[\d.]+", line) for line in lines)


def imported(path):
  """First parts of the names of what a file imports, wherever in it."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name.partition(".")[0] for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module:
      yield node.module.partition(".")[0]


def test_what_benchmarks_import_is_installed_with_them():
  lines = (ROOT / "requirements.txt").read_text().splitlines()
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  lines += project["optional-dependencies"]["benchmark"]
  given = {re.match(r"[\w-]+", line)[0] for line in lines}
  there = importlib.metadata.packages_distributions()
  names = {n for path in (ROOT / "benchmarks").glob("*.py") for n in imported(path)}
  names -= {*sys.stdlib_module_names, *(path.name for path in ROOT.iterdir())}
  missing = {n for n in names if given.isdisjoint([n, *there.get(n, [])])}
  assert missing == set()
