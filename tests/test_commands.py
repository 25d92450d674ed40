"""What commands set for their process."""

import errno
import importlib.util
import os
import resource
import shlex
import signal
import subprocess
import sys
import types
from pathlib import Path

import jax
import pytest
from absl import flags

from byol_jax import commands
from byol_jax.errors import UserError

ROOT = Path(__file__).parents[1]
INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
  ("soft", "hard", "expected"),
  [
    (1024, 4096, (4096, 4096)),
    (1024, 2**20, (2**16, 2**20)),
    (1024, INFINITE, (2**16, INFINITE)),
    (2**17, 2**20, None),
    (INFINITE, INFINITE, None),
    (4096, 4096, None),
  ],
)
def test_many_files_may_be_open(monkeypatch, soft, hard, expected):
  found = []
  monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
  monkeypatch.setattr(resource, "setrlimit", lambda which, limits: found.append(limits))
  commands._set_up_files()
  assert found == ([expected] if expected else [])


def test_a_limit_that_cannot_be_raised_stays(monkeypatch):
  def refuse(which, limits):
    raise ValueError("current limit exceeds maximum limit")

  monkeypatch.setattr(resource, "getrlimit", lambda which: (256, INFINITE))
  monkeypatch.setattr(resource, "setrlimit", refuse)
  commands._set_up_files()


# What goes wrong.


@pytest.fixture
def outcome(monkeypatch, capsys):
  """The line with which a command ends that fails."""
  monkeypatch.setattr(
    commands.app, "run", lambda main, argv, flags_parser: main(flags_parser(argv))
  )  # flags of this process stay as they are
  monkeypatch.setattr(commands.os, "_exit", sys.exit)

  def outcome(error, status=1, **options):
    def main():
      raise error

    with pytest.raises(SystemExit) as ended:
      commands.run(main, ["command"], lambda argv: argv, **options)
    assert ended.value.code == status
    (line,) = capsys.readouterr().err.splitlines()
    return line

  return outcome


def test_what_is_not_foreseen_is_one_line_and_a_file(outcome, tmp_path):
  line = outcome(KeyError("x\n y"), folder=lambda: tmp_path)
  (path,) = tmp_path.iterdir()
  assert line == (
    f"byol_jax: KeyError: 'x\\n y' (not foreseen; the stack trace is in {path})"
  )
  assert "in main" in path.read_text()
  # A second one within a second, and a folder that is gone: a place is found.
  monkey = tmp_path / "gone"
  line = outcome(ZeroDivisionError("x"), folder=lambda: monkey)
  path = Path(line.removesuffix(")").rpartition(" in ")[2])
  assert "ZeroDivisionError" in path.read_text()
  path.unlink()


@pytest.mark.parametrize(
  ("error", "status"),
  [
    (RuntimeError("INTERNAL: uncorrectable ECC error encountered"), 75),
    (RuntimeError("UNAVAILABLE: Slice health check failed"), 75),
    (RuntimeError("INVALID_ARGUMENT: Executable expected shape f32[2]"), 1),
    (ValueError("INTERNAL: of Python"), 1),
    (RuntimeError("INTERNAL: CpuCallback error calling callback: KeyError"), 1),
  ],
)
def test_another_start_may_have_other_devices(outcome, error, status, tmp_path):
  line = outcome(error, status, folder=lambda: tmp_path)
  assert str(error) in line
  (path,) = tmp_path.iterdir()
  assert str(path) in line


def test_a_device_that_is_not_there(outcome, tmp_path):
  error = RuntimeError("Unable to initialize backend 'cuda': no plugin (set X)")
  line = outcome(error, folder=lambda: tmp_path)
  assert line.startswith(
    "byol_jax: JAX finds no device of JAX_PLATFORMS=cpu (Unable to "
  )
  assert line.endswith("install JAX for it, or unset JAX_PLATFORMS")
  assert not list(tmp_path.iterdir())


def test_a_device_without_a_plugin(outcome, monkeypatch):
  """JAX asserts that there is one: for CUDA, where the package is not installed."""
  code = compile("def devices():\n  assert False", "jax/_src/xla_bridge.py", "exec")
  exec(code, there := {})

  def fail():
    there["devices"]()

  monkeypatch.setenv("JAX_PLATFORMS", "cuda")
  with pytest.raises(AssertionError) as error:
    fail()
  line = outcome(error.value)
  assert line.endswith("unset JAX_PLATFORMS")
  assert "JAX finds no device of JAX_PLATFORMS=cuda (there is none)" in line


