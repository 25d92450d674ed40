"""Which encoders are averaged over, and what they are called."""

import pytest

from byol_jax.report import systems
from tests.report.made_up import config, result


def named(*lines):
  """Name -> the seeds of its encoders."""
  found = systems.find(lines)
  assert sum(len(system.lines) for system in found) == len(lines)  # none is lost
  assert len({system.name for system in found}) == len(found)
  return {s.name: [systems.seed(e) for e in s.encoders.values()] for s in found}


def test_seeds_of_one_config_are_one_system():
  lines = [result(seed=seed) for seed in (10, 2, 0)]
  assert named(*lines, result(seed=2, metric="top_5")) == {"bn": [0, 2, 10]}
  assert systems.find(lines)[0].size == "3 seeds"
  assert systems.find(lines[:1])[0].size == "1 seed"


@pytest.mark.parametrize(
  "run",
  [
    "bn-seed7",
    "x/bn_seed7",
    "bnseed7",
    "bn/seed7",
    "bn/Seed-7",
    "seed0/bn",
    "bn.seed7",
  ],
)
def test_names_are_of_folders_without_the_seed(run):
  assert named(result(seed=7, run=run)) == {"bn": [7]}


def test_a_folder_of_which_nothing_is_left_keeps_its_name():
  assert named(result(run="seed0")) == {"seed0": [0]}


def test_folders_of_several_names_are_all_named():
  assert list(named(result(run="a"), result(seed=1, run="b"))) == ["a + b"]


def test_what_an_encoder_depends_on_makes_a_system():
  other = result(run="runs/sim-seed0", settings={"objective__name": "simclr"})
  assert named(result(), other) == {"bn": [0], "sim": [0]}


@pytest.mark.parametrize(
  "settings",
  [
    {"data__data_dir": "/elsewhere"},
    {"probe__train": "train[:10]"},
    {"eval": {"every_steps": 7}},
    {"log": {"every_steps": 7}},
    {"bn_init": False, "target__frozen": 0.0},  # which older versions lack
  ],
)
def test_what_it_does_not_depend_on_makes_none(settings):
  both = {"bn_init": False} if "bn_init" in settings else {}
  lines = result(settings=both), result(seed=1, settings=settings)
  assert list(named(*lines)) == ["bn"]


def test_seeds_that_began_with_seeds_are_one_system():
  lines = [
    result(
      seed=seed, run=f"long-seed{seed}", settings={"continue_from": f"a-seed{seed}"}
    )
    for seed in (0, 1)
  ]
  other = result(run="other-seed0", settings={"continue_from": "b-seed0"})
  assert named(*lines, other) == {"long": [0, 1], "other": [0]}


def test_what_the_run_that_seeds_began_with_depends_on_makes_a_system():
  def begun(seed, step=5, **changes):
    origin = {"step": step, "config": config(seed=seed, **changes), "origin": None}
    settings = {"start_from": f"a-seed{seed}"}
    run = f"{step}{''.join(changes)}-seed{seed}"
    return result(seed=seed, run=run, settings=settings, pretrained__origin=origin)

  lines = begun(0), begun(1), begun(2, step=6), begun(3, target__tau=0.5)
  assert named(*lines) == {"5": [0, 1], "6": [2], "5target__tau": [3]}


@pytest.mark.parametrize("name", ["folder", "unlabelled_folder"])
def test_folders_of_images_are_told_apart_by_where_they_lie(name):
  lines = [
    result(seed=seed, run=at, settings={"data__name": name, "data__data_dir": at})
    for seed, at in enumerate(("cats", "dogs"))
  ]
  assert list(named(*lines)) == ["cats", "dogs"]


def test_equal_names_are_told_apart_by_as_much_of_the_path_as_it_takes():
  settings = [{"target__kind": kind} for kind in "abc"]
  runs = "/home/one/bn-seed0", "/home/two/bn-seed0", "/home/two/gn-seed0"
  lines = [result(run=r, settings=s) for r, s in zip(runs, settings, strict=True)]
  assert list(named(*lines)) == ["one/bn", "two/bn", "gn"]
  lines = [result(run=runs[0], settings=s) for s in settings]
  assert list(named(*lines)) == ["bn (1)", "bn (2)", "bn (3)"]


def test_another_step_is_another_system_and_is_named():
  early = [
    result(seed=seed, encoder__step=5, encoder__checksum=f"{seed}") for seed in (0, 1)
  ]
  assert named(*early) == {"bn, step 5 of 10": [0, 1]}
  assert named(*early, result()) == {"bn, step 5 of 10": [0, 1], "bn, step 10": [0]}


def test_a_second_encoder_of_a_seed_is_not_averaged_with_the_first():
  again = [result(seed=seed, encoder__checksum=f"{seed}") for seed in (0, 1)]
  lines = [result(seed=seed) for seed in (0, 1, 2)]
  found = named(*lines, *again)
  assert found == {"bn": [0, 1, 2], "bn, encoder 2": [0, 1]}
  assert [system.number for system in systems.find([*lines, *again])] == [1, 2]


def test_an_encoder_in_several_places_is_one():
  here = result(run="here/bn-seed0")
  there = result(run="there/bn-seed0", encoder__checksum=here["encoder"]["checksum"])
  assert named(here, there) == {"bn": [0]}


def test_files_are_systems_by_path_and_network():
  def file(path, **changes):
    return result(pretrained=None, encoder__path=path, **changes)

  lines = [
    file("x/a.safetensors"),
    file("x/a.safetensors", metric="top_5"),
    file("y/a.safetensors"),
    file("b.safetensors"),
    result(),
  ]
  expected = ["x/a.safetensors", "y/a.safetensors", "b.safetensors", "bn"]
  assert list(named(*lines)) == expected
  assert systems.find(lines)[0].size == "1 file"
  replaced = file("b.safetensors", encoder__checksum="1")
  assert list(named(*lines[3:4], replaced)) == [
    "b.safetensors",
    "b.safetensors, encoder 2",
  ]
