"""How good the features of an encoder are: its health, probes on it, and baselines."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from byol_jax import diagnostics, probes
from byol_jax.errors import UserError

# Split -> "embedding" [N, D], "label" [N] and, of a network with a projector,
# "projection" [N, P].
Extract = Callable[[str], dict[str, np.ndarray]]

# Name in the summary -> accuracy of (features, labels) to learn from and to test on.
PROBES: dict[str, Callable[..., float]] = {
  "knn": probes.knn_accuracy,
  "linear": probes.linear_accuracy,
}

COLLAPSED = (
  "the representation has collapsed: all images are mapped to nearly the same"
  " point, and a low loss means nothing here"
)


class Evaluation:
  """What a pretraining run is watched by, and what it comes to."""

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    *,
    labelled: bool,
    baselines: Mapping[str, Callable[[], Extract]],
  ):
    """Takes the splits of `config.probe` and the baselines of `config.eval`.

    Args:
      config: of the run.
      labelled: whether the images have labels; health alone is measured if not.
      baselines: name -> what gives features to stand beside the encoder's.

    Raises:
      UserError: the config names a baseline that is not there.
    """
    self._probe = config.probe
    self._labelled = labelled
    if unknown := set(config.eval.baselines) - baselines.keys():
      raise UserError(
        f"unknown baseline {min(unknown)!r} in eval.baselines; choose from"
        f" {', '.join(baselines)}"
      )
    self._baselines = {name: baselines[name] for name in config.eval.baselines}

  def watch(self, step: int, features: Extract) -> dict[str, float]:
    """Health of the representation and kNN accuracy, to watch the run by.

    On images whose labels are held out (`probe.valid_test`), with those of
    `probe.valid_train` for neighbours. The test split has no part in it.
    """
    queries = features(self._probe.valid_test)
    measured = health(queries)
    if measured["collapsed"]:
      logging.warning("step %d: %s", step, COLLAPSED)
    found = {f"valid_{name}": value for name, value in measured.items()}
    if self._labelled:
      bank = features(self._probe.valid_train)
      found["valid_knn"] = found["score"] = accuracy("knn", bank, queries)
    return found

  def summarise(self, features: Extract) -> dict[str, Any]:
    """Test accuracies of the encoder beside the baselines, and its health."""
    test = features(self._probe.test)
    summary: dict[str, Any] = health(test)
    if summary["collapsed"]:
      logging.warning(COLLAPSED)
    summary["test_images"] = len(test["embedding"])
    if not self._labelled:
      return summary
    pairs = {"encoder": (features(self._probe.train), test)}
    for name, make in self._baselines.items():
      baseline = make()
      pairs[name] = baseline(self._probe.train), baseline(self._probe.test)
    for probe in PROBES:
      summary[probe] = {name: accuracy(probe, *pair) for name, pair in pairs.items()}
    return summary


def health(found: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Collapse metrics of images as they are, without augmentation."""
  spread = float(diagnostics.spread(jnp.asarray(found["projection"])))
  rank = float(diagnostics.effective_rank(jnp.asarray(found["embedding"])))
  return {
    "spread": spread,
    "effective_rank": rank,
    "collapsed": diagnostics.is_collapsed(spread, rank),
  }


def accuracy(
  probe: str, train: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]
) -> float:
  """Accuracy of a probe, a key of `PROBES`, fitted to one split and tested on another.

  Returns:
    A value in [0, 1].
  """
  return PROBES[probe](
    train["embedding"], train["label"], test["embedding"], test["label"]
  )
