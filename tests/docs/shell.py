"""Pages of docs/, and their commands as this process can run them."""

import argparse
import os
import re
import runpy
import shlex
import sys
from pathlib import Path
from unittest import mock

from absl import app, flags, logging

from byol_jax import commands

ROOT = Path(__file__).parents[2]


def blocks(page, language):
  """The blocks of code of a page, in one language."""
  text = (ROOT / "docs" / page).read_text()
  return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def lines(page):
  """The commands of a page: words of each line of its bash blocks, rejoined."""
  text = "\n".join(blocks(page, "bash")).replace("\\\n", " ").replace(" && ", "\n")
  found = [shlex.split(line, comments=True) for line in text.splitlines()]
  return [words for words in found if words]


def run(words, *more):
  """Runs `NAME=VALUE python -m MODULE FLAGS` and more flags, as a process would.

  Returns:
    Its exit status; None or 0 if all is well.
  """
  first = words.index("python")
  environment = dict(word.split("=", 1) for word in words[:first])
  dash_m, module, *arguments = words[first + 1 :]
  assert dash_m == "-m", words
  before = {*flags.FLAGS}
  argv = [module, *arguments, *more]
  try:
    with (
      mock.patch.object(sys, "argv", argv),
      mock.patch.object(sys, "path", [*sys.path]),
      mock.patch.dict(os.environ, environment),
      mock.patch.object(commands, "set_up"),  # this process is set up,
      mock.patch.object(commands, "_end", sys.exit),  # and goes on
    ):
      runpy.run_module(module, run_name="__main__", alter_sys=True)
  except SystemExit as ended:
    return ended.code
  finally:
    _forget({*flags.FLAGS} - before)
  return None


def parse(words):
  """Parses the flags of such a command, of whose work nothing is done.

  Of a flag whose value is a placeholder, as in --data_dir=DIR, the name is enough, and
  what flags must be together is not looked at.

  Returns:
    Its exit status; None or 0 if all is well.
  """
  with (
    mock.patch.object(app, "run", _only_parse),
    mock.patch.object(argparse.ArgumentParser, "parse_args", _only_parse_args),
    mock.patch.object(flags.FlagValues, "validate_all_flags"),
  ):
    return run(words)


def _only_parse(main, argv=None, flags_parser=flags.FLAGS):
  argv = argv or sys.argv
  named = {word: re.fullmatch(r"--(\w+)=[A-Z]+", word) for word in argv}
  for found in filter(None, named.values()):
    flags.FLAGS[found[1]]
  flags_parser([word for word in argv if not named[word]])
  if "config" in flags.FLAGS:
    assert flags.FLAGS.config.experiment  # a file that is missing is noticed here
  if len(argv) < len(sys.argv):  # what it has left out it parses by itself
    main(argv)


_PARSE_ARGS = argparse.ArgumentParser.parse_args


def _only_parse_args(*arguments):
  _PARSE_ARGS(*arguments)
  sys.exit()


def _forget(names):
  """Takes flags away that a command has defined, and none of a module that stays."""
  for name in names:
    # "quiet" is of `commands`, which each of them calls for it.
    if (
      name.startswith("config.")
      or name == "quiet"
      or (flags.FLAGS.find_module_defining_flag(name) not in sys.modules)
    ):
      delattr(flags.FLAGS, name)
  logger = logging.get_absl_logger()
  level = logger.level  # which a flag that is forgotten sets
  flags.FLAGS.unparse_flags()
  logger.setLevel(level)