def test_a_variable_that_jax_cannot_read(outcome):
  line = outcome(ValueError("invalid truth value 'x' for environment 'JAX_ENABLE_X64'"))
  assert line.endswith("'JAX_ENABLE_X64': correct it, or unset it")


def test_the_names_of_files_make_no_lines(outcome):
  assert outcome(UserError("a\nb\r does not exist")) == (
    "byol_jax: a\\nb\\r does not exist"
  )


_STREAMS = """
import os, sys
from byol_jax import commands
commands._set_up_streams()
print("out"); print("err", file=sys.stderr)
found = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(found, str(found).encode())
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_stream(tmp_path, closed):
  file = tmp_path / "file"
  command = shlex.join([sys.executable, "-c", _STREAMS, str(file)])
  done = subprocess.run(["bash", "-c", f"{command} {closed}"], check=True, timeout=60)
  assert done.returncode == 0
  assert int(file.read_text()) > 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(outcome, number):
  line = outcome(OSError(number, "It is full"))
  assert line == "byol_jax: It is full; free some space, and the same command goes on"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO])
def test_a_file_that_the_system_refuses(outcome, number):
  line = outcome(OSError(number, "It is not yours", b"/a/b"))
  assert line == (
    "byol_jax: cannot use /a/b: It is not yours; once it can be, the same command"
    " goes on"
  )


def test_a_lack_of_memory(outcome):
  line = outcome(MemoryError("Unable to allocate 1 EiB"))
  assert line == (
    "byol_jax: there is not enough memory (Unable to allocate 1 EiB): choose smaller"
    " batches, images or networks"
  )


def test_a_lack_of_memory_on_a_device(outcome):
  text = "RESOURCE_EXHAUSTED: Out of memory allocating 256000000000 bytes."
  line = outcome(jax.errors.JaxRuntimeError(text))
  assert line == (
    "byol_jax: there is not enough memory (Out of memory allocating 256000000000"
    " bytes.): choose smaller batches, images or networks"
  )


@pytest.mark.parametrize(
  ("flag", "value", "line"),
  [
    ("integer", "many", "--n=many: give a whole number"),
    ("float", "many", "--n=many: give a number"),
    ("bool", "many", "--n=many: give True or False"),
    ("integer", "9", "flag --n=9: 9 is not an integer in the range [0, 5]"),
  ],
)
def test_a_flag_of_another_type(flag, value, line):
  values = flags.FlagValues()
  more = {"upper_bound": 5, "lower_bound": 0} if flag == "integer" else {}
  getattr(flags, f"DEFINE_{flag}")("n", None, "A flag.", flag_values=values, **more)
  with pytest.raises(flags.IllegalFlagValueError) as error:
    values(["command", f"--n={value}"])
  assert commands.of_flags(error.value) == line


SAYS = "from byol_jax import commands; commands.say('x' * 100, 'runs/mine')"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="asks Linux")
def test_a_result_that_nobody_reads_is_no_failure():
  with open("/dev/full", "w") as full:
    done = subprocess.run(
      [sys.executable, "-c", SAYS],
      stdout=full,
      stderr=subprocess.PIPE,
      text=True,
      check=False,
    )
  assert done.returncode == 0
  assert "No space left on device): see runs/mine" in done.stderr
  assert "Traceback" not in done.stderr


def test_echoes_of_a_failed_write_are_dropped_and_nothing_else(monkeypatch):
  shown = []
  monkeypatch.setattr(sys, "unraisablehook", lambda dropped: shown.append(dropped))
  commands._set_up_hook()
  errors = [RuntimeError("Event loop is closed"), RuntimeError("The loop"), OSError()]
  for error in errors:
    sys.unraisablehook(types.SimpleNamespace(exc_type=type(error), exc_value=error))
  assert [dropped.exc_value for dropped in shown] == errors[1:]


# Ctrl-C while Python collects garbage, and while an object is deleted.
DROPPED = """
import gc, os, signal, sys, time
from byol_jax import commands

