"""Predictors in closed form, beside numpy, scipy and the authors' formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import torch

from byol_jax import objectives, parallel
from byol_jax.nets import closed_form
from byol_jax.nets.closed_form import CLOSED_FORMS, Moments

P = 5


def embeddings(n=12, seed=0, scale=1.0):
  """z of two views, z' of two views."""
  arrays = np.random.default_rng(seed).normal(size=(4, n, P)) * scale
  z1, z2, t1, t2 = np.float32(arrays)
  return (z1, z2), (t1, t2)


def moments(seed=0, scale=1.0):
  projections, targets = embeddings(40, seed, scale)
  start = closed_form.no_moments(P)
  return closed_form.added(start, projections, targets, weight=1.0)


def unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_moments_are_those_of_both_views():
  (z1, z2), (t1, t2) = embeddings()
  found = closed_form.added(closed_form.no_moments(P), (z1, z2), (t1, t2), weight=1.0)
  correlation = (z1.T @ z1 + z2.T @ z2) / 24
  cross = (z1.T @ unit(t2) + z2.T @ unit(t1)) / 24
  np.testing.assert_allclose(found.correlation, correlation, atol=1e-5)
  np.testing.assert_allclose(found.cross, cross, atol=1e-5)


def test_moments_are_a_moving_average():
  one, other = moments(1), moments(2)
  projections, targets = embeddings(40, 2)
  kept = closed_form.decayed(one, 0.25)
  found = closed_form.added(kept, projections, targets, weight=0.75)
  expected = jax.tree.map(lambda a, b: 0.25 * a + 0.75 * b, one, other)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected
  )


def test_moments_are_those_of_all_devices():
  projections, targets = embeddings()
  start = closed_form.no_moments(P)
  spread = parallel.pmap(
    lambda start, batch: closed_form.added(
      start, *batch, weight=0.7, axis=parallel.AXIS
    )
  )
  found = spread(start, parallel.shard((projections, targets)))
  expected = closed_form.added(start, projections, targets, weight=0.7)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected
  )


def test_direct_pred_is_a_root_of_the_correlation():
  found = closed_form.direct_pred(moments(), 0.01)
  correlation = np.asarray(moments().correlation, np.float64)
  largest = np.linalg.eigvalsh(correlation)[-1]
  root = scipy.linalg.sqrtm(correlation / largest) + 0.01 * np.eye(P)
  np.testing.assert_allclose(found, root, atol=1e-5)


def test_direct_copy_is_the_correlation():
  found = closed_form.direct_copy(moments(), 0.25)
  correlation = np.asarray(moments().correlation, np.float64)
  expected = correlation / np.linalg.eigvalsh(correlation)[-1] + 0.25 * np.eye(P)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_least_squares_is_numpys():
  (z1, z2), (t1, t2) = embeddings(40)
  z, t = np.concatenate([z1, z2]), np.concatenate([unit(t2), unit(t1)])
  expected = np.linalg.lstsq(z, t, rcond=None)[0]
  np.testing.assert_allclose(
    closed_form.least_squares(moments(), 1e-9), expected, atol=1e-4
  )


def test_orthogonal_is_scipys_procrustes():
  (z1, z2), (t1, t2) = embeddings(40)
  z, t = np.concatenate([z1, z2]), np.concatenate([unit(t2), unit(t1)])
  expected, _ = scipy.linalg.orthogonal_procrustes(z, t)
  np.testing.assert_allclose(
    closed_form.orthogonal(moments(), 1e-9), expected, atol=1e-4
  )


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_the_scale_of_embeddings_does_not_matter(name):
  make = CLOSED_FORMS[name]
  one, other = make(moments(), 0.01), make(moments(scale=8.0), 0.01)
  np.testing.assert_allclose(unit(one.ravel()), unit(other.ravel()), atol=1e-4)


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("directions", [0, 1])
def test_collapsed_embeddings_have_a_predictor(name, directions):
  line = jnp.zeros((P, P)).at[0, 0].set(float(directions))
  found = CLOSED_FORMS[name](Moments(line, line), 0.01)
  assert np.isfinite(found).all()


def test_isoloss_has_the_gradient_of_its_authors():
  """Their code's loss (Halvagal et al. 2023), of both directions, by PyTorch."""
  (z1, z2), (t1, t2) = embeddings()
  root = np.linalg.cholesky(moments(3).correlation).T  # W = root^T root
  weights = np.float32(root.T @ root)

  def ours(z1, z2):
    predictions = z1 @ weights, z2 @ weights
    return objectives.isoloss(objectives.Outputs(predictions, (t1, t2), (z1, z2)))

  def theirs(z, target):
    p, roots = z @ torch.tensor(weights), z @ torch.tensor(root.T)
    lengths, other = p.norm(dim=1), target.norm(dim=1)
    pull = (z * target).sum(1) / (lengths * other).detach()
    push = ((p * target).sum(1) / (lengths**3 * other)).detach()
    return -2 * (pull - push * roots.norm(dim=1) ** 2 / 2).mean()

  views = [torch.tensor(z, requires_grad=True) for z in (z1, z2)]
  loss = theirs(views[0], torch.tensor(t2)) + theirs(views[1], torch.tensor(t1))
  loss.backward()
  found = jax.grad(ours, argnums=(0, 1))(z1, z2)
  for gradient, view in zip(found, views, strict=True):
    np.testing.assert_allclose(gradient, view.grad.numpy(), atol=1e-5)
  byol = objectives.byol(
    objectives.Outputs((z1 @ weights, z2 @ weights), (t1, t2), (z1, z2))
  )
  assert ours(z1, z2) == pytest.approx(float(byol), rel=1e-5)
