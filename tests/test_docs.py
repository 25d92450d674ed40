"""The worked examples of the documentation work as they stand there."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from byol_jax import objectives, parallel
from byol_jax.nets import layers
from experiments import pretrain
from tests import tiny

DESIGN = (Path(__file__).parents[1] / "docs" / "design.md").read_text()


def code(heading):
  """The Python blocks under a heading."""
  section = DESIGN.split(f"## {heading}\n")[1].split("\n## ")[0]
  return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def loss_of_a_step(config):
  experiment = pretrain.Pretrain(config)
  update = parallel.pmap(experiment.step)
  state = parallel.replicate(experiment.init())
  _, scalars = update(state, next(experiment.batches(0)))
  return float(scalars["loss"])


@pytest.fixture
def tables():
  """The tables of norms and objectives, as they were again afterwards."""
  before = [dict(table) for table in (layers.NORMS, objectives.OBJECTIVES)]
  yield
  for table, entries in zip((layers.NORMS, objectives.OBJECTIVES), before, strict=True):
    table.clear()
    table.update(entries)


def test_adding_a_norm(tables):
  (norm,) = code("Adding a norm")
  exec(norm, dict(vars(layers)))
  config = tiny.config("byol_gn_ws")
  config.encoder.norm = "rms"
  assert np.isfinite(loss_of_a_step(config))
  state = jax.eval_shape(pretrain.Pretrain(config).init)
  assert any(m.endswith("initial_rmsnorm") for m in state.online)


def test_adding_an_objective(tables):
  objective, system = code("Adding an objective")
  exec(objective, dict(vars(objectives)))
  namespace = {}
  exec(system, namespace)
  assert namespace["get_config"]().objective.name == "barlow_twins"
  config = tiny.config("simclr")
  config.objective.name = "barlow_twins"
  assert np.isfinite(loss_of_a_step(config))


def test_the_added_objective_is_the_papers(tables):
  namespace = dict(vars(objectives))
  exec(code("Adding an objective")[0], namespace)
  z1, z2 = np.random.default_rng(0).normal(size=(2, 64, 3)).astype(np.float32)
  found = namespace["barlow_twins"](objectives.Outputs((z1, z2), (z1, z2)))
  correlation = np.corrcoef(z1.T, z2.T)[:3, 3:]
  diagonal = np.diag(correlation)
  expected = np.sum((1 - diagonal) ** 2)
  expected += 5e-3 * (np.sum(correlation**2) - np.sum(diagonal**2))
  np.testing.assert_allclose(found, expected, rtol=1e-3)
