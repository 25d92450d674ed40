"""The folder of a run: who may use it, what survives a restart."""

import gzip
import json
import os
import subprocess
import sys
import zlib

import pytest
from ml_collections import ConfigDict

from byol_jax.errors import UserError
from byol_jax.run import stored
from byol_jax.run.folder import RunDir


def config(**changes):
  base = {"seed": 0, "data": {"workers": 0, "name": "x"}, "log": {"every_steps": 5}}
  return ConfigDict(base | changes)


@pytest.fixture
def run_dir(tmp_path):
  folder = RunDir(tmp_path / "run")
  folder.claim(config())
  return folder


def test_config_is_saved_resolved(run_dir):
  saved = json.loads((run_dir.path / "config.json").read_text())
  assert saved == config().to_dict()


def test_the_same_config_may_return_and_operations_may_change(run_dir):
  run_dir.claim(config(log={"every_steps": 1}, data={"workers": 4, "name": "x"}))


def test_another_configs_run_is_refused_and_left_alone(run_dir):
  before = (run_dir.path / "config.json").read_text()
  with pytest.raises(UserError, match=r"another config.*data\.name, seed"):
    run_dir.claim(config(seed=1, data={"workers": 0, "name": "y"}))
  assert (run_dir.path / "config.json").read_text() == before


def test_a_longer_schedule_is_told_how_to_go_on(tmp_path):
  def scheduled(steps, seed=0):
    return config(seed=seed, train={"steps": steps}, continue_from=None)

  with RunDir(tmp_path / "run") as run_dir:
    run_dir.claim(scheduled(10))
    message = (
      r"in train\.steps\); to begin anew, choose another --workdir; to train it for"
      rf" longer, give --config\.continue_from={run_dir.path} and another"
    )
    with pytest.raises(UserError, match=message):
      run_dir.claim(scheduled(20))
    with pytest.raises(UserError, match=r"train\.steps\); choose another --workdir"):
      run_dir.claim(scheduled(20, seed=1))


@pytest.mark.parametrize("name", ["[a]", "a*", "a?b", "[2026] runs/x"])
def test_a_name_that_orbax_takes_for_a_pattern_is_refused(tmp_path, name):
  with pytest.raises(UserError, match=r"checkpoints cannot lie there: choose another"):
    RunDir(tmp_path / name).claim(config())
  assert not list(tmp_path.iterdir())


def test_a_folder_of_other_things_is_refused(tmp_path):
  (tmp_path / "thesis.tex").write_text("years of work")
  with pytest.raises(UserError, match="is not empty and holds no run"):
    RunDir(tmp_path).claim(config())
  assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_with_figures_alone_may_become_a_run(tmp_path):
  folder = RunDir(tmp_path)
  folder.figures.mkdir()
  assert folder.claim(config())
  assert not folder.claim(config())


def test_a_folder_is_for_one_process_at_a_time(tmp_path):
  folder = tmp_path / "run"
  folder.mkdir()
  (folder / "config.json").write_text(json.dumps(config().to_dict()))
  hold = "import pathlib, sys; from byol_jax import disk; free = disk.lock"
  wait = "(pathlib.Path(sys.argv[1]), 'wait'); print(flush=True); sys.stdin.read()"
  command = [sys.executable, "-c", hold + wait, str(folder)]
  with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
    other.stdout.readline()
    with pytest.raises(UserError, match=r"another run is at work in .*run; wait"):
      RunDir(folder).claim(config(log={"every_steps": 1}))
    assert json.loads((folder / "config.json").read_text()) == config().to_dict()
    other.stdin.close()
  assert not RunDir(folder).claim(config())
  assert not RunDir(folder).claim(config())  # this process is no other one


def test_a_folder_is_for_one_owner_in_one_process_too(tmp_path):
  owner = RunDir(tmp_path / "run")
  owner.claim(config())
  with pytest.raises(UserError, match="another run is at work"):
    RunDir(owner.path).claim(config())
  assert not owner.claim(config())  # its own
  owner.close()
  with RunDir(owner.path) as other:
    assert not other.claim(config())
    with pytest.raises(UserError, match="another run is at work"):
      owner.claim(config())
  # The end of `with` has let it go; so does whoever forgets about it.
  forgotten = RunDir(owner.path)
  forgotten.claim(config())
  del forgotten
  assert not owner.claim(config())


