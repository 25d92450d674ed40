"""What our commands have in common; they alone set anything for their process."""

import argparse
import contextlib
import errno
import io
import logging as python_logging
import os
import resource
import signal
import sys
import tempfile
import textwrap
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging

from byol_jax import cache, interrupts, progress, witness
from byol_jax.errors import OtherHost, Stopped, UserError

# Names, in the environment of a command, the process that it is not to outlive.
PARENT = "BYOL_JAX_PARENT"

_FILES = 2**16
# What XLA calls the faults of devices and of what connects them: INTERNAL as by a
# program that is wrong, but also as by a broken GPU, which another start may not meet.
_OF_HARDWARE = ("ABORTED", "DATA_LOSS", "INTERNAL", "UNAVAILABLE")
# What a system has against a file, and its user can put right.
_OF_THE_SYSTEM = {
  getattr(errno, name)
  for name in (
    *("EACCES", "EPERM", "EROFS", "EIO", "ESTALE", "EMFILE", "ENFILE", "EEXIST"),
    *("ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP", "EFBIG", "EOPNOTSUPP"),
  )
}


def define_flags() -> None:
  """Those of every command."""
  flags.DEFINE_bool("quiet", False, "Say results and warnings only.")
  # Or --help would leave it out, as another module's.
  flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS["quiet"])


def set_up(quiet: bool = False) -> None:
  """Logging, the cache of compiled programs, and XLA for this host.

  Comes before JAX's first device is asked for, on the main thread.

  Args:
    quiet: whether to say warnings only, and show no progress.
  """
  set_up_logging(quiet)
  _set_up_files()
  from byol_jax.run import host  # a second that mistakes in flags need not wait for

  host.tune()
  _set_up_warnings()
  _set_up_compilation_cache()


def set_up_logging(quiet: bool = False) -> None:
  """What is said on stderr, and in what form."""
  logging.set_verbosity(logging.WARNING if quiet else logging.INFO)
  if quiet:
    progress.hide()
  line = python_logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
  handler = logging.get_absl_handler()
  handler.setFormatter(line)
  handler.python_handler.setStream(progress.AboveBar())
  handler.addFilter(_is_for_users)


def _is_for_users(record: python_logging.LogRecord) -> bool:
  """Of JAX warnings are, such as that there is a GPU which it cannot use."""
  if record.name.partition(".")[0] in ("jax", "jaxlib"):
    return record.levelno >= python_logging.WARNING
  return "tensorflow_datasets" not in record.pathname


def _set_up_files() -> None:
  """Allows many open files: each of a set's thousand shards is one, in each split."""
  limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
  wanted = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
  if limit != resource.RLIM_INFINITY and limit < wanted:
    with contextlib.suppress(OSError, ValueError):  # a system with a bound of its own
      resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _set_up_warnings() -> None:
  """Leaves out what Pillow says of single files: what is skipped is listed."""
  warnings.filterwarnings("ignore", module=r"PIL\.")


def _set_up_hook() -> None:
  """Sees to errors that nobody can catch.

  Python drops what is raised while it collects garbage, where JAX has a callback: an
  interrupt comes once more. And threads of TensorStore print an error for each write
  that fails, of which Orbax has reported the first.
  """
  show = sys.unraisablehook

  def hook(dropped: "sys.UnraisableHookArgs") -> None:
    if issubclass(dropped.exc_type, KeyboardInterrupt):
      main = threading.main_thread().ident
      threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
    elif str(dropped.exc_value) != "Event loop is closed":
      show(dropped)

  sys.unraisablehook = hook


def _set_up_compilation_cache() -> None:
  """Keeps compiled programs between runs, small ones too: they are hundreds."""
  import jax

  programs = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(cache.folder())
  jax.config.update("jax_compilation_cache_dir", programs)
  if not os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  show = warnings.showwarning

  def heal(message: Warning | str, *where: Any) -> None:
    if not cache.heal(str(message), Path(programs)):
      show(message, *where)

  warnings.showwarning = heal  # type: ignore[assignment]


def parse(argv: list[str]) -> list[str]:
  """Parses flags, of a command that takes nothing else; a mistake is a `UserError`."""
  try:
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    raise UserError(of_flags(error)) from error
  if rest[1:]:
    raise UserError(f"unexpected argument {rest[1]!r}; flags begin with --")
  return rest


class Parser(argparse.ArgumentParser):
  """For commands that take more than flags."""

  def error(self, message: str) -> NoReturn:
    """Raises what any mistake in an argument is, a `UserError`."""
    raise UserError(f"{message}; see {self.prog} --help")


# What absl says of a value -> what the flag is.
_KINDS = {
  "invalid literal for int": "a whole number",
  "could not convert string to float": "a number",
  "Non-boolean argument": "True or False",
  "Failed to parse": "its settings one by one, as in --config.train.steps=100",
}


def of_flags(error: Exception) -> str:
  """What is wrong with a flag, in one line."""
  text = " ".join(str(error).split())
  flag, _, cause = text.removeprefix("flag ").partition(": ")
  for sign, kind in _KINDS.items():
    if cause.startswith((sign, f"('{sign}")):
      return f"{flag}: give {kind}"
  return text


