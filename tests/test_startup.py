"""What a start does once, and what it does not do at all."""

import json
import subprocess
import sys

_RUN = """
import collections, json, sys
import jax
from byol_jax.run import loop
from byol_jax.run.folder import RunDir
from experiments import pretrain
from tests import tiny

compiled = collections.Counter()

def count(event, seconds, fun_name="", **_):
  if event == "/jax/core/compile/backend_compile_duration":
    compiled[fun_name] += 1

jax.monitoring.register_event_duration_secs_listener(count)
config = tiny.config("byol", steps=4)
config.eval.every_steps = 2
experiment = pretrain.Pretrain(config)
made = dict(compiled)
run_dir = RunDir(sys.argv[1])
run_dir.claim(config)
loop.run(experiment, config, run_dir)
print(json.dumps([made, compiled]))
"""


def test_nothing_is_drawn_early_and_nothing_is_compiled_twice(tmp_path):
  found = subprocess.run(
    [sys.executable, "-c", _RUN, str(tmp_path / "run")],
    check=True,
    capture_output=True,
    text=True,
  ).stdout
  made, compiled = json.loads(found.splitlines()[-1])
  drawn = "jit(_truncated_normal)"
  assert drawn not in made
  assert compiled[drawn]
  # What is mapped over devices: the step, the first statistics, the features of images
  # and those of their views.
  mapped = "jit(_fun)"
  assert mapped not in made
  assert compiled[mapped] == 4
  # On features of the encoder and on pixels, of part of the images and of all.
  assert compiled["jit(_differentiated)"] == 4
