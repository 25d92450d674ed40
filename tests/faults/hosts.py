"""Two hosts, of which one dies, fails, differs or does not come."""

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from byol_jax.witness import ANSWER, OTHER_HOST
from tests.faults import jobs, trial
from tests.faults.trial import Trial

_WITHIN = 60  # seconds in which hosts end after a fault
_ENDLESS = jobs.pretraining(100_000)
_TRAINING = r"step [3-9]/"


def trials(count: int, seed: int, folder: Path) -> Iterator[Trial]:
  """The first `count` of the table below."""
  rng = random.Random(seed)
  for number, fault in enumerate(FAULTS[:count]):
    place = folder / str(number)
    place.mkdir()
    began = time.monotonic()
    wrong = fault(place, rng)
    seconds = time.monotonic() - began
    yield Trial(str(fault.__doc__), wrong, {"seconds of a trial": seconds})


def _at_work(place: Path) -> list[trial.Process]:
  """Two hosts that have begun to train."""
  hosts = trial.start_hosts(_ENDLESS.command(place), _ENDLESS.command(place))
  trial.read_until(hosts[0], _TRAINING)
  return hosts


def _ends(host: trial.Process, line: str, code: int | None = None) -> str:
  """Waits until a host ends; what is wrong with how it does."""
  began = time.monotonic()
  try:
    lines = host.communicate(timeout=_WITHIN + 60)[1].splitlines()
  except Exception:
    host.kill()
    return "it does not end"
  seconds = time.monotonic() - began
  answers = [each for each in lines if not each[:1].isdigit()]
  if len(answers) != 1 or line not in answers[0]:
    return f"it says {answers}"
  if code is not None and host.returncode != code:
    return f"it ends with {host.returncode}"
  return f"it takes {seconds:.0f} s" if seconds > _WITHIN else ""


def _killed(place: Path, victim: int) -> str:
  hosts = _at_work(place)
  hosts[victim].kill()
  return _ends(hosts[1 - victim], ANSWER + OTHER_HOST)


def first_killed(place: Path, rng: random.Random) -> str:
  """the first host is killed"""
  return _killed(place, 0)


def second_killed(place: Path, rng: random.Random) -> str:
  """the second host is killed"""
  return _killed(place, 1)


def one_stopped(place: Path, rng: random.Random) -> str:
  """one host gets SIGTERM"""
  hosts = _at_work(place)
  hosts[rng.randrange(2)].send_signal(signal.SIGTERM)
  code = 128 + signal.SIGTERM
  wrong = [_ends(host, "and saved; the same command continues", code) for host in hosts]
  return next(filter(None, wrong), "")


def killed_and_started_again(place: Path, rng: random.Random) -> str:
  """both are killed, and started again: the same result, bit for bit"""
  short = jobs.pretraining(12)
  made = []
  for name in ("whole", "killed"):
    folder = place / name
    folder.mkdir()
    if name == "killed":
      hosts = trial.start_hosts(short.command(folder), short.command(folder))
      trial.read_until(hosts[0], _TRAINING)
      for host in hosts:
        host.kill()
        host.communicate()
    hosts = trial.start_hosts(short.command(folder), short.command(folder))
    for host in hosts:
      host.communicate(timeout=300)
    with contextlib.suppress(OSError):
      made.append(short.made(folder))
  return "" if len(made) == 2 and made[0] == made[1] else "it is another"


def _refused(place: Path, line: str, *flags: str) -> str:
  """What is wrong where the second host has more flags, or the folder is in the way."""
  command = _ENDLESS.command(place)
  hosts = trial.start_hosts(command, [*command, *flags])
  wrong = [_ends(host, line, 1) for host in hosts]
  return next(filter(None, wrong), "")


def other_rate(place: Path, rng: random.Random) -> str:
  """hosts have different learning rates"""
  flag = "--config.optimiser.learning_rate=0.7"
  return _refused(place, "optimiser.learning_rate", flag)


def other_seed(place: Path, rng: random.Random) -> str:
  """hosts have different seeds"""
  return _refused(place, "host 1 has seed = 5", "--config.seed=5")


def other_images(place: Path, rng: random.Random) -> str:
  """hosts have different images"""
  return _refused(place, "data.train", "--config.data.train=train[:48]")


def other_log(place: Path, rng: random.Random) -> str:
  """hosts log at different steps"""
  return _refused(place, "log.every_steps", "--config.log.every_steps=7")


def folder_in_the_way(place: Path, rng: random.Random) -> str:
  """the first host cannot have its folder"""
  (place / "run").write_text("a file")
  return _refused(place, "cannot use")


def one_missing(place: Path, rng: random.Random) -> str:
  """the second host does not come"""
  (host,) = trial.start_hosts(_ENDLESS.command(place), hosts=2)
  began = time.monotonic()
  lines = trial.read_until(host, "still waiting for 2 hosts at localhost")
  waited = time.monotonic() - began
  if "still waiting" not in lines[-1] or waited > 2 * _WITHIN:
    return f"it says {lines} in {waited:.0f} s"
  host.kill()
  host.communicate()
  return ""


FAULTS: Sequence[Callable[[Path, random.Random], str]] = (
  other_rate,
  other_seed,
  other_images,
  other_log,
  folder_in_the_way,
  one_missing,
  first_killed,
  second_killed,
  one_stopped,
  killed_and_started_again,
)