def run(
  main: Callable[[], None],
  argv: list[str],
  flags_parser: Callable[[list[str]], list[str]] = parse,
  folder: Callable[[], Path | None] = lambda: None,
) -> None:
  """Runs a command and ends the process; whatever goes wrong is one line.

  The status is 1, but where another host is missing, a device fails, or the command was
  asked to stop.
  Of what nobody has foreseen the stack trace is in a file, which the line names.

  Args:
    main: the command, called once its flags are parsed.
    argv: name and arguments.
    flags_parser: what parses them.
    folder: gives the folder in which a command is at work, once there is one.
  """
  _set_up_streams()
  _end_with_parent()
  _set_up_hook()
  interrupts.imported()
  try:
    app.run(lambda _: main(), argv, flags_parser=flags_parser)
  except SystemExit:
    if "--help" in argv:  # which absl ends as if it were a mistake
      sys.exit(0)
    raise
  except (Exception, KeyboardInterrupt) as error:
    interrupts.importing()  # a second Ctrl-C waits for nothing any more
    line, status = _last_word(error, folder)
    line = line.replace("\n", "\\n").replace("\r", "\\r")  # of the names of files
    # At once, or what others print could get between.
    sys.stderr.write(f"{witness.ANSWER}{line}\n")
    _end(status)


def _end_with_parent() -> None:
  """Has this process save and end as by SIGTERM, once `PARENT` has ended.

  That one may be killed, and then can stop nobody.
  """
  parent = os.environ.pop(PARENT, None)

  def watch() -> None:
    while str(os.getppid()) == parent:
      time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)

  if parent is not None:
    threading.Thread(target=watch, daemon=True).start()


def _end(status: int) -> None:
  """Ends this process before JAX, Orbax or TensorStore bury its line under theirs."""
  if "jax" in sys.modules:
    from byol_jax import cluster

    cluster.leave()
  with contextlib.suppress(OSError):
    sys.stdout.flush()
    sys.stderr.flush()
  os._exit(status)


def _set_up_streams() -> None:
  """Gives a process that was started without them its three streams.

  The next files to be opened would take their numbers, and what is printed.
  """
  while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
    pass
  os.close(descriptor)
  sys.stdin = sys.stdin or os.fdopen(0)
  sys.stdout = sys.stdout or os.fdopen(1, "w")
  sys.stderr = sys.stderr or os.fdopen(2, "w")
  if isinstance(sys.stdout, io.TextIOWrapper):  # names of files have any bytes
    sys.stdout.reconfigure(errors="surrogateescape")


def _last_word(
  error: Exception | KeyboardInterrupt, folder: Callable[[], Path | None]
) -> tuple[str, int]:
  """What a command that has failed says, and its status."""
  match error:
    case OtherHost():
      return str(error), OtherHost.STATUS
    case UserError():
      return str(error), 1
    case Stopped():
      return str(error), 128 + error.signal_number
    case KeyboardInterrupt():
      asked = isinstance(error, interrupts.Terminated)
      number = signal.SIGTERM if asked else signal.SIGINT
      return "interrupted; the same command goes on", 128 + number
    case OSError(errno=errno.ENOSPC | errno.EDQUOT):
      return f"{error.strerror}; free some space, and the same command goes on", 1
    case OSError(errno=number, filename=str() | bytes()) if number in _OF_THE_SYSTEM:
      return (
        f"cannot use {os.fsdecode(error.filename)}: {error.strerror}; once it can be,"
        " the same command goes on"
      ), 1
    case MemoryError():
      return _no_memory(str(error) or "no more of it"), 1
    case RuntimeError() if str(error).startswith("RESOURCE_EXHAUSTED"):  # JAX's
      return _no_memory(textwrap.shorten(str(error).partition(": ")[2], 100)), 1
  if "jax" in sys.modules:  # else it may be the import of JAX that has failed
    from byol_jax import cluster

    if cluster.is_of_other_host(error):
      return witness.OTHER_HOST, OtherHost.STATUS
  status = OtherHost.STATUS if _is_of_hardware(error) else 1
  return _unforeseen(error, folder()), status


def _no_memory(why: str) -> str:
  return (
    f"there is not enough memory ({why}): choose smaller batches, images or networks"
  )


def _unforeseen(error: Exception, folder: Path | None) -> str:
  """A line about an error of which the stack trace is put into a file."""
  text = " ".join(str(error).split())
  if _is_of_devices(error):
    chosen = os.environ.get("JAX_PLATFORMS", "")
    return (
      f"JAX finds no device of JAX_PLATFORMS={chosen} ({text or 'there is none'});"
      " install JAX for it, or unset JAX_PLATFORMS"
    )
  if "for environment" in text:  # as JAX says of its variables
    return f"{text}: correct it, or unset it"
  line = textwrap.shorten(f"{type(error).__name__}: {text}", 300)
  name = time.strftime(f"error-%Y%m%d-%H%M%S-{os.getpid()}.txt")
  for place in filter(None, (folder, Path(tempfile.gettempdir()))):
    with contextlib.suppress(OSError):
      path = place / name
      with path.open("x") as file:
        traceback.print_exception(error, file=file)
      return f"{line} (not foreseen; the stack trace is in {path})"
  return line


def _is_of_hardware(error: Exception) -> bool:
  """Whether a device has failed, or what connects them; not Python that JAX called."""
  text = str(error) if isinstance(error, RuntimeError) else ""
  return text.startswith(_OF_HARDWARE) and "CpuCallback" not in text


def _is_of_devices(error: Exception) -> bool:
  """Whether JAX cannot start the devices that it was told to use."""
  *_, last = traceback.extract_tb(error.__traceback__)
  no_backend = isinstance(error, AssertionError) and "xla_bridge" in last.filename
  return no_backend or "Unable to initialize backend" in str(error)


def say(text: object, elsewhere: object) -> None:
  """Prints a result; where nobody can read it, the log says where else it is."""
  try:
    print(text, flush=True)
  except OSError as error:
    logging.warning("cannot print (%s): see %s", error.strerror, elsewhere)
    # Or Python would try again at its end, and fail.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
