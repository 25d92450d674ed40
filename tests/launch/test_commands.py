"""Every command of launch/ is one that there is."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib

import pytest

from byol_jax.errors import UserError
from tests.launch.played import LAUNCH, ROOT
from tests.launch.test_kubernetes import JOB_SETS, job

SCRIPTS = sorted(LAUNCH.glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(script):
  subprocess.run(["bash", "-n", script], check=True)
  assert os.access(script, os.X_OK)
  if shellcheck := shutil.which("shellcheck"):
    subprocess.run([shellcheck, script], check=True)


def commands():
  """The flags that our files, and the page on them, give to byol_jax.main."""
  for path in JOB_SETS:
    yield path.name, job(path)[2]["args"]
  for path in (*SCRIPTS, LAUNCH / "Dockerfile", ROOT / "docs" / "clusters.md"):
    text = re.sub(r"\\\n#? *", " ", path.read_text())
    found = re.findall(r" (--config=.*)$", text, re.MULTILINE)
    assert found, path
    for line in found:
      yield path.name, shlex.split(line)


@pytest.mark.parametrize(("where", "arguments"), [*commands()])
def test_every_flag_is_there(parsed, where, arguments):
  assert parsed(arguments).experiment


def test_a_flag_that_is_not_there_would_be_found(parsed):
  with pytest.raises(UserError, match="accumulated"):
    parsed(["--config=configs/byol.py", "--config.train.accumulated=4"])


def test_images_are_what_the_files_expect():
  text = (LAUNCH / "Dockerfile").read_text()
  entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[1])
  assert entry == ["tini", "--", "python", "-m", "byol_jax.main"]
  assert "install --yes --no-install-recommends tini" in text
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  kinds = {job(path)[2]["image"].rpartition(":")[2] for path in JOB_SETS}
  assert kinds == {"cuda", "tpu"}
  assert kinds <= project["optional-dependencies"].keys()
