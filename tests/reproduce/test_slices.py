"""The clockwork, with a small program in the place of training."""

import json
import math
import sys
import threading
import time

import pytest

from byol_jax.disk import write_json
from byol_jax.errors import UserError
from byol_jax.run.settings import resolved
from reproduce import accelerator, slices, stages
from reproduce.stages import COMPLETE, FAILED, INCOMPLETE, Choice, Plan, Record, Stage
from tests.reproduce import made_up

# Is given what `byol_jax.main` is, and leaves what that would: 5 steps, of which it
# makes the second for as long as nobody stops it, if its rate is 2.
_PROGRAM = """
import json, os, signal, sys, time
assert sys.argv[1:3] == ["-m", "byol_jax.main"], sys.argv
given = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[3:])
run, rate = given["workdir"], given.get("config.optimiser.learning_rate")
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
if rate == "3":
  print("Traceback\\njaxlib.XlaRuntimeError: RESOURCE_EXHAUSTED: 9 GiB")
  sys.exit("----\\nFor simplicity, JAX has removed its internal frames")
if rate == "5":
  sys.exit("no more is known")
os.makedirs(f"{run}/checkpoints", exist_ok=True)
state = f"{run}/checkpoints/state"
first = int(open(state).read()) if os.path.exists(state) else 0
open(f"{run}/metrics.jsonl", "a" if first else "w").close()
for step in range(first + 1, 6):
  with open(f"{run}/metrics.jsonl", "a") as file:
    file.write(json.dumps({"step": step, "loss": 1 / step}) + "\\n")
  while step == 2 and (rate == "4" or rate == "2" and not asked):
    time.sleep(0.01)
  if asked and os.path.exists(state + ".lock"):
    sys.exit("byol_jax: cannot write")
  if asked:
    open(state, "w").write(str(step))
    sys.exit(143)
start = {"started": "now", "commit": None, "versions": {}, "devices": 1, "kind": "a"}
open(f"{run}/starts.jsonl", "w").write(json.dumps(start) + "\\n")
open(f"{run}/summary.json", "w").write(json.dumps({"given": given}))
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
  path = tmp_path / "python"
  path.write_text(f"#!{sys.executable} -SE\n{_PROGRAM}")
  path.chmod(0o755)
  monkeypatch.setattr(stages.sys, "executable", str(path))
  monkeypatch.setattr(slices, "_POLL", 0.01)


def stage(name, rate=1, choices=()):
  return Stage(name, "train", "byol", {"optimiser.learning_rate": rate}, choices)


class Work:
  """Folders of the runs and of the report."""

  def __init__(self, path):
    self.root, self.report = path / "work", path / "report"

  def slice(self, plan, left=lambda: 1000.0):
    if not isinstance(plan, Plan):
      plan = Plan(plan, {}, least=100)
    slices.run(plan, self.root, self.report, "images", left)

  def record(self, name):
    path = stages.record_path(self.report, name)
    return Record(**json.loads(path.read_text())) if path.exists() else None

  def metrics(self, name):
    return slices.run_folder(self.root, stage(name)) / "metrics.jsonl"

  def until(self, name, step):
    """A clock that has 1000 s, and 50 once a run has made a step."""

    def left():
      path = self.metrics(name)
      there = path.exists() and f'"step": {step},' in path.read_text()
      return 50.0 if there else 1000.0

    return left


@pytest.fixture
def work(tmp_path, program):
  return Work(tmp_path)


def test_stages_come_in_order_and_records_suffice_to_skip_them(work):
  work.slice([stage("one"), stage("two")])
  first, second = work.record("one"), work.record("two")
  assert (first.state, first.why, first.steps) == (COMPLETE, "", 5)
  assert first.curves == {"loss": [[1, 2, 3, 4, 5], [1, 0.5, 0.33333, 0.25, 0.2]]}
  assert first.found["given"] == {
    "config": "configs/byol.py",
    "config.optimiser.learning_rate": "1",
    "config.data.data_dir": "images",
    "workdir": str(slices.run_folder(work.root, stage("one"))),
  }
  assert first.starts[0]["started"]
  assert second.state == COMPLETE
  times = [work.metrics(name).stat().st_mtime_ns for name in ("one", "two")]
  assert times == sorted(times)
  # On another machine there is nothing but the report.
  elsewhere = Work(work.root.parent / "elsewhere")
  elsewhere.report = work.report
  elsewhere.slice([stage("one"), stage("two"), stage("three")])
  assert not elsewhere.metrics("one").exists()
  assert elsewhere.metrics("three").exists()


def test_a_run_is_stopped_in_time_and_goes_on_where_it_was(work):
  plan = [stage("one", rate=2), stage("two")]
  work.slice(plan, work.until("one", 2))
  stopped = work.record("one")
  assert (stopped.state, stopped.why, stopped.steps) == (
    INCOMPLETE,
    "stopped, and saved",
    2,
  )
  assert stopped.curves["loss"][0] == [1, 2]
  assert stopped.found == {}
  assert work.record("two") is None
  line = slices.outcome(Plan(plan, {}, 0), work.root, work.report)
  run = slices.run_folder(work.root, plan[0])
  assert line.startswith("0 of 2 stages are complete; the same command goes on")
  assert line.endswith(f"copy of {work.report} and of {run} (one, step 2)")
  work.slice(plan)
  assert work.record("one").state == work.record("two").state == COMPLETE
  assert work.record("one").curves["loss"][0] == [1, 2, 3, 4, 5]
  done = slices.outcome(Plan(plan, {}, 0), work.root, work.report)
  assert done == "2 of 2 stages are complete"


def test_a_run_without_a_record_is_not_named_among_what_goes_on(work):
  plan = [stage("one"), stage("two")]
  (slices.run_folder(work.root, plan[1]) / "checkpoints").mkdir(parents=True)
  line = slices.outcome(Plan(plan, {}, 0), work.root, work.report)
  assert line.endswith(f"on another machine with a copy of {work.report}")


def test_what_does_not_stop_is_killed_once_its_record_says_so(work, monkeypatch):
  at_kill = []
  kill = slices.subprocess.Popen.kill

  def note(process):
    if process.poll() is None:
      at_kill.append(work.record("one"))
    kill(process)

  monkeypatch.setattr(slices.subprocess.Popen, "kill", note)
  monkeypatch.setattr(slices, "_UNKNOWN", 0.1)
  until = work.until("one", 2)
  work.slice([stage("one", rate=4)], lambda: until() - 50)
  [record] = at_kill
  assert record == work.record("one")
  assert (record.state, record.steps) == (INCOMPLETE, 2)
  assert record.why == "killed: not saved 0 s after SIGTERM"


def test_what_comes_no_further_lets_others_go_before_it(work, monkeypatch):
  monkeypatch.setattr(slices, "_UNKNOWN", 0.1)
  plan = [stage("one", rate=4), stage("two")]
  until = work.until("one", 2)
  work.slice(plan, lambda: until() - 50)
  assert work.record("one").state == INCOMPLETE
  began = time.monotonic()  # from the start again
  work.slice(plan, lambda: 110.0 if time.monotonic() < began + 0.5 else 0.0)
  again = work.record("one")
  assert (again.state, again.steps) == (FAILED, 2)
  assert again.why.endswith("after SIGTERM; in the slice before it had come as far")
  assert work.record("two") is None  # there was no time left
  work.slice(plan, lambda: 0.0 if work.record("two") else 1000.0)
  assert work.record("two").state == COMPLETE


def test_what_could_not_save_has_failed(work):
  run = slices.run_folder(work.root, stage("one"))
  run.mkdir(parents=True)
  (run / "checkpoints").mkdir()
  (run / "checkpoints" / "state.lock").touch()
  work.slice([stage("one", rate=2)], work.until("one", 2))
  record = work.record("one")
  assert (record.state, record.why) == (
    FAILED,
    "byol_jax: cannot write (exit status 1)",
  )


def test_with_too_little_time_nothing_begins_and_it_says_so(work):
  # 100 s of work, and time to stop.
  needed = 100 + slices._UNKNOWN
  line = "99 s are left, and one begins with 160 or more: raise --minutes by 2"
  with pytest.raises(UserError, match=line):
    work.slice([stage("one")], lambda: needed - 61)
  assert work.record("one") is None
  assert not work.metrics("one").exists()
  # What has begun something has done what it could.
  work.slice([stage("one"), stage("two")], lambda: 0 if work.record("one") else 1000)
  assert work.record("two") is None


def test_a_stage_that_fails_stops_no_other_and_is_tried_again_last(work, caplog):
  work.slice([stage("one", rate=3), stage("two")])
  failed = work.record("one")
  assert failed.state == FAILED
  assert (
    failed.why == "jaxlib.XlaRuntimeError: RESOURCE_EXHAUSTED: 9 GiB (exit status 1)"
  )
  assert failed.config is None
  [start] = failed.starts
  assert " -m byol_jax.main --config=configs/byol.py" in start["command"]
  assert start.keys() >= {"started", "commit", "versions", "devices", "kind"}
  assert failed.steps == 0
  assert "one failed: jaxlib.XlaRuntimeError" in caplog.text
  assert work.record("two").state == COMPLETE
  plan = [stage("one"), stage("three")]
  assert slices.failed(Plan(plan, {}, 0), work.report) == ["one"]
  work.slice(plan)
  assert work.record("one").state == COMPLETE
  first, last = (work.metrics(name).stat().st_mtime_ns for name in ("three", "one"))
  assert first < last


def test_a_retry_adds_to_the_log_of_what_failed(work):
  log = work.root / "accelerator" / "logs" / "one.txt"
  work.slice([stage("one", rate=3)])
  said = log.read_text()
  assert "RESOURCE_EXHAUSTED" in said
  work.slice([stage("one", rate=5)])
  assert log.read_text() == f"{said}no more is known\n"
  assert work.record("one").why == "no more is known (exit status 1)"


def test_the_run_of_another_config_has_no_part_in_a_record(work, caplog):
  run = work.metrics("one").parent
  run.mkdir(parents=True)
  config = resolved(stages.config(stage("one"), {}, "elsewhere"))
  write_json(run / "config.json", {**config, "seed": 7})
  work.metrics("one").write_text('{"step": 9, "loss": 0.5}\n')
  work.slice([stage("one"), stage("two")])
  why = (
    f"{run} holds the run of another config (it differs in seed); move it away, or"
    " choose another --workdir"
  )
  assert work.record("one") == Record(FAILED, why, [], None, 0, {}, {})
  assert f"one failed: {why}" in caplog.messages
  assert work.metrics("one").read_text() == '{"step": 9, "loss": 0.5}\n'
  assert work.record("two").state == COMPLETE
  run.rename(run.with_name("away"))
  work.slice([stage("one"), stage("two")])
  assert work.record("one").state == COMPLETE


def test_a_folder_that_cannot_be_read_stops_no_other(work):
  run = work.metrics("one").parent
  run.mkdir(parents=True)
  (run / "config.json").write_text("{")
  work.slice([stage("one"), stage("two")])
  assert "config.json is damaged" in work.record("one").why
  assert work.record("two").state == COMPLETE


def test_choices_are_made_once_of_the_records_that_are_there(work):
  seen = []

  def rule(records):
    seen.append({name: record.state for name, record in records.items()})
    return Choice({"optimiser.learning_rate": 2}, "because")

  plan = Plan([stage("one"), stage("two", choices=["rate"])], {"rate": rule}, 100)
  work.slice(plan, work.until("two", 2))
  assert seen == [{"one": COMPLETE}]
  assert work.record("two").steps == 2  # which it is, at a rate of 2
  path = work.report / "accelerator" / "choices.json"
  kept = {"rate": {"settings": {"optimiser.learning_rate": 2}, "why": "because"}}
  assert json.loads(path.read_text()) == kept
  work.slice(plan)
  assert work.record("two").found["given"]["config.optimiser.learning_rate"] == "2"
  assert len(seen) == 1


def test_choices_of_two_commands_are_all_kept(tmp_path):
  """Another command makes one of them while this one waits for its turn."""
  mine, other = Choice({"seed": 1}, "mine"), Choice({"seed": 2}, "other")
  plan = Plan([], {"rate": lambda _: mine, "epochs": lambda _: mine}, 0)
  choosing = threading.Thread(
    target=stages.choose_for_good,
    args=(plan, stage("one", choices=["rate", "epochs"]), tmp_path),
  )
  with stages.choosing(tmp_path):
    choosing.start()
    time.sleep(0.2)
    stages.keep_choices(tmp_path, {"epochs": other})
  choosing.join()
  assert stages.read_choices(tmp_path) == {"epochs": other, "rate": mine}


def test_interrupted_it_saves_and_no_other_begins(work):
  with (
    made_up.interrupting(lambda: work.until("one", 2)() == 50),
    pytest.raises(KeyboardInterrupt),
  ):
    work.slice([stage("one", rate=2), stage("two")])
  assert (work.record("one").state, work.record("one").steps) == (INCOMPLETE, 2)
  assert work.record("two") is None


def test_a_run_that_is_at_work_has_a_record(work, monkeypatch):
  monkeypatch.setattr(slices, "_NOTE", 0.0)
  found = []

  def left():
    found.append(work.record("one"))
    return 50.0 if found[-1] and found[-1].steps == 2 else 1000.0

  work.slice([stage("one", rate=2)], left)
  assert found[-1].why == "at work, or ended without notice"


def test_two_commands_do_not_work_in_one_folder(work):
  stop = work.until("one", 2)

  def left():
    if stop() == 50:
      with pytest.raises(UserError, match="another run is at work"):
        work.slice([stage("two")])
    return stop()

  work.slice([stage("one", rate=2)], left)
  assert work.record("two") is None


def test_a_longer_curve_is_not_lost_to_a_start_from_nothing(tmp_path):
  def record(steps, state, why=""):
    return Record(state, why, [], None, steps, {}, {"loss": ([steps], [1.0])})

  def kept(record):
    stages.keep(tmp_path, "one", record)
    return Record(**json.loads(stages.record_path(tmp_path, "one").read_text()))

  kept(record(8, INCOMPLETE, "stopped"))
  after = kept(record(3, FAILED, "why"))
  assert (after.state, after.why, after.steps) == (FAILED, "why", 8)
  assert after.curves == {"loss": [[8], [1.0]]}
  assert kept(record(9, INCOMPLETE)).steps == 9
  assert kept(record(5, COMPLETE)).steps == 5


def test_time_to_stop_is_what_was_measured_thrice():
  assert slices._stopping({}) == slices._UNKNOWN
  speeds = [{"save_seconds": 1.0, "evaluation_seconds": s} for s in (2.0, 4.0)]
  found = [*speeds, {"linear": {}}]
  records = {
    str(number): Record(COMPLETE, "", [], None, 0, each, {})
    for number, each in enumerate(found)
  }
  assert slices._stopping(records) == 3 * 5 + slices._REST


def test_the_clock_ends_before_the_minutes_do(tmp_path):
  now = iter((100.0, 100.0, 400.0))
  left = slices.clock(Plan([], {}, 100), tmp_path, 10, lambda: next(now))
  assert left() == 600 - slices._REST
  assert left() == 300 - slices._REST


@pytest.mark.parametrize(
  ("minutes", "was"),
  [(None, "is missing"), (0.0, "is 0"), (1.9, "is 1.9"), (math.nan, "is nan")],
)
def test_too_few_minutes_are_refused(minutes, was, tmp_path):
  plan = Plan([], {}, least=120 - slices._UNKNOWN - slices._READY - slices._REST)
  slices.clock(plan, tmp_path, 2.0)
  with pytest.raises(UserError, match=rf"--minutes {was}: .* take, 2 or more"):
    slices.clock(plan, tmp_path, minutes)


@pytest.mark.parametrize(("save_seconds", "least"), [(1.0, 3), (20.0, 4), (200.0, 13)])
def test_where_a_stop_takes_long_the_minutes_must_be_more(
  save_seconds, least, tmp_path
):
  plan = Plan([stage("one"), stage("two")], {}, accelerator.LEAST)
  slices.clock(plan, tmp_path, 3.0)
  found = {"evaluation_seconds": 3.0, "save_seconds": save_seconds}
  stages.keep(tmp_path, "one", Record(COMPLETE, "", [], None, 0, found, {}))
  slices.clock(plan, tmp_path, float(least))
  with pytest.raises(UserError, match=f"is {least - 0.9:g}: .* take, {least} or more"):
    slices.clock(plan, tmp_path, least - 0.9)


def test_records_of_another_config_are_refused(tmp_path):
  plan = Plan([stage("one", 1.0, ["epochs"])], {}, 0)
  choices = {"epochs": Choice({"train.steps": 7}, "")}
  config = resolved(stages.config(plan.stages[0], choices, "here"))
  assert (config["optimiser"]["learning_rate"], config["train"]["steps"]) == (1.0, 7)
  stages.keep_choices(tmp_path, choices)

  def keep():
    stages.keep(tmp_path, "one", Record(COMPLETE, "", [], config, 7, {}, {}))

  keep()
  stages.check(plan, tmp_path, "there")
  config["target"]["tau"] = 0.5
  keep()
  with pytest.raises(
    UserError, match=r"one\.json is the record of another .* in target\.tau\)"
  ):
    stages.check(plan, tmp_path, "there")
