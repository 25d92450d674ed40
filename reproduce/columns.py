"""The columns of the tables of runs."""

from collections.abc import Callable, Mapping

from reproduce.results import PROBES, Seeds

TEXT = (
  "Linear and kNN are accuracies in %; gain is that over the untrained network, points."
  " Raw: a linear classifier on features that are not standardised. Common: squared"
  " length of the mean direction, of features / projections, in the end and before"
  " training. Spread: of projections; lowest: of training images, of the steps that"
  " were logged. RankMe and LiDAR are of features, LiDAR of four views of an image;"
  " ranks are RankMe of predictions / of targets. Renewals: the sum of 1 - tau over"
  " the run."
)


def _common(arm: Seeds, network: str) -> str:
  return _two(arm, "feature_common", "projection_common", 2, network)


def _two(arm: Seeds, one: str, other: str, digits: int, network: str) -> str:
  first = arm.mean(lambda r: r.health(one, network))
  second = arm.mean(lambda r: r.health(other, network))
  return f"{first:.{digits}f} / {second:.{digits}f}"


_COLUMNS: dict[str, Callable[[Seeds], str]] = {
  "linear": lambda arm: arm.show(lambda r: r.accuracy("linear")),
  "linear, untrained": lambda arm: arm.show(lambda r: r.untrained("linear")),
  "linear, gain": lambda arm: arm.show(lambda r: r.gain("linear")),
  "raw": lambda arm: arm.show(lambda r: r.raw),
  "kNN": lambda arm: arm.show(lambda r: r.accuracy("knn")),
  "kNN, untrained": lambda arm: arm.show(lambda r: r.untrained("knn")),
  "kNN, gain": lambda arm: arm.show(lambda r: r.gain("knn")),
  "common": lambda arm: _common(arm, "encoder"),
  "common, untrained": lambda arm: _common(arm, "untrained"),
  "spread": lambda arm: arm.show(lambda r: r.health("spread"), 2),
  "lowest": lambda arm: arm.show(lambda r: r.lowest_spread, 2),
  "RankMe": lambda arm: arm.show(lambda r: r.health("rankme"), 0),
  "LiDAR": lambda arm: arm.show(lambda r: r.health("lidar"), 0),
  "ranks": lambda arm: _two(arm, "prediction_rank", "target_rank", 0, "encoder"),
  "renewals": lambda arm: f"{arm[0].renewals[-1]:.0f}",
}
NAMES = tuple(_COLUMNS)


def measured(arm: Seeds) -> dict[str, str]:
  """What an arm has in each column; see `TEXT`."""
  return {name: show(arm) for name, show in _COLUMNS.items()}


def of_pixels(pixels: Mapping[str, float]) -> dict[str, str]:
  """The same of raw pixels, accuracies in %, as far as they have any."""
  linear, knn = (f"{pixels[probe]:.1f}" for probe in PROBES)
  return {**dict.fromkeys(NAMES, ""), "linear": linear, "kNN": knn}
