"""How good the features of an encoder are: its health, probes on it, and baselines."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from byol_jax import diagnostics, probes
from byol_jax.errors import UserError
from experiments import labels

Arrays = Mapping[str, np.ndarray]

# What LiDAR and its like are measured on: at most so many images of a split, each in
# so many augmented views, an even number.
IMAGES = 1000
VIEWS = 4


class Extract(NamedTuple):
  """What a network makes of a split, by its name.

  Attributes:
    features: of each image as it is: "embedding" [N, D], "label" [N] and, of a network
      with a projector, "projection" [N, P].
    views: of `VIEWS` augmented views of at most `IMAGES` images, first those of view 1:
      "embedding" [n, VIEWS, D], "projection" and "prediction" of the online network and
      "target", the projection that predictions are compared with, [n, VIEWS, P]. None
      for what is no network.
  """

  features: Callable[[str], Arrays]
  views: Callable[[str], Arrays] | None = None


# Name in the summary -> accuracy of (features, labels) to learn from and to test on.
PROBES: dict[str, Callable[..., float]] = {
  "knn": probes.knn_accuracy,
  "linear": probes.linear_accuracy,
  "linear_raw": functools.partial(probes.linear_accuracy, standardise=False),
}
CALLED = {
  "encoder": "the encoder",
  "untrained": "the untrained network",
  "pixels": "the pixels",
}
OF_NETWORKS = ("linear_raw",)  # shows a collapse, which pixels do not have

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

  def watch(self, step: int, network: Extract) -> dict[str, float]:
    """Health of the representation and kNN accuracy, to watch the run by.

    On images whose labels are held out (`probe.valid_test`), with those of
    `probe.valid_train` for neighbours. The test split has no part in it. "score" ranks
    checkpoints: kNN accuracy or, without labels, `score_without_labels`.
    """
    if step == 0:
      logging.info("measuring %s", CALLED["untrained"])
    queries = network.features(self._probe.valid_test)
    assert network.views
    measured = health(queries, network.views(self._probe.valid_test))
    if measured["collapsed"]:
      logging.warning("step %d: %s", step, COLLAPSED)
    found = {f"valid_{name}": value for name, value in measured.items()}
    bank = network.features(self._probe.valid_train) if self._labelled else None
    if bank is None or not _have_labels(bank, queries):
      return found | {"score": score_without_labels(measured)}
    found["valid_knn"] = found["score"] = accuracy("knn", bank, queries)
    return found

  def summarise(self, network: Extract) -> dict[str, Any]:
    """Health and test accuracies of the encoder beside those of the baselines.

    "health" has all that `health` measures, of the encoder and of the untrained
    network; accuracies are left out where the set or a split has no labels.
    "test_images" are those that accuracies are of, or else all.
    """
    measured: dict[str, dict[str, Any]] = {}
    accuracies: dict[str, dict[str, float]] = {probe: {} for probe in PROBES}
    has_accuracies = self._labelled
    for name, make in {"encoder": lambda: network, **self._baselines}.items():
      each = make()
      if not (each.views or has_accuracies):  # of pixels there is nothing else
        continue
      logging.info("measuring %s, for the summary", CALLED[name])
      test = each.features(self._probe.test)
      if each.views:
        measured[name] = health(test, each.views(self._probe.test))
      if name == "encoder":
        labelled = int(np.sum(test["label"] >= 0))
        images = len(test["embedding"])
        if measured[name]["collapsed"]:
          logging.warning(COLLAPSED)
      if not has_accuracies:
        continue
      train = each.features(self._probe.train)
      if not _have_labels(train, test):
        logging.warning("probe.train or probe.test has no labels: no accuracies")
        has_accuracies = False
        continue
      if name == "encoder":
        labels.warn_of_unseen(self._probe.test, test["label"], train["label"])
      for probe in PROBES:
        if each.views or probe not in OF_NETWORKS:
          accuracies[probe][name] = accuracy(probe, train, test)
    encoder = measured["encoder"]
    summary = {key: encoder[key] for key in ("spread", "effective_rank", "collapsed")}
    summary |= {"test_images": labelled if has_accuracies else images}
    summary |= {"health": measured}
    return summary | (accuracies if has_accuracies else {})


def _have_labels(*splits: Arrays) -> bool:
  """Whether each has two images with a label or more; -1 is none."""
  return all(np.sum(split["label"] >= 0) >= 2 for split in splits)


def health(images: Arrays, views: Arrays) -> dict[str, Any]:
  """What can be said of a representation without labels.

  Args:
    images: features of images as they are; see `Extract`.
    views: those of augmented views; see `Extract`.

  Returns:
    Of the features of `images` "effective_rank", "rankme" and "feature_common", of
    their projections "spread" and "projection_common" (see `common_part`), and whether
    it has "collapsed". Of the features of `views` "lidar" and
    "invariance", of their projections "alignment" between the two kinds of view and
    "uniformity". RankMe of predictions and of what they are compared with:
    "prediction_rank", "target_rank".
  """
  embedding, projection = map(jnp.asarray, (images["embedding"], images["projection"]))
  spread = float(diagnostics.spread(projection))
  rank = float(diagnostics.effective_rank(embedding))
  return {
    "spread": spread,
    "effective_rank": rank,
    "collapsed": diagnostics.is_collapsed(spread, rank),
    "feature_common": float(diagnostics.common_part(embedding)),
    "projection_common": float(diagnostics.common_part(projection)),
    "rankme": diagnostics.rankme(images["embedding"]),
    "lidar": diagnostics.lidar(views["embedding"]),
    "invariance": diagnostics.invariance(views["embedding"]),
    **of_views(views["projection"]),
    "prediction_rank": diagnostics.rankme(views["prediction"][:, 0]),
    "target_rank": diagnostics.rankme(views["target"][:, 0]),
  }


def score_without_labels(measured: Mapping[str, Any]) -> float:
  """What ranks checkpoints where there are no labels: higher is better, 0 is collapsed.

  The sum of alignment and uniformity of projections, its sign changed (Wang & Isola
  2020); of what has been proposed it agrees best with linear accuracy
  (docs/how-to/no-labels.md).

  Args:
    measured: what `health` gives.
  """
  if measured["collapsed"]:
    return 0.0
  return -(measured["alignment"] + measured["uniformity"])


def of_views(embeddings: np.ndarray) -> dict[str, float]:
  """Alignment of views 1 and 2 and uniformity of the first, of embeddings [n, V, D]."""
  pairs = (half.reshape(-1, half.shape[-1]) for half in np.split(embeddings, 2, axis=1))
  return {
    "alignment": float(diagnostics.alignment(*map(jnp.asarray, pairs))),
    "uniformity": float(diagnostics.uniformity(jnp.asarray(embeddings[:, 0]))),
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
