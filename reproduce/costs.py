"""What a step of the arms costs: its time, its memory, and its all-reduces."""

from pathlib import Path
from typing import Any

from benchmarks import turns
from reproduce import arms

ROUNDS = 20
DEVICES = 8


def prepare(arm: str, data_dir: str | None) -> turns.Prepared:
  """The arm's step on noise, in a process of its own."""
  from byol_jax.run import host

  host.tune()
  from benchmarks import workload
  from byol_jax import parallel

  experiment, facts = _compiled(arm, data_dir)
  step = parallel.pmap(experiment.step, donate=True)
  state = parallel.replicate(experiment.init())
  return facts, workload.stepping(step, state, workload.make_batch(experiment))


def prepare_on_devices(arm: str, data_dir: str | None) -> turns.Prepared:
  """The same compiled for several devices; nothing is run."""
  return _compiled(arm, data_dir)[1], lambda: None


def _compiled(arm: str, data_dir: str | None) -> tuple[Any, dict[str, Any]]:
  from benchmarks import costs
  from experiments import pretrain

  config = arms.first(arm).config(data_dir)
  experiment = pretrain.Pretrain(config)
  facts = costs.facts(costs.lower_step(experiment).compile())
  return experiment, facts | {"images": config.train.batch_size}


def measure(root: Path, data_dir: str | None) -> dict[str, Any]:
  """For each arm, on one device and, compiled only, on several."""
  del root
  settings = {arm: {"arm": arm, "data_dir": data_dir} for arm in arms.COMPARED}
  timed = turns.take_turns(
    {arm: turns.Contestant(prepare, settings[arm]) for arm in arms.COMPARED}, ROUNDS
  )
  environment = turns.on_devices(DEVICES)
  found = {}
  for arm, timing in timed.items():
    contestant = turns.Contestant(prepare_on_devices, settings[arm], environment)
    collectives = turns.facts(contestant)["collectives"]
    found[arm] = {
      "images_per_second": timing.facts["images"] / timing.median,
      "spread": timing.spread,
      "temp_mib": timing.facts["temp_mib"],
      "devices": DEVICES,
      "collectives": {kind: each._asdict() for kind, each in collectives.items()},
    }
  return found