def test_a_run_that_fails_lets_go_of_its_folder(tmp_path):
  def fail():
    with RunDir(tmp_path / "run") as run_dir:
      run_dir.claim(config())
      raise RuntimeError

  with pytest.raises(RuntimeError) as kept:  # and with it the frames, and run_dir
    fail()
  assert not RunDir(tmp_path / "run").claim(config())
  assert kept.value


def test_a_home_folder_is_found(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  assert RunDir("~/runs/mine").path == tmp_path / "runs" / "mine"


def test_a_path_that_is_no_text_is_refused_before_all_work(tmp_path):
  folder = tmp_path / os.fsdecode(b"\xff")
  with pytest.raises(
    UserError, match=r"is no text in UTF-8, .*: give the folder anothe"
  ):
    RunDir(folder).claim(config())
  assert not folder.exists()
  with pytest.raises(
    UserError, match=r"is no text in UTF-8, .*: give the folder anothe"
  ):
    stored.choose(folder)


def test_a_path_that_is_a_file_is_refused(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match=r"cannot use .* as the run's folder"):
    RunDir(tmp_path / "file" / "run").claim(config())


def test_metrics_survive_a_kill_and_a_restart(run_dir):
  run_dir.rewind(0)
  for step in (1, 2, 3, 4):
    run_dir.log(step, {"loss": step / 10, "seconds": 10.0 * step})
  with (run_dir.path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 5, "lo')  # killed while writing
  again = RunDir(run_dir.path)
  assert len(again.records()) == 4
  assert again.rewind(3) == {"step": 3, "loss": 0.3, "seconds": 30.0}
  again.log(4, {"loss": 0.5})
  steps = [record["step"] for record in again.records()]
  assert steps == [1, 2, 3, 4]
  assert again.records()[-1]["loss"] == 0.5


def test_a_damaged_config_is_one_line(run_dir):
  (run_dir.path / "config.json").write_text("{")
  with pytest.raises(UserError, match=r"config\.json is damaged"):
    run_dir.claim(config())


@pytest.mark.parametrize("content", ["[]", "null", "", '{"a":' * 100_000])
def test_a_config_that_is_none_is_to_be_restored(run_dir, content):
  (run_dir.path / "config.json").write_text(content)
  with pytest.raises(UserError, match=r"is damaged .*: restore it, or choose another"):
    run_dir.claim(config())
  assert (run_dir.path / "config.json").read_text() == content


def test_views_are_for_a_folder_without_a_run(tmp_path, run_dir):
  RunDir(tmp_path / "new").check_no_run()
  (tmp_path / "drawn" / "figures").mkdir(parents=True)
  RunDir(tmp_path / "drawn").check_no_run()
  with pytest.raises(UserError, match=r"holds a run, whose views are .*views\.png: ch"):
    RunDir(run_dir.path).check_no_run()
  (tmp_path / "photos" / "train").mkdir(parents=True)
  with pytest.raises(UserError, match="is not empty and holds no run; choose another"):
    RunDir(tmp_path / "photos").check_no_run()


def test_what_was_let_go_of_is_not_written_to(run_dir):
  run_dir.rewind(0)
  run_dir.close()
  for write in (
    lambda: run_dir.log(1, {}),
    lambda: run_dir.rewind(0),
    lambda: run_dir.write_summary({}),
    lambda: run_dir.write_encoder({}),
  ):
    with pytest.raises(RuntimeError, match="was closed"):
      write()
  run_dir.claim(config())
  run_dir.write_summary({"x": 1})
  assert run_dir.read_summary() == {"x": 1}


def test_a_damaged_line_is_named(run_dir):
  (run_dir.path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
  with pytest.raises(UserError, match=r"metrics\.jsonl is damaged in line 2: delete"):
    run_dir.records()


def test_other_hosts_write_nothing(tmp_path):
  folder = RunDir(tmp_path / "run", writes=False)
  folder.claim(config())
  folder.rewind(0)
  folder.log(1, {"loss": 1.0})
  folder.write_summary({})
  assert not (tmp_path / "run").exists()


def test_each_start_that_trains_leaves_a_line(tmp_path):
  for number in (1, 2):
    with RunDir(tmp_path / "run", start={"started": number}) as run_dir:
      run_dir.claim(config())
  with (run_dir.path / "starts.jsonl").open("a") as file:
    file.write('{"sta')  # killed
  with RunDir(run_dir.path, start={"started": 3}) as run_dir:
    run_dir.claim(config())
    run_dir.write_summary({})
  with RunDir(run_dir.path, start={"started": 4}) as run_dir:
    run_dir.claim(config())
  assert run_dir.starts() == [{"started": 1}, {"started": 2}, {"started": 3}]


def test_jax_computes_as_it_did(tmp_path):
  def claim(of_jax):
    with RunDir(tmp_path / "run", start={"started": "now", **of_jax}) as run_dir:
      run_dir.claim(config())

  claim({})  # of a version that did not note it
  claim({"jax": {"jax_enable_x64": "False", "jax_default_prng_impl": "threefry2x32"}})
  claim({"jax": {"jax_enable_x64": "False", "jax_of_later": "1"}})
  message = (
    r"run was trained with jax_enable_x64 = False, and now it is True: set"
    r" JAX_ENABLE_X64=False, or choose another --workdir"
  )
  for _ in range(2):
    with pytest.raises(UserError, match=message):
      claim({"jax": {"jax_enable_x64": "True"}})
  claim({"jax": {"jax_default_matmul_precision": "None"}})
  with pytest.raises(UserError, match=r": unset JAX_DEFAULT_MATMUL_PRECISION, or"):
    claim({"jax": {"jax_default_matmul_precision": "float32"}})
  claim({"jax": {"jax_enable_x64": "False"}})
  (tmp_path / "run" / "summary.json").write_text('{"spread": 1.0}')
  claim({"jax": {"jax_enable_x64": "True"}})  # nothing is computed any more


def test_what_has_changed_since_the_last_start_is_said(tmp_path, caplog):
  def claim(**start):
    caplog.clear()
    with RunDir(tmp_path / "run", start={"started": "now", **start}) as run_dir:
      run_dir.claim(config())
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]

  of_first = {"commit": "1dce046", "devices": 8, "versions": {"jax": "0.10.2"}}
  of_second = {**of_first, "versions": {"jax": "0.12.0", "numpy": "2.5"}, "devices": 4}
  assert claim() == []  # of a version that noted none of it
  assert claim(**of_first) == []
  assert claim(**of_first) == []
  assert claim(**of_second) == [
    f"{tmp_path / 'run'} goes on with jax 0.12.0 (it was 0.10.2), devices 4 (it was 8):"
    " the result may be other than that of a run in one go"
  ]
  assert claim(**of_second) == []
  (tmp_path / "run" / "summary.json").write_text('{"spread": 1.0}')
  assert claim(**of_first) == []  # nothing is computed any more


def test_a_run_without_starts_has_none(run_dir):
  assert run_dir.starts() == []


_NO_RECORDS = [
  *("5", "[]", '{"loss": 1.0}', "\\xff", '{"step":' * 100_000),
  *('{"step": "1"}', '{"step": true}', '{"step": 1.5}', '{"step": null}'),
  '{"step": 2, "seconds": "1"}',
]


@pytest.mark.parametrize("line", _NO_RECORDS)
def test_a_line_that_is_no_record_is_named(run_dir, line):
  text = '{"step": 1}\n' + line.encode().decode("unicode_escape") + "\n"
  (run_dir.path / "metrics.jsonl").write_bytes(text.encode("latin-1"))
  with pytest.raises(UserError, match=r"metrics\.jsonl is damaged in line 2: delete"):
    run_dir.records()


@pytest.mark.parametrize("name", ["metrics.jsonl", "starts.jsonl"])
def test_a_folder_in_place_of_lines_is_named(run_dir, name):
  (run_dir.path / name).unlink(missing_ok=True)
  (run_dir.path / name).mkdir()
  read = run_dir.records if name == "metrics.jsonl" else run_dir.starts
  with pytest.raises(UserError, match=rf"{name}: Is a directory; restore it, or move"):
    read()


def test_a_summary_of_nothing_is_no_end_of_a_run(run_dir):
  (run_dir.path / "summary.json").write_text("{}")
  with pytest.raises(UserError, match=r"summary\.json has nothing in it: delete it"):
    run_dir.read_summary()


def test_images_that_would_fill_the_memory_are_not_unpacked(run_dir, monkeypatch):
  monkeypatch.setattr("byol_jax.run.image_list._MOST_UNPACKED", 1000)
  path = run_dir.path / "images.txt.gz"
  path.write_bytes(gzip.compress(bytes(1000)))
  with pytest.raises(UserError, match="the images have changed"):
    run_dir.check_images(["train\t1"])
  path.write_bytes(gzip.compress(bytes(1001)))
  with pytest.raises(UserError, match=r"holds more than 1000 bytes.*delete it, if"):
    run_dir.check_images(["train\t1"])


def test_a_host_that_writes_nothing_misses_nothing(tmp_path, caplog):
  with caplog.at_level("WARNING"):
    RunDir(tmp_path / "elsewhere", writes=False).rewind(5)
  assert "is gone" not in caplog.text


def test_the_images_that_a_run_began_with(tmp_path):
  listing = ["a.png\t10", "b%20c.png\t20"]
  with RunDir(tmp_path / "run") as run_dir:
    run_dir.check_images(listing)  # of a new run
    run_dir.claim(config(), listing)
    run_dir.check_images(listing[::-1])
    with pytest.raises(
      UserError, match=r"1 new or changed \(such as b%20c.png\), 1 gone"
    ):
      run_dir.check_images(["a.png\t10", "b%20c.png\t21"])
    with pytest.raises(
      UserError, match=r"began: 1 gone or changed \(such as a.png\); put"
    ):
      run_dir.check_images(listing[1:])
  # A line about the whole set counts where the run has kept one.
  run_dir.check_images([*listing, "/version\t1.0.0"])
  with RunDir(tmp_path / "set") as of_set:
    of_set.claim(config(), ["train\t5", "/version\t1.0.0", "/files\tab"])
    with pytest.raises(
      UserError, match=r"2 new or changed \(such as version 1.0.1\), 2 gone"
    ):
      of_set.check_images(["train\t5", "/version\t1.0.1", "/files\tcd"])
  # Another host, or a run of a version that kept no list, says nothing.
  RunDir(tmp_path / "run", writes=False).check_images([])
  path = tmp_path / "run" / "images.txt.gz"
  packed = path.read_bytes()
  mixed = packed[:12] + bytes([packed[12] ^ 8]) + packed[13:]
  with pytest.raises(zlib.error):
    gzip.decompress(mixed)
  for content in (b"", b"x", packed[:-5], mixed):
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"images.txt.gz is damaged .* delete it"):
      RunDir(tmp_path / "run").check_images(listing)
  path.unlink()
  RunDir(tmp_path / "run").check_images([])


def test_names_of_skipped_files_take_one_line_each(tmp_path):
  with RunDir(tmp_path / "run") as run_dir:
    run_dir.claim(config())
    run_dir.write_skipped({})
    assert not (tmp_path / "run" / "skipped.tsv").exists()
    run_dir.write_skipped({"a\tb\n.png": "torn", os.fsdecode(b"\xe9.png"): "empty"})
  found = (tmp_path / "run" / "skipped.tsv").read_bytes()
  assert found == b"a\\tb\\n.png\ttorn\n\xe9.png\tempty\n"


def test_a_run_of_a_version_without_a_setting_goes_on(run_dir):
  newer = config(train={"epochs": None})
  newer.data.max_unreadable = 0.01
  run_dir.claim(newer)
  with pytest.raises(UserError, match=r"differs in train\.epochs"):
    run_dir.claim(config(train={"epochs": 5.0}))
  # Fed by the host as it always was: crops of the device are not the same to the bit.
  newer.data.on_device = False
  run_dir.claim(newer)
  newer.data.on_device = True
  with pytest.raises(UserError, match=r"differs in data\.on_device"):
    run_dir.claim(newer)
  run_dir.claim(config(encoder={"projected_shortcuts": "as_needed"}))
  with pytest.raises(UserError, match=r"differs in encoder\.projected_shortcuts"):
    run_dir.claim(config(encoder={"projected_shortcuts": "every_stage"}))
