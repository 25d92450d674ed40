"""Every command that a page names is there, with each of its flags and settings.

Commands are parsed as their process would parse them, and do none of their work.
"""

import re
import shlex

import pytest
from absl import flags

from experiments.reference import SETTINGS
from tests.docs import shell

ROOT = shell.ROOT
GENERATED = ROOT / "docs" / "reproduction"  # what was run, as it was called then
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "notebooks" / "README.md"]
PAGES += [p for p in sorted(ROOT.glob("docs/**/*.md")) if GENERATED not in p.parents]
# What the worked examples of docs/design.md add; `test_design.py` runs them.
EXAMPLES = "## Adding things"
OURS = ("benchmarks", "byol_jax", "experiments", "notebooks", "reproduce", "tests")
COMMAND = re.compile(r"\bpython3? -m ([^`<>|]*?)(?= && |[`<>|]|$)")


def commands(text):
  """The words of each `python -m MODULE ...` of a page that is ours."""
  text = text.partition(EXAMPLES)[0].replace("\\\n", " ")
  fenced = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
  lines = "\n".join(fenced.findall(text)).splitlines()
  lines += re.findall(r"`[^`]+`", fenced.sub("", text))
  for line in lines:
    for command in COMMAND.findall(" ".join(line.split())):
      words = shlex.split(command, comments=True)
      if words[0].partition(".")[0] in OURS and words[0] != "byol_jax.COMMAND":
        yield ["python", "-m", *words]


def wrong(words, capsys):
  """What is wrong with a command, "" if nothing is."""
  _, _, module, *arguments = words
  source = _source(module)
  if "__main__" not in source:
    return f"{module} is no command"
  if "app.run(" not in source and "commands.run(" not in source:
    named = any(argument.startswith("--") for argument in arguments)
    return f"{module} takes no flags" if named else ""
  words = [re.sub(r"=(configs/)?CONFIG$", "=configs/byol.py", word) for word in words]
  try:
    failed = shell.parse(words)
  except (flags.Error, KeyError) as error:
    return str(error)
  return capsys.readouterr().err if failed else ""


def _source(module):
  """Of what `python -m` would run; nothing if there is nothing."""
  path = ROOT.joinpath(*module.split("."))
  for file in (path / "__main__.py", path.with_suffix(".py")):
    if file.exists():
      return file.read_text()
  return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page(page, monkeypatch, capsys):
  monkeypatch.chdir(ROOT)  # configs are named from here
  found = {shlex.join(words): words for words in commands(page.read_text())}
  said = {command: wrong(words, capsys) for command, words in found.items()}
  assert {command: why for command, why in said.items() if why} == {}


def unknown(text):
  """Settings that a page names, in commands or elsewhere, and no config has."""
  sections = {name.rpartition(".")[0] for name in SETTINGS}
  named = re.findall(r"--config\.([\w.]*\w)", text.partition(EXAMPLES)[0])
  return set(named) - SETTINGS.keys() - sections


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_of_a_page(page):
  assert unknown(page.read_text()) == set()


def test_settings_that_no_config_has_are_found():
  text = "`--config.train.steps=1`, `--config.train.step=1` and --config.trains"
  assert unknown(text) == {"train.step", "trains"}


@pytest.mark.parametrize(
  ("command", "why"),
  [
    ("byol_jax.mane --config=configs/byol.py", "byol_jax.mane is no command"),
    ("byol_jax.sphere", "byol_jax.sphere is no command"),
    ("byol_jax.main --config=configs/bylo.py", "bylo"),
    ("byol_jax.main --config=configs/byol.py:cifar11", "cifar11"),
    ("byol_jax.main --config=configs/byol.py --config.train.stepz=1", "stepz"),
    ("byol_jax.main --config=configs/byol.py --config.train.steps=few", "steps"),
    ("byol_jax.embed --encoder=RUN --foo", "foo"),
    ("byol_jax.report --foo RUN", "foo"),
    ("notebooks --foo", "foo"),
    ("reproduce --data_dirs=DIR", "data_dirs"),
    ("benchmarks.step --foo=1", "foo"),
    ("benchmarks.growth --only=widths", "widths"),
    ("experiments.reference --foo", "takes no flags"),
  ],
)
def test_wrong_ones_are_found(command, why, monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  for text in (
    f"```bash\npython -m {command}\n```\n",
    f"as `python -m {command}` does",
  ):
    (words,) = commands(text)
    assert why in wrong(words, capsys)