def interrupt():
  os.kill(os.getpid(), signal.SIGINT)
  time.sleep(0.01)

class Deleted:
  def __del__(self):
    interrupt()

def collecting(phase, info):
  gc.callbacks.clear()
  interrupt()

def main():
  if sys.argv[1] == "collect":
    gc.callbacks.append(collecting)
    gc.collect()
  else:
    Deleted()
  time.sleep(60)

commands.run(main, ["a"])
"""


@pytest.mark.parametrize("where", ["collect", "delete"])
def test_one_that_python_drops_comes_again(where):
  done = subprocess.run(
    [sys.executable, "-c", DROPPED, where],
    capture_output=True,
    text=True,
    check=False,
    timeout=30,
  )
  assert done.stderr == "byol_jax: interrupted; the same command goes on\n"
  assert done.returncode == 128 + signal.SIGINT


ASKED = """
import signal, time
from byol_jax import commands, interrupts

def main():
  signal.signal(signal.SIGTERM, interrupts.as_interrupt)
  signal.raise_signal(signal.NUMBER)
  time.sleep(60)

commands.run(main, ["a"])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_status_says_which_signal_it_was(number):
  code = ASKED.replace("NUMBER", number.name)
  command = [sys.executable, "-c", code]
  done = subprocess.run(
    command, capture_output=True, text=True, check=False, timeout=30
  )
  assert done.stderr == "byol_jax: interrupted; the same command goes on\n"
  assert done.returncode == 128 + number


# What is said.


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_leaves_results_and_warnings(quiet):
  code = f"""
import sys
from absl import app, flags, logging
from byol_jax import commands, progress
commands.define_flags()
def main():
  commands.set_up_logging(flags.FLAGS.quiet)
  logging.info("on the way")
  logging.warning("beware")
  sys.stderr.isatty = lambda: True
  print(progress.can_draw())
commands.run(main, ["command", "--quiet={quiet}"])
"""
  environment = os.environ | {"TERM": "xterm"}
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, env=environment
  )
  said = [line.split(" ", 1)[1] for line in done.stderr.splitlines()]
  assert said == (["beware"] if quiet else ["on the way", "beware"])
  assert done.stdout == f"{not quiet}\n"


_CHILD = """
import os, signal, sys, time
from byol_jax import commands

def saved(*_):
  print("saved", flush=True)
  os._exit(0)

signal.signal(signal.SIGTERM, saved)
commands._end_with_parent()
assert commands.PARENT not in os.environ  # it is of this process alone
print("begun", flush=True)
time.sleep(100)
"""
_KILLED = """
import os, subprocess, sys, time
from byol_jax import commands
own = {commands.PARENT: str(os.getpid())}
subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=os.environ | own)
time.sleep(100)
"""


def test_what_a_killed_process_has_started_saves_and_ends():
  command = [sys.executable, "-c", _KILLED, _CHILD]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
    assert parent.stdout.readline() == "begun\n"
    parent.kill()
    assert parent.stdout.read() == "saved\n"  # and then it is closed


@pytest.mark.parametrize("name", ["main", "embed", "data.prepare"])
def test_help_is_no_mistake_and_names_all_flags(name):
  command = [sys.executable, "-m", f"byol_jax.{name}", "--help"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
  assert "--[no]quiet: Say results and warnings only." in done.stdout


UNUSED_GPU = """
import sys
from byol_jax import commands

def main():
  commands.set_up()
  from jax._src import hardware_utils
  hardware_utils.has_visible_nvidia_gpu = lambda: True
  import jax
  jax._src.xla_bridge.logger.info("of no use to anyone")
  jax.devices()

commands.run(main, sys.argv)
"""


@pytest.mark.skipif(
  importlib.util.find_spec("jax_plugins") is not None, reason="JAX can use one here"
)
def test_a_gpu_that_jax_cannot_use_is_said():
  command = [sys.executable, "-c", UNUSED_GPU]
  environment = os.environ | {"JAX_PLATFORMS": ""}
  done = subprocess.run(
    command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
  )
  (line,) = done.stderr.splitlines()
  assert "An NVIDIA GPU may be present on this machine, but a CUDA-enabled" in line
