"""Pages of docs/, and their commands as this process can run them."""

import os
import re
import runpy
import shlex
import sys
from pathlib import Path
from unittest import mock

from absl import flags

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
  flags.FLAGS.unparse_flags()
