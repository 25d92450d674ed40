"""What a service gets of a run: each point once, whenever the run was stopped."""

import json
import os
import subprocess
import sys
import types

import pytest

from byol_jax.run.writers import follow


class Service:
  def __init__(self, place):
    self.place = place
    self.steps = []
    self.summary = None
    self.closed = None

  def add(self, step, scalars):
    self.steps.append((step, scalars))

  def summarise(self, step, summary):
    self.summary = step, summary

  def close(self, complete):
    self.closed = complete


@pytest.fixture
def services(monkeypatch):
  """All that were opened of a module that is there for the test."""
  found = []

  def open_run(place):
    found.append(Service(place))
    return found[-1]

  module = types.SimpleNamespace(open_run=open_run)
  monkeypatch.setitem(sys.modules, "byol_jax.run.writers.pretended", module)
  return found


@pytest.fixture
def folder(tmp_path):
  run = tmp_path / "mine"
  run.mkdir()
  (run / "config.json").write_text(json.dumps({"train": {"steps": 9}, "seed": 1}))
  return run


def write(folder, steps, end="\n"):
  lines = [json.dumps({"step": step, "loss": step / 2}) for step in steps]
  (folder / "metrics.jsonl").write_text("\n".join(lines) + end)


def begin(folder, *looks):
  """Follows a run; each look is what happens before one."""
  left = list(looks)

  def is_over():
    if left:
      left.pop(0)()
    return not left

  follow.follow("pretended", folder, is_over)


def test_points_come_as_they_are_logged(folder, services):
  begin(
    folder,
    lambda: None,  # the file is not there yet
    lambda: write(folder, [0, 1], end='\n{"step": 2, "lo'),  # half a line
    lambda: write(folder, [0, 1, 2, 3]),
  )
  (service,) = services
  assert service.steps == [(s, {"loss": s / 2}) for s in range(4)]
  assert service.place.name == "mine"
  assert service.place.config == {"train.steps": 9, "seed": 1}
  assert (service.summary, service.closed) == (None, False)


def test_a_run_that_goes_on_sends_no_point_twice_and_leaves_none_out(folder, services):
  begin(folder, lambda: write(folder, [0, 1, 2, 3]))
  # Killed, it goes on from step 1, and the service was away in between.
  write(folder, [0, 1, 2, 3, 4, 5])
  begin(folder, lambda: None)
  first, second = services
  assert [step for step, _ in second.steps] == [4, 5]
  assert first.place.id == second.place.id


def test_two_runs_are_two_there(folder, tmp_path, services):
  begin(folder)
  other = tmp_path / "other"
  other.mkdir()
  (other / "config.json").write_text("{}")
  begin(other)
  assert services[0].place.id != services[1].place.id


def test_results_are_sent_once(folder, services):
  write(folder, [0, 9])
  (folder / "summary.json").write_text(json.dumps({"knn": {"encoder": 0.5}}))
  begin(folder)
  begin(folder)
  assert services[0].summary == (9, {"knn.encoder": 0.5})
  assert services[0].closed
  assert services[1].summary is None


def test_a_point_that_fails_is_not_sent_again(folder, services, monkeypatch):
  def fail(self, step, scalars):
    raise ConnectionError("away")

  write(folder, [0, 1])
  with monkeypatch.context() as patched:
    patched.setattr(Service, "add", fail)
    with pytest.raises(ConnectionError):
      begin(folder)
  begin(folder)
  assert services[-1].steps == [(1, {"loss": 0.5})]


def test_the_command_follows_until_its_input_ends(folder, tmp_path):
  # W&B in name alone: a package that prints what it is told.
  (tmp_path / "wandb.py").write_text("""
class Run:
  summary = {}
  def log(self, scalars, step): print(step, scalars)
  def finish(self, exit_code): print("finished", exit_code)
class Settings:
  def __init__(self, **settings): pass
def init(**options): return Run()
""")
  write(folder, [0, 1])
  command = [sys.executable, "-m", "byol_jax.run.writers.follow", "wandb", str(folder)]
  environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}"}
  done = subprocess.run(
    command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
  )
  assert done.stdout == "0 {'loss': 0.0}\n1 {'loss': 0.5}\nfinished 1\n"
  assert done.returncode == 0, done.stderr
